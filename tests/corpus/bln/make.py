#!/usr/bin/env python3
"""Write every file of this folder: good, bad and unsupported .bln files, expected.tsv (what the unit test compares) and README.md.

    make.py              writes
    make.py --check      writes nothing, fails when a file differs
    make.py --seeds DIR  writes the short form that tests/fuzz/fuzz_bln.c describes, of every file with a raw index
    make.py --oracle     fails when tests/oracle/bln.py gives another verdict than the name of a file

A case is (name, what the sentence must say, why, bytes). The first word of the name is the verdict. The files come from the writer in
tests/oracle/bln.py, which knows the format from docs/format-bln.md only. pip install xxhash (and zstandard for --oracle)
"""
import os
import struct
import sys
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "oracle"))
import bln
from bln import HEADER, SIDE, TENSOR, build, chunk, entry


def ramp(n):
    return bytes(i % 251 for i in range(n))


def rle(n, byte=7):
    """A zstd frame (RFC 8878) that holds n < 256 equal bytes: single segment, content size, one last RLE block."""
    return b"\x28\xb5\x2f\xfd\x20" + bytes([n]) + struct.pack("<I", n << 3 | 1 << 1 | 1)[:3] + bytes([byte])


HEAD = entry(HEADER, "model.safetensors", b"{}")
A = entry(TENSOR, "a", ramp(24), "F32", [2, 3])
CONFIG = entry(SIDE, "config.json", b"{}")
BASE = [HEAD, A, CONFIG]
COPIED = entry(TENSOR, "b", dtype="F32", dim=[6], chunks=[], same_as=2)
FIRST_CHUNK = 4096 + 64  # of A, behind the header's


def with_a(*args, **kw):
    return build([HEAD, entry(TENSOR, "a", *args, **kw), CONFIG])


def one_chunk(**kw):
    """A tensor of 240 equal bytes in one chunk."""
    return with_a(dtype="U8", dim=[240], chunks=[chunk(b"\7" * 240, **kw)])


def poke(content, at, new):
    return content[:at] + new + content[at + len(new):]


def every_dtype():
    return [HEAD] + [entry(TENSOR, "t." + name, ramp(4 * bits // 8), name, [2, 2]) for name, bits in bln.DTYPES.values()]


def swapped(sections):
    return [sections[1], sections[0]] + sections[2:]


ITEM = struct.pack("<II", 1, 8) + b"somebody" + struct.pack("<II", 1 << 31, 3) + b"x\0y" + bytes(5)
TWO = chunk(ramp(16)), chunk(ramp(8))
GOOD = build(BASE)
CASES = [
    ("good-small", "", "a header, a tensor and a side file", GOOD),
    ("good-empty", "", "an archive of nothing", build([])),
    ("good-every-dtype", "", "each element type, [2,2]", build(every_dtype())),
    ("good-scalar", "", "no dimension, one value", with_a(ramp(4), "F32", [])),
    ("good-no-bytes", "", "a tensor without bytes has no chunk", with_a(b"", "F32", [0, 5])),
    ("good-zstd", "", "a zstd chunk", one_chunk(codec=1, stored=rle(240))),
    ("good-fp8", "", "FP8 in planes: 0x38 is exponent 7, mantissa 0", with_a(dtype="F8_E4M3", dim=[240], chunks=[chunk(b"\x38" * 240, codec=3, stored=bytes(120) + rle(120, 0x77))])),
    ("good-fp8-halves", "", "first half in the low bits of both planes", with_a(dtype="F8_E4M3", dim=[240], chunks=[chunk(b"\x3a" * 120 + b"\xc5" * 120, codec=3, stored=b"\xd2" * 120 + rle(120, 0x87))])),
    ("good-bf16", "", "BF16 in planes: 1.0 is exponent 127", with_a(dtype="BF16", dim=[120], chunks=[chunk(b"\x80\x3f" * 120, codec=4, stored=bytes(120) + rle(120, 0x7f))])),
    ("good-zlib", "", "a zlib stream", one_chunk(codec=5, stored=zlib.compress(b"\7" * 240))),
    ("good-const-1", "", "one byte repeated", one_chunk(codec=2, stored=b"\7")),
    ("good-const-8", "", "eight bytes repeated", one_chunk(codec=2, stored=b"\7" * 8)),
    ("good-several-chunks", "", "16 and 8 bytes", with_a(dtype="U8", dim=[24], chunks=list(TWO))),
    ("good-copy", "", "a tensor with the bytes of an earlier one, in another shape", build([HEAD, A, COPIED, CONFIG])),
    ("good-two-shards", "", "two headers, each before its tensors",
     build([HEAD, A, entry(HEADER, "second.safetensors", b"{}"), entry(TENSOR, "b", b"\1", "U8", [1]), CONFIG])),
    ("good-gaps", "", "raw data at multiples of 128, as `align` allows", build(BASE, align=128, gap=64)),
    ("good-later-minor", "", "minor version 9, longer records, an unknown section, unknown compatible features",
     build(BASE, both={"minor": 9, "compat": 3, "ro_compat": 5}, records=(136, 40), info=ITEM,
           section_edit=lambda s: s + [[77, 3, 2, b"abcdef"]])),
    ("good-information", "", "the tool's name and a private key", build(BASE, info=ITEM)),
    ("good-zstd-index", "", "the index in a zstd frame (one raw block)",
     build([], index_codec=1, index_stored=lambda b: b"\x28\xb5\x2f\xfd\x20" + bytes([len(b)]) + struct.pack("<I", len(b) << 3 | 1)[:3] + b)),

    ("bad-empty-file", "not a .bln file", "no byte at all", b""),
    ("bad-magic", "not a .bln file", "a line end was translated", poke(GOOD, 4, b"\n")),
    ("bad-short", "truncated", "the superblock alone", GOOD[:4096]),
    ("bad-superblock-checksum", "the superblock is damaged", "one bit", poke(GOOD, 20, b"\1")),
    ("bad-open", "did not finish", "the writer was interrupted", build(BASE, both={"state": 0})),
    ("bad-state", "neither open nor complete", "state 2", build(BASE, both={"state": 2})),
    ("bad-cut", "truncated", "the last 100 bytes are missing", GOOD[:-100]),
    ("bad-longer", "too long", "a byte behind the trailer", GOOD + b"\0"),
    ("bad-trailer-magic", "the trailer is damaged", "another superblock where the trailer should be", build(BASE, trailer={"magic": bln.MAGIC["superblock"]})),
    ("bad-trailer-checksum", "the trailer is damaged", "one bit", poke(GOOD, len(GOOD) - 100, b"\1")),
    ("bad-trailer-disagrees", "superblock and trailer disagree", "another id", build(BASE, trailer={"id": bytes(16)})),
    ("bad-index-place", "does not end where the trailer begins", "index_offset + 64", build(BASE, both={"index_offset": 4096 + 64})),
    ("bad-index-overflow", "does not end where the trailer begins", "offset + size wraps around", build(BASE, both={"index_offset": (1 << 64) - 64, "index_stored": 5000})),
    ("bad-index-too-large", "an index of 1073741825 bytes", "more than 2^30", build(BASE, both={"index_decoded": (1 << 30) + 1})),
    ("bad-index-bomb", "an index of 1000000 bytes", "more than 256 times what is stored", build(BASE, both={"index_decoded": 1000000, "index_codec": 1})),
    ("bad-index-checksum", "wrong checksum", "the index is not what was hashed", build(BASE, both={"index_hash": 1})),
    ("bad-index-frame", "the index is damaged", "raw bytes that claim to be zstd", build(BASE, both={"index_codec": 1})),
    ("bad-index-raw-size", "the index is coded with 0", "raw, but the sizes differ", build(BASE, both={"index_decoded": 10})),
    ("bad-no-index", "the index has only 8 bytes", "not even a header", build([], index_edit=lambda b: b[:8])),
    ("bad-many-sections", "4294967295 sections", "they do not fit", build(BASE, index_edit=lambda b: poke(b, 0, b"\xff" * 4))),
    ("bad-alignment", "is no alignment", "96", build(BASE, align=96)),
    ("bad-alignment-huge", "is no alignment", "4 MiB", build(BASE, align=4 << 20)),
    ("bad-section-order", "out of order", "chunks before entries", build(BASE, section_edit=swapped)),
    ("bad-section-twice", "out of order", "two sections of names", build(BASE, section_edit=lambda s: s + [s[2]])),
    ("bad-section-missing", "lacks a section", "no chunks", build([HEAD], section_edit=lambda s: [s[0], s[2]])),
    ("bad-section-offset", "section 1", "it claims to start elsewhere", build(BASE, section_edit=lambda s: [[*s[0], 96]] + s[1:])),
    ("bad-section-past-end", "section 1", "more records than the index holds", build(BASE, section_edit=lambda s: [[1, 128, 1000, s[0][3]]] + s[1:])),
    ("bad-section-overflow", "section 1", "2^32 - 1 records of 2^32 - 1 bytes", build(BASE, section_edit=lambda s: [[1, (1 << 32) - 1, (1 << 32) - 1, s[0][3]]] + s[1:])),
    ("bad-section-short-records", "section 1", "entries of 64 bytes", build(BASE, section_edit=lambda s: [[1, 64, 6, s[0][3]]] + s[1:])),
    ("bad-index-tail", "does not end with its last section", "eight more bytes", build(BASE, index_edit=lambda b: b + bytes(8))),

    ("bad-name-place", "the name of entry 1", "names overlap", build([HEAD, entry(TENSOR, "a", ramp(4), "F32", [1], name_offset=5), CONFIG])),
    ("bad-name-past-end", "the name of entry 2", "longer than the section", build([HEAD, A, entry(SIDE, "config.json", b"{}", name_bytes=1 << 31)])),
    ("bad-name-no-nul", "the name of entry 2", "the last NUL is missing", build(BASE, names_edit=lambda n: n[:-1] + b"x")),
    ("bad-name-rest", "names that no entry uses", "a name too many", build(BASE, names_edit=lambda n: n + b"z\0")),
    ("bad-name-empty", "is empty", "a tensor without a name", build([HEAD, entry(TENSOR, "", ramp(4), "F32", [1])])),
    ("bad-name-nul", "control character", "a NUL inside", build([HEAD, entry(TENSOR, "a\0b", ramp(4), "F32", [1])])),
    ("bad-name-c1", "control character", "U+009B starts a terminal sequence", build([HEAD, entry(TENSOR, "a\x9bb", ramp(4), "F32", [1])])),
    ("bad-name-utf8", "is not UTF-8", "a surrogate", build([HEAD, entry(TENSOR, b"a\xed\xa0\x80", ramp(4), "F32", [1])])),
    ("bad-name-cut-utf8", "is not UTF-8", "a sequence that is cut", build([HEAD, entry(TENSOR, b"a\xe2\x82", ramp(4), "F32", [1])])),
    ("bad-name-twice", "two of that name", "two tensors", build([HEAD, A, A])),
    ("bad-file-twice", "two of that name", "a side file named like a shard", build([HEAD, A, entry(SIDE, "model.safetensors", b"")])),
    ("bad-file-parent", "not a plain file name", "`../x`", build([HEAD, A, entry(SIDE, "../x", b"{}")])),
    ("bad-file-dots", "not a plain file name", "`..`", build([HEAD, A, entry(SIDE, "..", b"{}")])),
    ("bad-shard-absolute", "not a plain file name", "`/x`", build([entry(HEADER, "/x", b"{}"), A])),
    ("bad-file-long", "is too long", "256 bytes", build([HEAD, A, entry(SIDE, "x" * 256, b"{}")])),

    ("bad-tensor-first", "does not follow the header of its shard", "no header at all", build([A])),
    ("bad-shard-number", "does not follow the header of its shard", "shard 1 behind the header of shard 0", build([HEAD, entry(TENSOR, "a", ramp(4), "F32", [1], shard=1)])),
    ("bad-side-file-first", "stands behind the side files", "a tensor last", build([HEAD, CONFIG, A])),
    ("bad-side-file-order", "not sorted", "b before a", build([HEAD, entry(SIDE, "b", b"x"), entry(SIDE, "a", b"y")])),
    ("bad-shape", "its shape needs 28 bytes", "seven values, 24 bytes", with_a(ramp(24), "F32", [7])),
    ("bad-shape-overflow", "its shape overflows", "2^63 x 2", with_a(ramp(24), "F32", [1 << 63, 2])),
    ("bad-shape-half-byte", "its shape overflows or splits", "three F4 values", with_a(ramp(2), "F4", [3])),
    ("bad-shape-tail", "sizes behind its last dimension", "ndim 1, but two sizes", with_a(ramp(4), "F32", [1, 9], ndim=1)),
    ("bad-file-with-dtype", "but is no tensor", "a side file of F32", build([HEAD, A, entry(SIDE, "c", b"{}", dtype="F32")])),

    ("bad-chunk-not-next", "not the next ones", "an entry takes its neighbour's chunk", with_a(ramp(24), "F32", [6], first_chunk=0)),
    ("bad-chunk-past-end", "not the next ones", "more chunks than there are", build([HEAD, entry(TENSOR, "a", ramp(24), "F32", [6], n_chunks=1 << 31)])),
    ("bad-chunk-unused", "chunks that no entry uses", "an entry gives one of its chunks up", build([HEAD, entry(TENSOR, "a", b"\1", "F32", [0], n_chunks=0, n_bytes=0)])),
    ("bad-chunk-too-large", "sizes of a chunk", "decoded 2^20 + 1", one_chunk(codec=2, stored=b"\7", decoded=(1 << 20) + 1)),
    ("bad-chunk-empty", "sizes of a chunk", "nothing decoded", one_chunk(codec=2, stored=b"\7", decoded=0)),
    ("bad-chunk-nothing-stored", "sizes of a chunk", "nothing stored", one_chunk(codec=1, stored=b"")),
    ("bad-raw-sizes", "sizes of a chunk", "raw, stored 239 of 240", one_chunk(codec=0, stored=b"\7" * 239)),
    ("bad-zstd-larger", "sizes of a chunk", "stored in more than it decodes to", one_chunk(codec=1, stored=ramp(241))),
    ("bad-planes-odd", "sizes of a chunk", "planes of an odd number of bytes", with_a(dtype="U8", dim=[241], chunks=[chunk(b"\7" * 241, codec=3, stored=bytes(120) + rle(120))])),
    ("bad-planes-short", "sizes of a chunk", "half of the bytes, and no frame", one_chunk(codec=3, stored=bytes(120))),
    ("bad-planes-larger", "sizes of a chunk", "as many as they decode to", one_chunk(codec=4, stored=ramp(240))),
    ("bad-const-odd", "sizes of a chunk", "a value of three bytes", one_chunk(codec=2, stored=b"\7" * 3)),
    ("bad-const-rest", "sizes of a chunk", "241 is no multiple of 8", one_chunk(codec=2, stored=b"\7" * 8, decoded=241)),
    ("bad-chunk-sum", "hold less than it needs", "239 of 240", one_chunk(codec=2, stored=b"\7", decoded=239)),
    ("bad-chunk-excess", "do not divide it evenly", "241 of 240", one_chunk(codec=2, stored=b"\7", decoded=241)),
    ("bad-chunk-uneven", "do not divide it evenly", "8 and then 16 bytes", with_a(dtype="U8", dim=[24], chunks=[chunk(ramp(8)), chunk(ramp(16))])),
    ("bad-chunk-part", "lies in a part that is not the next one", "part 1", one_chunk(part=1)),
    ("bad-chunk-unaligned", "does not follow", "an offset of 4161", one_chunk(offset=FIRST_CHUNK + 1)),
    ("bad-chunk-overlap", "does not follow", "it starts inside the header", one_chunk(offset=4096)),
    ("bad-chunk-superblock", "does not follow", "it starts inside the superblock", one_chunk(offset=0)),
    ("bad-chunk-hole", "does not follow", "64 bytes that nobody owns", one_chunk(offset=FIRST_CHUNK + 64)),
    ("bad-chunk-past-data", "past the end of the data", "it reaches into the index",
     build([HEAD, entry(TENSOR, "a", dtype="U8", dim=[1000], chunks=[{"data": b"x" * 64, "decoded_bytes": bytes(1000), "codec": 0, "lies": {"stored": 1000}}])])),
    ("bad-hole-before-index", "unused bytes between", "64 bytes behind the last chunk",
     build(BASE[:2] + [entry(SIDE, "c", b"{}" * 64, chunks=[{"data": b"{}" * 64, "decoded_bytes": b"{}" * 64, "codec": 0, "lies": {"stored": 2, "decoded": 2}}], n_bytes=2)])),
    ("bad-file-bomb", "expands too much", "a side file of 2,048 equal bytes in one", build([HEAD, A, entry(SIDE, "c", chunks=[chunk(b" " * 2048, 2, b" ")])])),
    ("bad-copy-later", "comes later", "a copy of itself", build([HEAD, A, entry(TENSOR, "b", dtype="F32", dim=[6], chunks=[])| {"same_as": 2, "lies": {"same_as": 3}}])),
    ("bad-copy-differs", "not what it claims", "another hash", build([HEAD, A, entry(TENSOR, "b", dtype="F32", dim=[6], chunks=[], same_as=2, hash=bytes(16))])),
    ("bad-copy-of-header", "not what it claims", "a tensor that copies a header", build([HEAD, A, entry(TENSOR, "b", dtype="U8", dim=[2], chunks=[], same_as=1)])),
    ("bad-copy-of-copy", "not what it claims", "copies must name the original", build([HEAD, A, COPIED, entry(TENSOR, "c", dtype="F32", dim=[6], chunks=[], same_as=3)])),

    ("damaged-raw", "tensor 'a': damaged", "one bit of the data", poke(GOOD, FIRST_CHUNK, b"\x80")),
    ("damaged-zstd", "tensor 'a': damaged", "a frame that ends early", one_chunk(codec=1, stored=rle(239))),
    ("damaged-zstd-two-frames", "tensor 'a': damaged", "two frames in one chunk", one_chunk(codec=1, stored=rle(120) * 2)),
    ("damaged-zstd-rubbish", "tensor 'a': damaged", "no frame at all", one_chunk(codec=1, stored=ramp(100))),
    ("damaged-planes", "tensor 'a': damaged", "a frame that ends early", one_chunk(codec=3, stored=bytes(120) + rle(119))),
    ("damaged-planes-rubbish", "tensor 'a': damaged", "no frame at all", one_chunk(codec=4, stored=ramp(200))),
    ("damaged-zlib", "tensor 'a': damaged", "a stream with bytes behind it", one_chunk(codec=5, stored=zlib.compress(b"\7" * 240) + b"x")),
    ("damaged-const", "tensor 'a': damaged", "the wrong value", one_chunk(codec=2, stored=b"\6")),
    ("damaged-whole", "tensor 'a': it does not have", "chunks are right, their order is not: only the hash of the whole says so",
     with_a(dtype="U8", dim=[16], chunks=[chunk(b"12345678"), chunk(b"abcdefgh")], hash=bln.h128(b"abcdefgh12345678"))),

    ("unsupported-major", "version 2.0", "the next major version", build(BASE, both={"major": 2})),
    ("unsupported-feature", "bits 0x2", "a feature of later", build(BASE, both={"incompat": 2})),
    ("bad-split-alone", "part 0 of 1", "split, into one", build(BASE, both={"incompat": 1})),
    ("bad-split-no-feature", "part 0 of 2", "two parts without the feature bit", build(BASE, both={"n_parts": 2})),
    ("bad-split-no-section", "does not know its parts", "split, and no section of parts", build([], both={"incompat": 1, "n_parts": 2})),
    ("bad-split-part", "open the one without a number", "a part by itself", build(BASE, both={"incompat": 1, "n_parts": 2, "part": 1})),
    ("unsupported-index-codec", "the index is coded with 5", "an index in zlib", build(BASE, both={"index_codec": 5})),
    ("unsupported-codec", "coded with 7", "ANS", one_chunk(codec=7, stored=ramp(100))),
    ("unsupported-dtype", "unknown element type 300", "a block encoding", build([HEAD, entry(TENSOR, "a", ramp(24), "F32", [6]) | {"dtype": 300}])),
    ("unsupported-kind", "of a kind unknown here (3)", "entry kind 3", build([HEAD, A, entry(3, "c", b"{}")])),
    ("unsupported-nine-dims", "more than eight dimensions", "ndim 9", with_a(ramp(4), "F32", [1] * 8, ndim=9)),
]

INTRO = """# Corpus: .bln

Made by `make.py` with the writer in `tests/oracle/bln.py`, which knows the format from `docs/format-bln.md` only; do not edit by hand.
`good-*` must be read and verified, `bad-*` refused as broken when they are opened, `damaged-*` opened but refused when their data is
verified, `unsupported-*` refused as sound but beyond this program. `expected.tsv` holds the words that the sentence must contain, so that a
file is refused for its own fault. Checksums are right wherever a file is not about checksums. zstd frames are built by hand.

| file | bytes | why |
|---|---|---|
"""


def files():
    out = {f"{name}.bln": content for name, _, _, content in CASES}
    assert len(out) == len(CASES)
    out["expected.tsv"] = "".join(f"{n}.bln\t{said}\n" for n, said, _, _ in CASES).encode()
    out["README.md"] = (INTRO + "".join(f"| `{n}` | {len(c)} | {why} |\n" for n, _, why, c in CASES)).encode()
    return out


def verdict(content):
    try:
        archive = bln.Archive(content)
    except bln.Bad:
        return "bad"
    except bln.Unsupported:
        return "unsupported"
    try:
        archive.files()
    except bln.Bad:
        return "damaged"
    return "good"


def seeds():
    """Payload and index without what stands around them."""
    out = {}
    for name, _, _, c in CASES:
        if len(c) < 8192 or bln.ANCHOR.unpack(c[:bln.ANCHOR.size])[12] != 0:
            continue
        at, n = struct.unpack("<QQ", c[48:64])
        if at + n < len(c):
            out[name] = b"IDX" + struct.pack("<H", at - 4096) + c[4096:at + n]
    return out


def main():
    if "--seeds" in sys.argv:
        for name, content in seeds().items():
            with open(os.path.join(sys.argv[-1], name), "wb") as f:
                f.write(content)
        return 0
    if "--oracle" in sys.argv:
        wrong = [(n, verdict(c)) for n, _, _, c in CASES if verdict(c) != n.split("-")[0]]
        print(f"{len(CASES)} files, other verdicts: {wrong or 'none'}")
        return 1 if wrong else 0
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
