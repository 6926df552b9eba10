#!/usr/bin/env python3
"""Are the tensors of an int4 directory those that numpy makes from the same FP8 checkpoint?

  int4_bytes.py DIR DIR3

Names, element types, shapes and bytes of every tensor against tests/oracle/make_int4_reference.py (scale = amax / 7.5 in
BF16, codes to nearest even), the `ignore` list by what it matches, and the rest of config.json against the source's.
Exit 1 on any difference.
"""
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "oracle"))
from checkpoint import NAMES, Checkpoint
from make_int4_reference import export


def differences(want, have):
    for name in sorted(set(want) | set(have.tensors)):
        if name not in want or name not in have:
            yield f"{name}: " + ("not expected" if name not in want else "missing")
            continue
        x, (dtype, shape, *_) = want[name], have.tensors[name]
        if (NAMES[x.dtype], x.shape) != (dtype, shape):
            yield f"{name}: expected {NAMES[x.dtype]} {list(x.shape)}, found {dtype} {list(shape)}"
        elif x.tobytes() != have.raw(name).tobytes():
            a, b = (np.frombuffer(v, np.uint8) for v in (x.tobytes(), have.raw(name).tobytes()))
            yield f"{name}: {np.count_nonzero(a != b)} of {a.size} bytes differ, first at {np.flatnonzero(a != b)[0]}"


def config_differences(src, have, ignored):
    patterns = have.config["quantization_config"]["ignore"]
    packed = [n.removesuffix(".weight_packed") for n in have.tensors if n.endswith(".weight_packed")]
    for module in packed + ignored:
        hit = any(re.match(p[3:], module) if p.startswith("re:") else p == module for p in patterns)
        if hit != (module in ignored):
            yield f"ignore: {module} is " + ("packed, but ignored" if hit else "plain, but not ignored")
    for key in sorted((set(src.config) | set(have.config)) - {"quantization_config"}):
        if src.config.get(key) != have.config.get(key):
            yield f"config.json: {key}: {src.config.get(key)} became {have.config.get(key)}"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    src, have = Checkpoint(sys.argv[1]), Checkpoint(sys.argv[2])
    want, ignored = export(src, 7.5)
    bad = list(differences(want, have)) + list(config_differences(src, have, ignored))
    for line in bad:
        print(line)
    print(f"{sys.argv[2]}: {len(want)} tensors: " + (f"{len(bad)} differ" if bad else "all equal"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
