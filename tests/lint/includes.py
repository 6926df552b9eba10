#!/usr/bin/env python3
"""Who may include whom (docs/architecture.md), and one door for each dependency.

base < formats < {convert, model}, model < verify < {prune, quantize} < distill, all < cli.
Includes are
written from the root; a .c file includes its own header first.
"""

import re
import sys

from csource import main, sources

BELOW = {
    "base": ("base",),
    "formats": ("base", "formats"),
    "convert": ("base", "formats", "convert"),
    "model": ("base", "formats", "model"),
    "verify": ("base", "formats", "model", "verify"),
    "prune": ("base", "formats", "model", "verify", "prune"),
    "quantize": ("base", "formats", "model", "verify", "convert", "quantize"),
    "distill": ("base", "formats", "model", "verify", "convert", "quantize", "prune", "distill"),
}

# header -> the only files that may include it (a prefix of their path)
DOORS = {
    "cjson/cJSON.h": "formats/json/",
    "zstd.h": "formats/stream/",
    "zlib.h": "formats/stream/",
    "cblas.h": "base/linalg.c",
    "lapacke.h": "base/linalg",
    "omp.h": "base/par.c",
    "xxhash.h": "base/hash.c",
    "openssl/evp.h": "base/hash.c",
    "pcre2.h": "model/tokenizer",
    "utf8proc.h": "model/tokenizer",
}


def door_of(name):
    for header, door in DOORS.items():
        if name == header or name.endswith("/" + header) or header.endswith("/" + name):
            return door
    return None


def starts_with(root, quoted, own):
    """Whether the first include is the file's own header, or its module's private one over it."""
    if not quoted or quoted[0] == own:
        return bool(quoted)
    first = root / quoted[0]
    return first.is_file() and f'#include "{own}"' in first.read_text(encoding="utf-8")


def check(root):
    for s in sources(root):
        quoted = []
        for line, kind, name in s.includes():
            where = f"{s.path}:{line}: "
            door = door_of(name)
            if door and not s.path.startswith(door):
                yield where + f"{name} is included in {door} only"
            if kind == "<":
                continue
            quoted.append(name)
            if s.folder == "tests" and ((root / s.path).parent / name).is_file():
                continue  # helpers beside the test
            target = name.split("/")[0]
            if not (root / name).is_file():
                yield where + f'"{name}" is not a file, seen from the root'
            elif not name.endswith((".h", ".inc")):
                yield where + f'"{name}" is not a header'
            elif target == "tests" and s.folder != "tests":
                yield where + "tests/ is not for the program"
            elif target not in BELOW.get(s.folder, (target,)):
                yield where + f"{s.folder}/ must not include {target}/"
        own = re.sub(r"\.c$", ".h", s.path)
        if own != s.path and (root / own).is_file() and not starts_with(root, quoted, own):
            yield f'{s.path}:1: include "{own}" first'
        for line, code in s.lines():
            if re.match(r"\s*#\s*pragma\s+omp\b", code) and s.path != "base/par.c":
                yield f"{s.path}:{line}: OpenMP is used in base/par.c only"


if __name__ == "__main__":
    sys.exit(main(check))
