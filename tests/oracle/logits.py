"""A reader and a writer of kept logits, from docs/format-logits.md alone (pip install xxhash).

    logits.py FILE    reads and checks everything, prints the header and the first record
"""
import struct
import sys

import xxhash

MAGIC = bytes([0x89]) + b"BLG\r\n\x1a\n"
HEADER = [("major", 8, "H"), ("minor", 10, "H"), ("kind", 12, "I"), ("file_bytes", 16, "Q"), ("vocab_size", 24, "I"),
          ("n_positions", 28, "I"), ("n_seqs", 32, "I"), ("stride", 36, "I"), ("bos", 40, "I"), ("record_bytes", 44, "I"),
          ("n_scored", 48, "Q"), ("n_top", 56, "H"), ("n_samples", 58, "H"), ("hidden_size", 60, "I"), ("head_type", 64, "I"),
          ("block_rows", 68, "I"), ("tokens", 72, "16s"), ("model", 88, "16s"), ("seqs", 104, "Q"), ("name", 112, "127s"),
          ("checksum", 248, "Q")]
SPARSE, HIDDEN, BF16, F32 = 1, 2, 19, 20


def h64(data):
    return xxhash.xxh3_64_intdigest(data)


def h128(data):
    h = xxhash.xxh3_128_intdigest(data)
    return struct.pack("<QQ", h & (1 << 64) - 1, h >> 64)


def blocks(data, row):
    return [data[i:i + 64 * row] for i in range(0, len(data), 64 * row)]


def place(token, ln_p):
    code = (1 << 24) - 1 if ln_p is None else min(round(-ln_p * 131072), (1 << 24) - 1)
    return token.to_bytes(3, "little") + code.to_bytes(3, "little")


NONE = place((1 << 24) - 1, None)


def sparse(target, tail, ln_threshold, places):
    return struct.pack("<3f", target, tail, ln_threshold) + b"".join(places)


def write(tokens, seqs, records, head=b"", head_row=0, front=None, table=None, end=None, **fields):
    """The file. tokens: [n_seqs][n_positions]; records: bytes each. front, table, end: functions that
    spoil the header's fields, the hashes or the whole before the last checksums are made."""
    text = struct.pack(f"<{len(tokens) * len(tokens[0])}I", *[t for s in tokens for t in s])
    index = b"".join(struct.pack("<QII", *s) for s in seqs)
    body = b"".join(records)
    hashes = [h64(b) for b in (blocks(head, head_row) if head else []) + blocks(body, len(records[0]))]
    if table:
        table(hashes)
    hashes = struct.pack(f"<{len(hashes)}Q", *hashes)
    f = dict(major=1, minor=0, kind=SPARSE, n_positions=len(tokens[0]), n_seqs=len(tokens), stride=0, bos=(1 << 32) - 1,
             record_bytes=len(records[0]), n_scored=len(records), n_top=0, n_samples=0, hidden_size=0, head_type=0, block_rows=64,
             tokens=h128(text), model=bytes(range(16)), seqs=h64(index), name=b"oracle", checksum=0)
    f.update(fields)
    f["file_bytes"] = 256 + len(text) + len(index) + len(head) + len(body) + len(hashes) + 16
    if front:
        front(f)
    header = bytearray(256)
    header[:8] = MAGIC
    for name, at, kind in HEADER:
        struct.pack_into("<" + kind, header, at, f[name])
    struct.pack_into("<Q", header, 248, h64(bytes(header[:248])))
    whole = bytearray(header + text + index + head + body + hashes + h128(bytes(header) + hashes))
    if end:
        end(whole)
    return bytes(whole)


def read(data):
    """(header fields, tokens, sequences, head bytes, records); AssertionError when something is wrong."""
    f = {name: struct.unpack_from("<" + kind, data, at)[0] for name, at, kind in HEADER}
    assert data[:8] == MAGIC and f["checksum"] == h64(data[:248]) and f["major"] == 1 and f["file_bytes"] == len(data)
    n = f["n_seqs"] * f["n_positions"]
    seqs, row = 256 + 4 * n, f["hidden_size"] * {0: 0, BF16: 2, F32: 4}[f["head_type"]]
    head = seqs + 16 * f["n_seqs"]
    records = head + f["vocab_size"] * row
    hashes = records + f["n_scored"] * f["record_bytes"]
    assert h128(data[256:seqs]) == f["tokens"] and h64(data[seqs:head]) == f["seqs"]
    want = (blocks(data[head:records], row) if row else []) + blocks(data[records:hashes], f["record_bytes"])
    assert struct.pack(f"<{len(want)}Q", *map(h64, want)) == data[hashes:-16]
    assert h128(data[:256] + data[hashes:-16]) == data[-16:]
    rows = [data[i:i + f["record_bytes"]] for i in range(records, hashes, f["record_bytes"])]
    return f, struct.unpack(f"<{n}I", data[256:seqs]), list(struct.iter_unpack("<QII", data[seqs:head])), data[head:records], rows


def read_sparse(f, record):
    """(ln p of the target, tail, ln t, top, samples); places as (id, ln p)."""
    places = [(int.from_bytes(record[i:i + 3], "little"), -int.from_bytes(record[i + 3:i + 6], "little") / 131072)
              for i in range(12, len(record), 6)]
    used = [p for p in places[:f["n_top"]] if p[0] < f["vocab_size"]]
    return *struct.unpack("<3f", record[:12]), used, [p for p in places[f["n_top"]:] if p[0] < f["vocab_size"]]


if __name__ == "__main__":
    fields, text, sequences, head_bytes, all_records = read(open(sys.argv[1], "rb").read())
    for key, value in fields.items():
        print(f"{key:12} {value if not isinstance(value, bytes) else value.rstrip(bytes(1)) if key == 'name' else value.hex()}")
    if fields["kind"] == SPARSE:
        print(read_sparse(fields, all_records[0]))
