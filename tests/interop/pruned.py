#!/usr/bin/env python3
"""Is every stored tensor of a pruned folder one of the original's, or rows of its router?

  pruned.py ORIGINAL PRUNED...

Reads both with the Python safetensors package and asks config.json's `expert_pruning` which layer and expert each was.
Bytes are compared. Exit 1 on any difference.
"""
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open


def load(folder):
    tensors = {}
    for shard in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(shard, "pt") as f:
            tensors.update((name, f.get_tensor(name)) for name in f.keys())
    return tensors


def original_of(name, record, tensors):
    part = name.split(".")
    if part[1] != "layers":
        return tensors[name]
    layer = int(part[2])
    part[2] = str(record["layers"][layer])
    if "experts" in part:
        at = part.index("experts") + 1
        part[at] = str(record["experts"][layer][int(part[at])])
    tensor = tensors[".".join(part)]
    return tensor[record["experts"][layer]] if part[3:5] == ["mlp", "gate"] else tensor


def bytes_of(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def main():
    original, bad = load(sys.argv[1]), 0
    for folder in sys.argv[2:]:
        config = json.loads((Path(folder) / "config.json").read_text())
        record, pruned = config["expert_pruning"], load(folder)
        wrong = [n for n, t in pruned.items() if not torch.equal(bytes_of(t), bytes_of(original_of(n, record, original)))]
        rows = [row for row in record["experts"] if row]
        size = record["n_routed_experts"] // max(config["n_group"], 1)
        even = config["n_group"] == 1 or all(sum(e // size == g for e in row) * config["n_group"] == len(row) for row in rows for g in range(config["n_group"]))
        print(f"{folder}: {len(pruned) - len(wrong)} of {len(pruned)} tensors equal; {config['n_routed_experts']} experts, groups even: {even} {wrong[:3]}")
        bad += bool(wrong) or not even
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
