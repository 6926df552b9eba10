#!/usr/bin/env python3
"""Files and functions that fit in a head.

A file opens with a comment that says what it owns. Over 600 lines the word "lines" with a reason
must stand in its first 10 lines; 1000 is the end, generated tables (*_table.inc) excepted. A
function fits one screen: 60 lines is the aim, 70 the end.
"""

import re
import sys

from csource import main, sources

REASON_FROM, FILE_END, FUNCTION_END = 600, 1000, 70


def functions(code):
    """(first line, name, number of lines) of each function with its closing brace in column 0."""
    lines = code.splitlines()
    start = name = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{") and number > 1 and lines[number - 2].rstrip().endswith(")"):
            start = number
            head = " ".join(lines[max(0, number - 8):number - 1])
            names = re.findall(r"(\w+)\s*\(", re.split(r"[;}]", head)[-1])
            name = next((n for n in names if n not in ("__attribute__", "format")), "?")
        elif line.startswith("}") and start:
            yield start, name, number - start + 1
            start = None


def check(root):
    for s in sources(root):
        n = s.text.count("\n")
        if n > FILE_END:
            yield f"{s.path}:1: {n} lines, {FILE_END} is the end: make two files of it"
        elif n > REASON_FROM and not re.search(r"\blines\b", "\n".join(s.text.split("\n")[:10])):
            yield f"{s.path}:1: {n} lines, and the first 10 do not say why they are one file"
        if not s.text.startswith("/*"):
            yield f"{s.path}:1: open with a comment that says what the file owns"
        if s.folder == "tests":
            continue
        for line, name, length in functions(s.code):
            if length > FUNCTION_END:
                yield f"{s.path}:{line}: {name} has {length} lines, {FUNCTION_END} is the end"


if __name__ == "__main__":
    sys.exit(main(check))
