#!/usr/bin/env python3
"""Does a GGUF file say what llama.cpp's own converter says about the same checkpoint, key by key and tensor by tensor?

  gguf_reference.py REFERENCE X.gguf        REFERENCE: a .json by tests/oracle/make_gguf_reference.py, or a .gguf

Every key must be there with the exact type and value, and none besides; but for those in OURS, with the reason. Tensors:
names and extents; where both files hold F32, the same bytes too. Exit 1 on any difference.
"""
import collections
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "oracle"))
from make_gguf_reference import describe

OURS = {
    "general.name": "theirs is the folder's name with capitals and spaces",
    "general.size_label": "theirs is a guess from tensor shapes that nothing reads",
    "general.file_type": "held against the file's own tensors instead",
    "general.quantization_version": "may be absent where nothing is quantized",
    "general.sampling.": "from generation_config.json; optional, recent llama.cpp only",
    "general.license": "from a model card",
    "general.tags": "from a model card",
    "general.base_model.": "from a model card",
    "baleen.": "what we say about our own work",
    "qwen2.rope.dimension_count": "the loader's default, the head's length",
    "qwen2.vocab_size": "the loader's default, the number of tokens",
}
# What a key says where it is absent.
DEFAULTS = {"tokenizer.ggml.add_eos_token": {"type": "bool", "value": False}}
# Computed, theirs in F32 and ours in double: equal within 1e-6 (tests/unit/convert/test_plan_gguf.c).
COMPUTED = {"rope_freqs.weight"}


FILE_TYPE = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "BF16": 32}


def is_ours(key):
    return any(key == k or (k.endswith(".") and key.startswith(k)) for k in OURS)


def load(path):
    return json.loads(Path(path).read_text()) if str(path).endswith(".json") else describe(path)


def self_description(have):
    """general.file_type must name the most frequent matrix type, quantization_version be 2 if there."""
    kinds = collections.Counter(t["type"] for t in have["tensors"].values() if len(t["ne"]) > 1)
    for main, _ in kinds.most_common(1):
        want = {"type": "uint32", "value": FILE_TYPE.get(main)}
        if have["keys"].get("general.file_type") not in (None, want):
            yield f"general.file_type: matrices are {main}, so expected {want}, found {have['keys']['general.file_type']}"
    version = have["keys"].get("general.quantization_version")
    quantized = any(k.startswith("Q") for k in kinds)
    if version != {"type": "uint32", "value": 2} and (quantized or version is not None):
        yield f"general.quantization_version: expected uint32 2, found {version}"


def differences(want, have):
    yield from self_description(have)
    for key in sorted(set(want["keys"]) | set(have["keys"])):
        a, b = (side["keys"].get(key, DEFAULTS.get(key)) for side in (want, have))
        if a != b and not is_ours(key):
            yield f"{key}: expected {a}, found {b}"
    for name in sorted(set(want["tensors"]) | set(have["tensors"])):
        a, b = want["tensors"].get(name), have["tensors"].get(name)
        if a is None or b is None:
            yield f"{name}: " + ("not expected" if a is None else "missing")
        elif a["ne"] != b["ne"]:
            yield f"{name}: expected extents {a['ne']}, found {b['ne']}"
        elif a["type"] == b["type"] and a["sha256"] != b["sha256"] and name not in COMPUTED:
            yield f"{name}: same type {a['type']}, other bytes"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    want, have = load(sys.argv[1]), load(sys.argv[2])
    bad = list(differences(want, have))
    for line in bad:
        print(line)
    ours = [k for k in sorted(set(want["keys"]) | set(have["keys"])) if is_ours(k) and want["keys"].get(k) != have["keys"].get(k)]
    for k in ours:
        print(f"ours: {k}: theirs {want['keys'].get(k)}, here {have['keys'].get(k)}")
    same = sum(have["tensors"].get(n) == t for n, t in want["tensors"].items())
    print(f"{sys.argv[2]}: {len(have['keys'])} keys, {len(have['tensors'])} tensors ({same} with identical bytes): " + (f"{len(bad)} differ" if bad else "as llama.cpp's converter"))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
