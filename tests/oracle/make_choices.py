"""Multiple-choice items in the domain of the small checkpoints, for `baleen verify --choices`.

    python3 tests/oracle/make_choices.py tests/data tests/data/choices/domain.jsonl
    python3 tests/oracle/make_choices.py tests/data large.jsonl 12

writes items made from tests/data/text and from the pairs below, with a third argument so many times
as many of those from the texts (docs/quality.md). Six groups:
- wiki, code: the true continuation of a held-out passage against three from elsewhere in the text
- word: the true next word against three words from elsewhere
- order: the true next words against the same words shuffled
- grammar, syntax: two continuations written by hand of which one is wrong English, or wrong Python
The seed is fixed and no model is asked, so nothing here is fitted to what a model can do.
"""
import json
import random
import sys
from pathlib import Path

GRAMMAR = [  # prompt, right, wrong; in the tokenised form of wikitext-2
    (" The park was constructed in 1913 . It", " was designed", " were designed"),
    (" The two brothers grew up in London , where they", " were educated", " was educated"),
    (" One of the largest shopping malls in the city", " is located", " are located"),
    (" The species was first described in 1842 by the British", " naturalist", " naturalists the"),
    (" After the war , the ship was sold for scrap and broken", " up in", " in up"),
    (" The band released their first album in 1998 and has since", " released", " release"),
    (" He was born in the town of Cambridge and attended", " the University", " University the"),
    (" The storm made landfall on September 14 and caused heavy", " damage to", " to damage"),
    (" The song was written by the band and was", " produced by", " produces by"),
    (" In the United States , the film received positive reviews from", " critics .", " critics of ."),
    (" The route begins at an intersection with", " the highway", " highway the"),
    (" Although he had played well , the team did not", " win the", " won the"),
]
SYNTAX = [
    ("class Reader:\n    def __init__(self, path):\n        self.path =", " path\n", " :\n"),
    ("    for name in names:\n", "        if name", "if name"),
    ("    if value is None:\n", "        return", "    return"),
    ("import os\nimport sys\nimport", " re\n", " (\n"),
    ("    try:\n        result = self.read()\n    except", " OSError", " return"),
    ("    def close(self):\n        \"\"\"Close the file.\"\"\"\n        self", ".file", " file"),
    ("def add(a, b):\n    return a", " + b\n", " b +\n"),
    ("    while True:\n        line = f.readline(", ")\n", "]\n"),
    ("    result = []\n    for x in items:\n        result.append(x", ")\n", "}\n"),
    ("    return isinstance(value,", " str", " for"),
    ("        raise ValueError(\"expected a string\"", ")\n", "]\n"),
    ("if __name__ ==", " '__main__'", " import"),
]


def item(rng, group, prompt, right, wrong):
    choices = [right, *wrong]
    rng.shuffle(choices)
    return {"group": group, "prompt": prompt, "choices": choices, "answer": choices.index(right)}


def paragraphs(text):
    """Passages of at least 60 words with few unknown ones; a word keeps the space before it."""
    split = [[" " + w for w in line.split()] for line in text.split("\n")]
    return [p for p in split if len(p) >= 60 and p.count(" <unk>") <= len(p) // 20]


def from_prose(rng, group, text, n_items, n_words, n_before):
    pool = paragraphs(text)
    for _ in range(n_items):
        home = rng.randrange(len(pool))
        p = pool[home]
        at = rng.randrange(n_before, len(p) - n_words)
        right = "".join(p[at : at + n_words])
        wrong = []
        while len(wrong) < 3:
            other = pool[rng.choice([i for i in range(len(pool)) if i != home])]
            k = rng.randrange(len(other) - n_words)
            span = "".join(other[k : k + n_words])
            if span not in wrong and span != right and "<unk>" not in span:
                wrong.append(span)
        if "<unk>" not in right:
            yield item(rng, group, "".join(p[at - n_before : at]), right, wrong)


def shuffled(rng, text, n_items, n_words, n_before):
    pool = paragraphs(text)
    while n_items > 0:
        p = rng.choice(pool)
        at = rng.randrange(n_before, len(p) - n_words)
        words = p[at : at + n_words]
        if len(set(words)) < n_words or " <unk>" in words:
            continue
        right, wrong = "".join(words), set()
        while len(wrong) < 3:
            other = "".join(rng.sample(words, n_words))
            wrong |= {other} - {right}
        yield item(rng, "order", "".join(p[at - n_before : at]), right, sorted(wrong))
        n_items -= 1


def from_code(rng, text, n_items, n_before):
    """The next line of code against three lines of about its length."""
    lines = text.split("\n")
    good = [i for i, x in enumerate(lines) if 20 <= len(x) <= 60 and x.strip()[0] not in "#\"'"]
    for i in rng.sample([i for i in good if i > n_before], n_items):
        near = [lines[k] for k in good if abs(len(lines[k]) - len(lines[i])) <= 3]
        wrong = rng.sample(sorted(set(near) - {lines[i]}), 3)
        prompt = "\n".join(lines[i - n_before : i]) + "\n"
        yield item(rng, "code", prompt, lines[i] + "\n", [w + "\n" for w in wrong])


def main(root, out, times):
    rng = random.Random(1851)
    wiki = (root / "text/wiki.eval.txt").read_text()
    code = (root / "text/code.eval.txt").read_text()
    items = [*from_prose(rng, "wiki", wiki, 10 * times, 8, 40)]
    items += from_code(rng, code, 10 * times, 5)
    items += from_prose(rng, "word", wiki, 10 * times, 1, 30)
    items += shuffled(rng, wiki, 8 * times, 6, 30)
    items += [item(rng, "grammar", p, right, [wrong]) for p, right, wrong in GRAMMAR]
    items += [item(rng, "syntax", p, right, [wrong]) for p, right, wrong in SYNTAX]
    seen = {}
    with open(out, "w") as f:
        for x in items:
            seen[x["group"]] = seen.get(x["group"], 0) + 1
            f.write(json.dumps({"id": f"{x['group']}-{seen[x['group']]}", **x}) + "\n")
    print(seen)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
