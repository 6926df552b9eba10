#!/usr/bin/env python3
"""Write every file of this folder, with the writer in tests/oracle/logits.py, expected.tsv (what the unit
test compares) and README.md (why each file is what it is). pip install xxhash

    make.py              writes
    make.py --check      writes nothing, fails when a file differs

A case is (name, what the sentence must say, why, bytes). The first word of the name is the verdict.
"""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "oracle"))
import logits  # noqa: E402
from logits import BF16, F32, HIDDEN, NONE, place, sparse, write  # noqa: E402

NO_T = float("-inf")
TOKENS = [[3, 1, 4, 1], [5, 0, 2, 6]]
SEQS = [(0, 1, 2), (2, 0, 3)]
TOP = [place(4, -0.5), place(1, -1.25)]
SAMPLES = [place(0, -4.0), place(2, -3.5), place(9, -200.0)]
RECORD = sparse(-1.25, 0.0625, -3.25, TOP + SAMPLES)
FIELDS = dict(vocab_size=10, n_top=2, n_samples=3)


def small(records=None, **fields):
    return write(fields.pop("token", TOKENS), fields.pop("seq", SEQS), records or [RECORD] * 5, **{**FIELDS, **fields})


def one(record, **fields):
    """The third record is another."""
    return small([RECORD, RECORD, record, RECORD, RECORD], **fields)


def set_to(**fields):
    return lambda f: f.update(fields)


def states(value=1.0, kind=BF16):
    code = struct.pack("<f", value)
    row = (code if kind == F32 else code[2:]) * 3
    return write(TOKENS, SEQS, [struct.pack("<f", value)[2:] * 3] * 5, head=row * 10, head_row=len(row), kind=HIDDEN, vocab_size=10,
                 hidden_size=3, head_type=kind)


def many():
    """130 records: two whole blocks and a part of one."""
    rows = [sparse(-i / 16, 0.0625, -3.25, TOP + SAMPLES) for i in range(130)]
    return write([[i % 10 for i in range(131)]], [(0, 0, 130)], rows, **FIELDS)


def flip(at):
    def spoil(whole):
        whole[at] ^= 1
    return spoil


def tiny():
    """A vocabulary of four: two in the top, two sampled, one place empty."""
    record = sparse(-0.5, 0.25, NO_T, [place(2, -0.5), place(1, -1.0), place(0, -2.0), place(3, -2.0), NONE])
    return write([[3, 1, 2, 1]], [(0, 0, 3)], [record] * 3, vocab_size=4, n_top=2, n_samples=3)


GOOD = small()
CASES = [
    ("good-sparse", "", "two sequences, five records", GOOD),
    ("good-blocks", "", "130 records in three blocks", many()),
    ("good-small-vocabulary", "", "four tokens: the whole tail is in the sample, one place is empty", tiny()),
    ("good-windows", "", "windows 3 apart", small(stride=3)),
    ("good-bos", "", "chunks that begin with token 5", small(bos=5)),
    ("good-hidden", "", "states and head in BF16", states()),
    ("good-hidden-f32", "", "a head in F32", states(kind=F32)),
    ("good-later-minor", "", "minor version 9", small(minor=9)),
    ("good-empty-sequence", "", "the first sequence has no score", small(seq=[(0, 0, 0), (0, 0, 3)], records=[RECORD] * 3)),

    ("bad-empty-file", "not a file of kept logits", "no byte at all", b""),
    ("bad-magic", "not a file of kept logits", "a line end was translated", GOOD.replace(b"\r\n", b"\n\n", 1)),
    ("bad-header-byte", "header is damaged", "one bit of the vocabulary", small(end=flip(24))),
    ("bad-truncated", "truncated", "one byte is missing", GOOD[:-1]),
    ("bad-trailing", "truncated", "one byte too many", GOOD + b"\0"),
    ("bad-file-bytes", "truncated", "file_bytes is wrong", small(front=lambda f: f.update(file_bytes=f["file_bytes"] + 1))),
    ("bad-tokens", "tokens of the text are damaged", "one bit of a token", small(end=flip(256))),
    ("bad-seqs", "table of sequences is damaged", "one bit of a sequence", small(end=flip(256 + 32))),
    ("bad-hashes", "table of hashes is damaged", "the hash of a block changed after the last one was made", small(end=flip(len(GOOD) - 17))),
    ("bad-end", "table of hashes is damaged", "the last bit", small(end=flip(len(GOOD) - 1))),
    ("bad-token-outside", "token 10 is not in the vocabulary", "one too large", small(token=[[3, 1, 4, 10], [5, 0, 2, 6]])),
    ("bad-token-negative", "not in the vocabulary", "2^32 - 1", small(token=[[3, 1, 4, 2**32 - 1], [5, 0, 2, 6]])),
    ("bad-seq-past-end", "sequence 1 scores", "position 3 has no token behind it", small(seq=[(0, 1, 2), (2, 1, 3)])),
    ("bad-seq-wraps", "sequence 1 scores", "first_position + n_records wraps", small(seq=[(0, 1, 2), (2, 2**32 - 1, 3)])),
    ("bad-seq-many", "sequence 0 scores", "as many records as positions", small(seq=[(0, 0, 4), (4, 0, 1)])),
    ("bad-seq-order", "sequence 1 scores", "first_record is not where the one before ends", small(seq=[(0, 1, 2), (1, 0, 3)])),
    ("bad-seq-sum", "score 4 tokens", "one record belongs to no sequence", small(seq=[(0, 1, 2), (2, 0, 2)])),
    ("bad-no-record", "contradicts itself", "n_scored 0", small(front=set_to(n_scored=0))),
    ("bad-scored-max", "contradicts itself", "n_scored 2^64 - 1: sizes overflow", small(front=set_to(n_scored=2**64 - 1))),
    ("bad-text-large", "truncated", "2^62 tokens", small(front=set_to(n_seqs=2**30, n_positions=2**31, n_scored=1))),
    ("bad-text-overflow", "contradicts itself", "(2^32 - 1)^2 tokens: sizes overflow", small(front=set_to(n_seqs=2**32 - 1, n_positions=2**32 - 1, n_scored=1))),
    ("bad-one-position", "contradicts itself", "a sequence of one token", small(front=set_to(n_positions=1))),
    ("bad-no-vocabulary", "contradicts itself", "vocab_size 0", small(front=set_to(vocab_size=0))),
    ("bad-vocabulary-large", "contradicts itself", "ids of 24 bits end before it", small(front=set_to(vocab_size=1 << 24))),
    ("bad-bos", "contradicts itself", "bos is not in the vocabulary", small(bos=10)),
    ("bad-top-none", "contradicts itself", "n_top 0", small(front=set_to(n_top=0, n_samples=5))),
    ("bad-kept-many", "contradicts itself", "65 places", small(front=set_to(n_top=33, n_samples=32, record_bytes=402))),
    ("bad-record-bytes", "contradicts itself", "not what the places need", small(front=set_to(record_bytes=43))),
    ("bad-block-rows", "contradicts itself", "blocks of 32", small(front=set_to(block_rows=32))),
    ("bad-head-in-sparse", "contradicts itself", "a head type, but no head", small(front=set_to(head_type=BF16))),
    ("bad-hidden-in-sparse", "contradicts itself", "a hidden size, but no states", small(hidden_size=2**32 - 1)),
    ("bad-name-escape", "contradicts itself", "a terminal escape in the name", small(name=b"a\x1b[2J")),
    ("bad-hidden-none", "contradicts itself", "hidden_size 0", small(front=set_to(kind=HIDDEN, head_type=BF16, n_top=0, n_samples=0))),

    ("damaged-record", "records are damaged from 0 to 4", "one bit of a record", small(end=flip(256 + 32 + 32 + 50))),
    ("damaged-third-block", "records are damaged from 128 to 129", "the block that is no whole one", write(
        [[i % 10 for i in range(131)]], [(0, 0, 130)], [RECORD] * 130, end=flip(256 + 4 * 131 + 16 + 129 * 42), **FIELDS)),
    ("damaged-hash", "records are damaged", "the hash of the block is another's", small(table=lambda h: h.__setitem__(0, h[0] ^ 1))),
    ("damaged-head", "output head are damaged from 0 to 9", "one bit of the head", write(
        TOKENS, SEQS, [b"\0\0" * 3] * 5, head=b"\0\0" * 30, head_row=6, kind=HIDDEN, vocab_size=10, hidden_size=3, head_type=BF16, end=flip(256 + 64))),
    ("broken-target-nan", "target's probability", "NaN", one(sparse(float("nan"), 0.0625, -3.25, TOP + SAMPLES))),
    ("broken-target-positive", "target's probability", "ln p = 1", one(sparse(1, 0.0625, -3.25, TOP + SAMPLES))),
    ("broken-tail", "tail's probability", "a tail of 1.5", one(sparse(-1, 1.5, -3.25, TOP + SAMPLES))),
    ("broken-threshold-nan", "threshold that cannot be", "NaN", one(sparse(-1, 0.0625, float("nan"), TOP + SAMPLES))),
    ("broken-threshold-none", "threshold that cannot be", "none, but the sample is not the whole tail", one(sparse(-1, 0.0625, NO_T, TOP + SAMPLES))),
    ("broken-token-outside", "not in the vocabulary", "token 10 of 10", one(sparse(-1, 0.0625, -3.25, TOP + SAMPLES[:2] + [place(10, -5)]))),
    ("broken-token-none", "not in the vocabulary", "an empty place where there is a token for it", one(sparse(-1, 0.0625, -3.25, TOP + SAMPLES[:2] + [NONE]))),
    ("broken-token-twice", "has a token twice", "in top and sample", one(sparse(-1, 0.0625, -3.25, TOP + SAMPLES[:2] + [place(4, -5)]))),
    ("broken-order", "out of order", "the second is likelier than the first", one(sparse(-1, 0.0625, -3.25, TOP[::-1] + SAMPLES))),
    ("broken-empty-place", "bytes where no token is", "a vocabulary of four has five places filled", write(
        [[3, 1, 2, 1]], [(0, 0, 3)], [sparse(-0.5, 0.25, NO_T, [place(2, -0.5), place(1, -1), place(0, -2), place(3, -2), place(3, -2)])] * 3,
        vocab_size=4, n_top=2, n_samples=3)),
    ("broken-not-finite", "not finite", "states and head of infinities", states(float("inf"))),

    ("unsupported-major", "version 2", "major 2", small(major=2)),
    ("unsupported-kind", "unknown kind 3", "kind 3", small(front=set_to(kind=3))),
    ("unsupported-head-type", "unknown type 18", "a head in F16", small(front=set_to(kind=HIDDEN, hidden_size=3, head_type=18, n_top=0, n_samples=0))),
]

INTRO = """# Corpus: kept logits

Made by `make.py` with the writer in `tests/oracle/logits.py`, which knows the format from `docs/format-logits.md` only; do not edit by hand.
`good-*` must be read, `bad-*` refused as broken when they are opened, `damaged-*` and `broken-*` opened but refused when their rows are read (for
a hash, for what the rows say), `unsupported-*` refused as sound but beyond this program. `expected.tsv` holds the words that the sentence must
contain, so that a file is refused for its own fault. Checksums are right wherever a file is not about checksums.

| file | bytes | why |
|---|---|---|
"""


def files():
    out = {f"{name}.logits": content for name, _, _, content in CASES}
    assert len(out) == len(CASES)
    out["expected.tsv"] = "".join(f"{n}.logits\t{said}\n" for n, said, _, _ in CASES).encode()
    out["README.md"] = (INTRO + "".join(f"| `{n}` | {len(c)} | {why} |\n" for n, _, why, c in CASES)).encode()
    return out


def main():
    for name, _, _, content in CASES:
        if name.startswith("good"):
            logits.read(content)
    wanted = files()
    if "--check" in sys.argv:
        differ = [n for n, c in wanted.items() if not os.path.exists(os.path.join(HERE, n)) or open(os.path.join(HERE, n), "rb").read() != c]
        differ += [n for n in os.listdir(HERE) if n not in wanted and n not in ("make.py", "__pycache__")]
        print(f"{len(wanted)} files, different: {differ or 'none'}")
        return 1 if differ else 0
    for name, content in wanted.items():
        with open(os.path.join(HERE, name), "wb") as f:
            f.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
