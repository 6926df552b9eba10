#!/usr/bin/env python3
"""Write every file of this folder: good and bad multiple-choice items, and expected.tsv, which holds
the words that the sentence of a refusal must contain.

    make.py              writes
    make.py --check      writes nothing, fails when a file differs

A case is (name, what the sentence must say, bytes); the first word of the name is the verdict.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
GOOD = b'{"prompt": "a", "choices": [" b", " c"], "answer": 0}\n'
MANY = b", ".join(b'" %c"' % (97 + i) for i in range(26))


def answer(text):
    return b'{"prompt": "a", "choices": [" b", " c"], "answer": ' + text + b"}\n"


def choices(text):
    return b'{"prompt": "a", "choices": ' + text + b', "answer": 0}\n'


CASES = [
    ("good-one-item", "", GOOD),
    ("good-no-newline-at-the-end", "", GOOD[:-1]),
    ("good-blank-lines-and-returns", "", b"\n \t\n" + GOOD[:-1] + b"\r\n\r\n" + GOOD + b"\n"),
    ("good-every-member", "", b'{"answer": 1, "choices": ["x", "x"], "group": "", "id": "", "prompt": ""}\n'),
    ("good-26-choices", "", b'{"prompt": "a", "choices": [' + MANY + b'], "answer": 25}\n'),
    ("good-escapes", "", b'{"prompt": "\\u00e4\\n", "choices": ["\\ud83d\\udc0b", "\\t"], "answer": 0, "id": "\\""}\n'),
    ("bad-empty-file", ": no item", b""),
    ("bad-blank-file", ": no item", b"\n\n \n"),
    ("bad-not-json", ":1: ", b"prompt\n"),
    ("bad-cut", ":2: ", GOOD + GOOD[:30]),
    ("bad-two-on-a-line", ":1: ", GOOD[:-1] + GOOD),
    ("bad-array", ":1: not an object", b"[]\n"),
    ("bad-string", ":1: not an object", b'"prompt"\n'),
    ("bad-nul", ":1: ", GOOD.replace(b" b", b"\0b")),
    ("bad-escaped-nul", ":1: ", GOOD.replace(b" b", b"\\u0000")),
    ("bad-utf8", ":1: ", GOOD.replace(b" b", b"\xff")),
    ("bad-byte-order-mark", ":1: ", b"\xef\xbb\xbf" + GOOD),
    ("bad-member-twice", ":1: ", b'{"prompt": "a", "prompt": "a", "choices": ["b", "c"], "answer": 0}\n'),
    ("bad-unknown-member", ':3: "groups" is none of', GOOD + b"\n" + GOOD.replace(b"}", b', "groups": "x"}')),
    ("bad-no-prompt", ':1: no "prompt"', b'{"choices": [" b", " c"], "answer": 0}\n'),
    ("bad-no-choices", ':1: no "choices"', b'{"prompt": "a", "answer": 0}\n'),
    ("bad-no-answer", ':1: no "answer"', b'{"prompt": "a", "choices": [" b", " c"]}\n'),
    ("bad-empty-object", ':1: no "prompt"', b"{}\n"),
    ("bad-prompt-number", ':1: "prompt" is not a string', b'{"prompt": 1, "choices": [" b", " c"], "answer": 0}\n'),
    ("bad-prompt-null", ':1: "prompt" is not a string', b'{"prompt": null, "choices": [" b", " c"], "answer": 0}\n'),
    ("bad-id-number", ':1: "id" is not a string', GOOD.replace(b"}", b', "id": 7}')),
    ("bad-group-list", ':1: "group" is not a string', GOOD.replace(b"}", b', "group": []}')),
    ("bad-id-twice", ':2: another item has the id "x"', 2 * GOOD.replace(b"}", b', "id": "x"}')),
    ("bad-choices-object", ':1: "choices" is not a list of 2 to 26', choices(b'{"a": "b", "c": "d"}')),
    ("bad-choices-text", ':1: "choices" is not a list of 2 to 26', choices(b'"bc"')),
    ("bad-no-choice", ':1: "choices" is not a list of 2 to 26', choices(b"[]")),
    ("bad-one-choice", ':1: "choices" is not a list of 2 to 26', choices(b'["b"]')),
    ("bad-27-choices", ':1: "choices" is not a list of 2 to 26', choices(b"[" + MANY + b', "z"]')),
    ("bad-choice-empty", ":1: choice 1 is empty", choices(b'["b", ""]')),
    ("bad-choice-number", ":1: a choice is not a string", choices(b'["b", 3]')),
    ("bad-choice-list", ":1: a choice is not a string", choices(b'["b", ["c"]]')),
    ("bad-answer-past-end", ':1: "answer" is 2, but the last of 2 choices has index 1', answer(b"2")),
    ("bad-answer-huge", ":1: ", answer(b"18446744073709551616")),
    ("bad-answer-negative", ':1: "answer" is not an index', answer(b"-1")),
    ("bad-answer-fraction", ':1: "answer" is not an index', answer(b"0.5")),
    ("bad-answer-text", ':1: "answer" is not an index', answer(b'"b"')),
    ("bad-answer-letter", ":1: ", answer(b"A")),
    ("bad-answer-true", ':1: "answer" is not an index', answer(b"true")),
    ("bad-deep", ":1: ", choices(b"[" * 5000 + b"]" * 5000)),
]


def main():
    files = {name + ".jsonl": data for name, _, data in CASES}
    files["expected.tsv"] = "".join(f"{n}.jsonl\t{said}\n" for n, said, _ in CASES).encode()
    bad = 0
    for name, data in files.items():
        path = os.path.join(HERE, name)
        if "--check" not in sys.argv:
            open(path, "wb").write(data)
        elif not os.path.exists(path) or open(path, "rb").read() != data:
            print(name, "differs")
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
