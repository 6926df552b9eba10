#!/usr/bin/env python3
"""Write every file of this folder: the good, bad and unsupported safetensors files, expected.tsv
(what the unit test compares) and README.md (why each file is what it is).

    make.py              writes
    make.py --check      writes nothing, fails when a file differs
    make.py --python     with the PyPI package `safetensors` (0.8.0): fails when a verdict in the
                         table below is not that of the package

A case is (name, what the sentence must say, whether the Python package accepts it, why, bytes).
The first word of the name is the verdict.
"""
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def pack(header, data=b"", length=None):
    """A file from a header (text, bytes or a list of entries) and data."""
    if isinstance(header, list):
        header = "{" + ",".join(header) + "}"
    if isinstance(header, str):
        header = header.encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(name, dtype, shape, begin, end):
    fields = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return json.dumps(name, ensure_ascii=False) + ":" + json.dumps(fields, separators=(",", ":"))


def raw(name, dtype='"F32"', shape="[1]", offsets="[0,4]"):
    """An entry whose fields are JSON text."""
    return f'"{name}":{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


def ramp(n):
    return bytes(i % 251 for i in range(n))


DTYPES = [("BOOL", 8), ("U8", 8), ("I8", 8), ("U16", 16), ("I16", 16), ("U32", 32), ("I32", 32), ("U64", 64), ("I64", 64),
          ("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("F8_E4M3", 8), ("F8_E5M2", 8), ("F8_E8M0", 8),
          ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8), ("F16", 16), ("BF16", 16), ("F32", 32), ("F64", 64), ("C64", 64)]


def every_dtype():
    entries, at = [], 0
    for name, bits in DTYPES:
        n = 4 * bits // 8
        entries.append(entry("t." + name, name, [2, 2], at, at + n))
        at += n
    return pack(entries, ramp(at))


ONE = entry("a", "F32", [1], 0, 4)
TWO = [ONE, entry("b", "F32", [1], 4, 8)]
CASES = [
    ("good-one-tensor", "", True, "one F32 [2,3]", pack([entry("a", "F32", [2, 3], 0, 24)], ramp(24))),
    ("good-no-tensor", "", True, "the smallest file: a header of two bytes, `{}`", pack("{}")),
    ("good-padded-header", "", True, "spaces behind the JSON, as the usual writers leave them", pack("{" + ONE + "}" + " " * 9, ramp(4))),
    ("good-odd-header", "", True, "a header of odd length: the data is unaligned, as in the published R1 shards",
     pack("{" + ONE + "}" + " " * ((len(ONE) + 1) % 2), ramp(4))),
    ("good-newline-behind-header", "", True, "other JSON white space behind the object", pack("{" + ONE + "}\n", ramp(4))),
    ("good-unsorted-entries", "", True, "entries in another order than their data", pack(TWO[::-1], ramp(8))),
    ("good-scalar", "", True, "shape [] is one value", pack([entry("a", "F64", [], 0, 8)], ramp(8))),
    ("good-zero-size", "", True, "tensors of no bytes before, between and behind others; two share a place",
     pack([entry("z0", "F32", [0], 0, 0), entry("a", "U8", [3], 0, 3), entry("z2", "F32", [4, 0], 3, 3),
           entry("z1", "BF16", [0, 9007199254740991], 3, 3), entry("b", "U8", [2], 3, 5), entry("z3", "I8", [0], 5, 5)], ramp(5))),
    ("good-metadata", "", True, "`__metadata__` maps strings to strings", pack(['"__metadata__":{"format":"pt","":""}', ONE], ramp(4))),
    ("good-metadata-empty", "", True, "an empty `__metadata__`, last", pack([ONE, '"__metadata__":{}'], ramp(4))),
    ("good-every-dtype", "", True, "each element type that the format has, [2,2]; F4 and F6 fill whole bytes together", every_dtype()),
    ("good-f4-odd-rows", "", True, "F4 [2,3] and F6_E3M2 [4,1]: rows end inside bytes, the tensors do not",
     pack([entry("a", "F4", [2, 3], 0, 3), entry("b", "F6_E3M2", [4, 1], 3, 6)], ramp(6))),
    ("good-unaligned", "", True, "an F64 behind one byte", pack([entry("a", "U8", [1], 0, 1), entry("b", "F64", [1], 1, 9)], ramp(9))),
    ("good-unicode-name", "", True, "a name outside ASCII", pack([entry("слой.0.вес", "U8", [1], 0, 1)], b"\x01")),
    ("good-escaped-name", "", True, "a name spelled with escapes is the name \"a/b\"", pack([raw("\\u0061\\/b")], ramp(4))),
    ("good-eight-dims", "", True, "the largest rank that is supported", pack([entry("a", "U8", [1, 2, 1, 2, 1, 2, 1, 1], 0, 8)], ramp(8))),

    ("bad-empty-file", "too few", False, "no byte at all", b""),
    ("bad-seven-bytes", "too few", False, "the length word is cut", b"\x02\0\0\0\0\0\0"),
    ("bad-no-header", "begin with '{'", False, "header length 0", pack(b"")),
    ("bad-header-past-file", "ends past the file", False, "header length 100 in a file of 10 bytes", pack("{}", length=100)),
    ("bad-header-one-past-file", "ends past the file", False, "header length 3, two bytes follow", pack("{}", length=3)),
    ("bad-header-over-cap", "100000000", False, "header length 100,000,001", pack("{}", length=100000001)),
    ("bad-header-length-max", "100000000", False, "header length 2^64 - 1: 8 + N wraps to 7", pack("{}", length=2**64 - 1)),
    ("bad-header-cut", "not valid JSON", False, "the length word is one too small: the object is not closed",
     pack("{" + ONE + "}", ramp(4), len(ONE) + 1)),
    ("bad-not-an-object", "begin with '{'", False, "the header is a list", pack("[]")),
    ("bad-leading-space", "begin with '{'", True, "the format wants '{' as the first byte", pack(" {}")),
    ("bad-text-behind-json", "text behind", False, "`{}{}`", pack("{}{}")),
    ("bad-nul-padding", "text behind", False, "the header is padded with NUL, not with spaces", pack(b"{}\0\0\0\0\0\0")),
    ("bad-utf8", "bad UTF-8", False, "0xff inside a name", pack(b'{"\xff' + ONE[2:].encode() + b"}", ramp(4))),
    ("bad-byte-order-mark", "begin with '{'", False, "EF BB BF before the object", pack(b"\xef\xbb\xbf{" + ONE.encode() + b"}", ramp(4))),
    ("bad-lone-surrogate", "surrogate", False, "`\\ud800` without its other half", pack([raw("\\ud800")], ramp(4))),
    ("bad-deep-nesting", "nested too deeply", False, "a shape of 1,000 nested lists", pack([raw("a", shape=" [ " * 1000 + "]" * 1000)], ramp(4))),
    ("bad-dense-json", "no table of tensors", False, "a shape of 2,000 dimensions: a JSON tree many times the size of its text",
     pack([raw("a", "\"U8\"", "[" + ",".join(["1"] * 2000) + "]", "[0,1]")], b"\0" * 2)),

    ("bad-truncated", "truncated", False, "data_offsets end at 8, the file has 7 bytes of data", pack(TWO, ramp(7))),
    ("bad-truncated-all", "truncated", False, "the file ends with the header", pack(TWO)),
    ("bad-trailing-bytes", "last 1 bytes", False, "one byte behind the last tensor", pack(TWO, ramp(9))),
    ("bad-trailing-bytes-no-tensor", "last 4 bytes", False, "data, but no tensor", pack("{}", ramp(4))),
    ("bad-hole", "a hole of 1 bytes", False, "byte 4 belongs to no tensor", pack([ONE, entry("b", "F32", [1], 5, 9)], ramp(9))),
    ("bad-hole-at-start", "a hole of 4 bytes", False, "the first tensor begins at 4", pack([entry("a", "F32", [1], 4, 8)], ramp(8))),
    ("bad-overlap", "overlaps", False, "byte 3 belongs to two tensors", pack([ONE, entry("b", "F32", [1], 3, 7)], ramp(7))),
    ("bad-overlap-same-range", "overlaps", False, "two tensors share all their bytes", pack([ONE, entry("b", "F32", [1], 0, 4)], ramp(4))),
    ("bad-zero-size-inside", "overlaps", False, "a tensor of no bytes in the middle of another", pack([ONE, entry("z", "U8", [0], 2, 2)], ramp(4))),
    ("bad-zero-size-past-end", "ends at byte 8", False, "a tensor of no bytes behind the end of the file", pack([ONE, entry("z", "U8", [0], 8, 8)], ramp(4))),
    ("bad-backwards", "backwards", False, "data_offsets [4,0]", pack([raw("a", offsets="[4,0]")], ramp(4))),

    ("bad-size-too-small", "need 4 bytes", False, "F32 [1] with two bytes", pack([entry("a", "F32", [1], 0, 2)], ramp(2))),
    ("bad-size-too-large", "need 4 bytes", False, "F32 [1] with five bytes", pack([entry("a", "F32", [1], 0, 5)], ramp(5))),
    ("bad-f4-half-byte", "not whole", False, "three F4 values are a byte and a half", pack([entry("a", "F4", [3], 0, 2)], ramp(2))),
    ("bad-f6-part-byte", "not whole", False, "five F6 values are three bytes and three quarters", pack([entry("a", "F6_E2M3", [5], 0, 4)], ramp(4))),
    ("bad-shape-overflow", "overflows", False, "2^33 x 2^33 elements wrap to 4, which is what data_offsets say",
     pack([entry("a", "U8", [2**33, 2**33 + 0], 0, 4)], ramp(4))),
    ("bad-shape-overflow-behind-zero", "overflows", True, "[0, 2^40, 2^40]: no bytes in this order, an overflow in any other",
     pack([entry("a", "U8", [0, 2**40, 2**40], 0, 0)])),
    ("bad-shape-overflow-before-zero", "overflows", False, "[2^40, 2^40, 0]", pack([entry("a", "U8", [2**40, 2**40, 0], 0, 0)])),
    ("bad-byte-overflow", "overflow", False, "2^62 elements of 8 bytes wrap to 0 bytes", pack([entry("a", "F64", [2**52, 2**10], 0, 0)])),
    ("bad-shape-negative", "not a list of non-negative", False, "[-1,-4]", pack([raw("a", shape="[-1,-4]")], ramp(4))),
    ("bad-shape-float", "an integer is expected", False, "[1.0]", pack([raw("a", shape="[1.0]")], ramp(4))),
    ("bad-shape-exponent", "an integer is expected", False, "[1e0]", pack([raw("a", shape="[1e0]")], ramp(4))),
    ("bad-shape-leading-zero", "not valid JSON", False, "[01]", pack([raw("a", shape="[01]")], ramp(4))),
    ("bad-shape-huge-number", "not a list of non-negative", False, "[2^64]: one more than 64 bits hold", pack([raw("a", shape="[18446744073709551616]")], ramp(4))),
    ("bad-shape-not-exact", "not a list of non-negative", True, "[0, 2^53]: no double holds the numbers from there on, so none is read", pack([raw("a", shape="[0,9007199254740992]", offsets="[0,0]")])),
    ("bad-shape-true", "not a list of non-negative", False, "[true]", pack([raw("a", shape="[true]")], ramp(4))),
    ("bad-shape-minus-zero", "not a list of non-negative", False, "[-0]", pack([raw("a", shape="[-0]", offsets="[0,0]")])),
    ("bad-offsets-not-exact", "not a pair", False, "data_offsets end at 2^53 + 1, which a double rounds", pack([raw("a", offsets="[0,9007199254740993]")], ramp(4))),
    ("bad-shape-string", "not a list of non-negative", False, "[\"1\"]", pack([raw("a", shape='["1"]')], ramp(4))),
    ("bad-shape-number", "not a list of non-negative", False, "1 in place of [1]", pack([raw("a", shape="1")], ramp(4))),
    ("bad-shape-null", "not a list of non-negative", False, "null in place of a list", pack([raw("a", shape="null")], ramp(4))),
    ("bad-no-shape", "no shape", False, "the field is missing", pack(['"a":{"dtype":"F32","data_offsets":[0,4]}'], ramp(4))),
    ("bad-no-dtype", "no dtype", False, "the field is missing", pack(['"a":{"shape":[1],"data_offsets":[0,4]}'], ramp(4))),
    ("bad-no-offsets", "no data_offsets", False, "the field is missing", pack(['"a":{"dtype":"F32","shape":[1]}'], ramp(4))),
    ("bad-dtype-number", "dtype is not a string", False, "dtype 32", pack([raw("a", dtype="32")], ramp(4))),
    ("bad-offsets-one", "not a pair", False, "data_offsets [4]", pack([raw("a", offsets="[4]")], ramp(4))),
    ("bad-offsets-three", "not a pair", False, "data_offsets [0,4,4]", pack([raw("a", offsets="[0,4,4]")], ramp(4))),
    ("bad-offsets-negative", "not a pair", False, "data_offsets [-4,0]", pack([raw("a", offsets="[-4,0]")], ramp(4))),
    ("bad-offsets-float", "an integer is expected", False, "data_offsets [0,4.0]", pack([raw("a", offsets="[0,4.0]")], ramp(4))),
    ("bad-entry-list", "not an object", True, "an entry that is a list of its fields", pack(['"a":["F32",[1],[0,4]]'], ramp(4))),
    ("bad-entry-null", "not an object", False, "an entry that is null", pack([ONE, '"b":null'], ramp(4))),

    ("bad-duplicate-name", "twice", True, "the name stands twice, with the same entry", pack([ONE, ONE], ramp(4))),
    ("bad-duplicate-name-escaped", "twice", True, "\"a\" and \"\\u0061\" are one name", pack([ONE, raw("\\u0061")], ramp(4))),
    ("bad-duplicate-field", "twice", False, "an entry with two shapes", pack(['"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}'], ramp(4))),
    ("bad-nul-in-name", "NUL", True, "`\\u0000` in a name: C strings end there", pack([raw("a\\u0000b")], ramp(4))),
    ("bad-nul-in-dtype", "NUL", False, "the type F32`\\u0000`: F32 to whom stops at the NUL", pack([raw("a", dtype='"F32\\u0000"')], ramp(4))),
    ("bad-nul-in-field", "NUL", True, "a field shape`\\u0000` besides", pack(['"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"shape\\u0000":[2]}'], ramp(4))),
    ("bad-nul-in-metadata", "NUL", True, "`\\u0000` in a value of `__metadata__`", pack(['"__metadata__":{"n":"p\\u0000t"}', ONE], ramp(4))),
    ("bad-raw-nul-in-name", "not valid JSON", False, "the byte 0 in a name", pack([raw("a\0b")], ramp(4))),
    ("bad-newline-in-name", "control character", True, "`\\n` in a name", pack([raw("a\\nb")], ramp(4))),
    ("bad-escape-in-name", "control character", True, "a terminal escape in a name", pack([raw("\\u001b[2J")], ramp(4))),
    ("bad-c1-in-name", "control character", True, "U+009B, the one-character form of ESC [, as raw UTF-8", pack([raw("a\u009b2J")], ramp(4))),
    ("bad-empty-name", "is empty", True, "a tensor without a name", pack([raw("")], ramp(4))),
    ("bad-metadata-number", "'n' is not a string", False, "a metadata value that is a number", pack(['"__metadata__":{"n":1}', ONE], ramp(4))),
    ("bad-metadata-nested", "'n' is not a string", False, "a metadata value that is an object", pack(['"__metadata__":{"n":{}}', ONE], ramp(4))),
    ("bad-metadata-list", "__metadata__ is not an object", False, "`__metadata__` is a list", pack(['"__metadata__":["pt"]', ONE], ramp(4))),
    ("bad-metadata-null", "__metadata__ is not an object", True, "`__metadata__` is null", pack(['"__metadata__":null', ONE], ramp(4))),
    ("bad-metadata-twice", "twice", False, "`__metadata__` stands twice", pack(['"__metadata__":{}', ONE, '"__metadata__":{}'], ramp(4))),
    ("bad-metadata-duplicate-key", "twice", True, "a metadata key that stands twice", pack(['"__metadata__":{"n":"1","n":"2"}', ONE], ramp(4))),

    ("unsupported-dtype", "'a': dtype 'F128'", False, "an element type that no version of the format has", pack([entry("a", "F128", [1], 0, 16)], ramp(16))),
    ("unsupported-dtype-lower-case", "'a': dtype 'f32'", False, "type names are upper case", pack([entry("a", "f32", [1], 0, 4)], ramp(4))),
    ("unsupported-dtype-gguf", "'a': dtype 'Q8_0'", False, "a block encoding of GGUF", pack([entry("a", "Q8_0", [32], 0, 34)], ramp(34))),
    ("unsupported-nine-dims", "9 dimensions", True, "one dimension more than we hold", pack([entry("a", "U8", [1] * 9, 0, 1)], ramp(1))),
    ("unsupported-field", "unknown field 'strides'", True, "a field that may change what the bytes mean",
     pack(['"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}'], ramp(4))),
]

HEAD = """# Corpus: safetensors

Made by `make.py`, which holds the recipe of every byte; do not edit by hand. `good-*` must be read, `bad-*` refused as
broken, `unsupported-*` refused as sound but beyond this program. `expected.tsv` holds the words that the sentence must contain, so
that a file is refused for its own fault.

"Python" says whether the PyPI package `safetensors` 0.8.0 accepts the file (`make.py --python` checks it). Where it accepts what
we refuse, the reason is in the last column of the second table.

| file | bytes | Python | why |
|---|---|---|---|
"""

STRICTER = """
## Where we are stricter than the package, and why

| file | reason |
|---|---|
| `bad-leading-space` | the format says that the header begins with `{` |
| `bad-duplicate-name*` | the format forbids it; the package keeps the last one, and two readers that disagree see two models |
| `bad-nul-in-name`, `bad-empty-name`, control characters | a name goes into C strings, other files and terminals |
| `bad-shape-overflow-behind-zero` | whoever permutes, splits or multiplies the dimensions in another order would overflow |
| `bad-shape-not-exact` | JSON numbers pass through a double; from 2^53 on they are not exact. No file needs them: a tensor with data has fewer bytes |
| `bad-entry-list` | the format wants an object; the package's decoder takes a list of fields for one |
| `bad-metadata-null`, `bad-metadata-duplicate-key` | the format wants a map from strings to strings |
| `unsupported-nine-dims` | no model has them; a fixed rank keeps every table small |
| `unsupported-field` | what we do not know could change what the bytes mean |
"""


def files():
    out = {f"{name}.safetensors": content for name, _, _, _, content in CASES}
    assert len(out) == len(CASES)
    out["expected.tsv"] = "".join(f"{n}.safetensors\t{said}\n" for n, said, _, _, _ in CASES).encode()
    rows = "".join(f"| `{n}` | {len(c)} | {'yes' if python else 'no'} | {why.replace('|', chr(92) + '|')} |\n"
                   for n, _, python, why, c in CASES)
    out["README.md"] = (HEAD + rows + STRICTER).encode()
    return out


def accepts(content):
    import safetensors
    try:
        safetensors.deserialize(content)
        return True
    except Exception:
        return False


def main():
    if "--python" in sys.argv:
        wrong = [n for n, _, python, _, c in CASES if accepts(c) != python]
        print(f"{len(CASES)} files, wrong verdicts: {wrong or 'none'}")
        return 1 if wrong else 0
    wanted = files()
    if "--check" in sys.argv:
        differ = [n for n, c in wanted.items() if not os.path.exists(os.path.join(HERE, n)) or open(os.path.join(HERE, n), "rb").read() != c]
        differ += [n for n in os.listdir(HERE) if n not in wanted and n != "make.py"]
        print(f"{len(wanted)} files, different: {differ or 'none'}")
        return 1 if differ else 0
    for name, content in wanted.items():
        with open(os.path.join(HERE, name), "wb") as f:
            f.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
