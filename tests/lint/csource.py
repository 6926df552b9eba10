"""The C files of the tree, and their text with comments and strings blanked: what the lints share."""

import re
import sys
from pathlib import Path

LIBRARIES = ("base", "formats", "convert", "model", "verify", "prune", "quantize", "distill")
FOLDERS = LIBRARIES + ("cli", "tests")

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)"""
    r"""|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    re.DOTALL,
)


class Source:
    """One file: .text as it is; .code without comments, string contents blanked, same lines."""

    def __init__(self, root, path):
        self.path = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.folder = self.path.split("/")[0]
        self.strings = []  # (line, contents)

        def blank(m):
            whole = m.group(0)
            if m.group("comment"):
                return re.sub(r"[^\n]", " ", whole)
            self.strings.append((self.text.count("\n", 0, m.start()) + 1, whole[1:-1]))
            return whole[0] + " " * (len(whole) - 2) + whole[0]

        self.code = TOKEN.sub(blank, self.text)

    def lines(self):
        return enumerate(self.code.splitlines(), 1)

    def includes(self):
        """(line, '"' or '<', name) of each #include."""
        pattern = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]*)[">]', re.MULTILINE)
        for m in pattern.finditer(self.text):
            yield self.text.count("\n", 0, m.start()) + 1, m.group(1), m.group(2)


def sources(root, folders=FOLDERS, kinds=(".c", ".h")):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in kinds and path.is_file():
                yield Source(root, path)


def main(check):
    """Run check(root) -> findings 'path:line: sentence'; the exit status says if there were any."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    findings = list(check(root.resolve()))
    print("\n".join(findings) or "nothing found")
    return 1 if findings else 0
