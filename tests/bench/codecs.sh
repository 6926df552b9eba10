#!/bin/bash
# Size and speed of lossless coding, memory to memory: .bln, zstd level 1 and ZipNN on the same bytes of a checkpoint.
#
#   codecs.sh BENCH_BLN DIR WORK [MB [RUNS [PYTHON]]]
#
# Takes the first MB million bytes (default 1000) of the FP8 and of the BF16 matrices in DIR, writes them to WORK (a tmpfs) and runs, in
# alternation, `zstd -b1` with 2 threads (its decoding has one), with 1, and ours with 2 and with 1; with a PYTHON that has
# zipnn, that too (2 threads). Medians of RUNS (default 5) and ratios. Never fails on a time. Needs zstd, python3.
set -euo pipefail

if [ $# -lt 3 ]; then
	sed -n '2,8s/^# \{0,1\}//p' "$0"
	exit 2
fi
exec python3 - "$@" <<'END'
import json
import re
import statistics
import struct
import subprocess
import sys
from pathlib import Path

bench, source, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
most = int(sys.argv[4]) * 10**6 if len(sys.argv) > 4 else 10**9
runs = int(sys.argv[5]) if len(sys.argv) > 5 else 5
python = sys.argv[6] if len(sys.argv) > 6 else None
ZIPNN = """
import sys, time
from zipnn import ZipNN
data = open(sys.argv[1], "rb").read()
z = ZipNN(input_format="byte", bytearray_dtype=sys.argv[2], threads=2)
copy = bytearray(data)  # it works in place
t = time.perf_counter(); coded = z.compress(copy); a = time.perf_counter(); back = z.decompress(coded); b = time.perf_counter()
assert bytes(back) == data
print(f"{100 * len(coded) / len(data):.2f} % coding {len(data) / (a - t) / 1e6:.0f} decoding {len(data) / (b - a) / 1e6:.0f} MB/s")
"""


def extract(dtype, path):
    left = most
    with open(path, "wb") as out:
        for shard in sorted(source.glob("*.safetensors")):
            with open(shard, "rb") as f:
                (n,) = struct.unpack("<Q", f.read(8))
                for name, t in json.loads(f.read(n)).items():
                    begin, end = t.get("data_offsets", (0, 0))
                    if name != "__metadata__" and t["dtype"] == dtype and len(t["shape"]) > 1 and left > 0:
                        f.seek(8 + n + begin)
                        out.write(f.read(min(end - begin, left)))
                        left -= min(end - begin, left)
    return most - left


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    text = done.stdout + done.stderr
    if done.returncode:
        sys.exit(text)
    m = re.search(r"([\d.]+) % coding (\d+) decoding (\d+)", text)
    if m:
        return tuple(map(float, m.groups()))
    m = re.findall(r"(\d+) -> +(\d+) \([^)]*\), +([\d.]+) MB/s,? +([\d.]+) MB/s", text)[-1]
    return 100 * float(m[1]) / float(m[0]), float(m[2]), float(m[3])


for dtype, kind, zipnn in (("F8_E4M3", "f8_e4m3", "float8_e4m3fn"), ("BF16", "bf16", "bfloat16")):
    path = work / f"{kind}.bin"
    size = extract(dtype, path)
    commands = {"zstd -1 -T2": ("zstd", "-b1", "-i1", "-T2", path), "ours, 2 threads": (bench, path, kind, 2),
                "zstd -1, 1 thread": ("zstd", "-b1", "-i1", "--single-thread", path), "ours, 1 thread": (bench, path, kind, 1)}
    if python:
        commands["ZipNN"] = (python, "-c", ZIPNN, path, zipnn)
    got = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            got[name].append(run(*command))
    print(f"\n{dtype}, {size} bytes, medians of {runs}")
    row = {name: [statistics.median(c) for c in zip(*rows)] for name, rows in got.items()}
    for name, (percent, coding, decoding) in row.items():
        base = row["zstd -1, 1 thread" if name.endswith("1 thread") else "zstd -1 -T2"]
        print(f"{name:18} {percent:6.2f} %  coding {coding:6.0f} MB/s ({coding / base[1]:.2f})  decoding {decoding:6.0f} MB/s ({decoding / base[2]:.2f})", flush=True)
    path.unlink()
END
