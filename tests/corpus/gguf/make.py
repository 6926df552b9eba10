#!/usr/bin/env python3
"""Write every file of this folder: the good, bad and unsupported GGUF files, expected.tsv (what the
unit test compares) and README.md (why each file is what it is).

    make.py              writes
    make.py --check      writes nothing, fails when a file differs
    make.py --python     fails when a verdict in the table below is not that of the package's reader

Needs the PyPI package `gguf` (0.19.0), which writes the good-python-* files.
A case is (name, what the sentence must say, what the package does with it, why, bytes). The first
word of the name is the verdict. The package's "no" is an exception, "hang" more than five seconds.
"""
import multiprocessing
import os
import struct
import sys
import tempfile

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
HUGE = 1 << 62


def u32(x):
    return struct.pack("<I", x)


def u64(x):
    return struct.pack("<Q", x)


def string(s, length=None):
    s = s if isinstance(s, bytes) else s.encode()
    return u64(len(s) if length is None else length) + s


def kv(key, kind, value):
    return string(key) + u32(kind) + value


def array(elem, n, values=b""):
    return u32(elem) + u64(n) + values


def info(name, ne, kind=0, offset=0):
    return string(name) + u32(len(ne)) + b"".join(map(u64, ne)) + u32(kind) + u64(offset)


def pad(b, unit=32):
    return b + bytes(-len(b) % unit)


def ramp(n):
    return bytes(i % 251 for i in range(n))


def file(kvs=(), infos=(), data=b"", version=3, n_tensors=None, n_kv=None, unit=32, magic=b"GGUF"):
    head = magic + u32(version)
    head += u64(len(infos) if n_tensors is None else n_tensors) + u64(len(kvs) if n_kv is None else n_kv)
    return pad(head + b"".join(kvs) + b"".join(infos), unit) + data


def python(fill, align=None):
    """The bytes of a file that the package writes."""
    with tempfile.TemporaryDirectory() as folder:
        w = gguf.GGUFWriter(folder + "/x", "llama")
        if align:
            w.add_custom_alignment(align)
        fill(w)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        with open(folder + "/x", "rb") as f:
            return f.read()


def every_value(w):
    w.add_uint8("t.u8", 255)
    w.add_int8("t.i8", -128)
    w.add_uint16("t.u16", 65535)
    w.add_int16("t.i16", -32768)
    w.add_uint32("t.u32", 4294967295)
    w.add_int32("t.i32", -2147483648)
    w.add_uint64("t.u64", 18446744073709551615)
    w.add_int64("t.i64", -9223372036854775808)
    w.add_float32("t.f32", 1e-6)
    w.add_float64("t.f64", 0.1)
    w.add_bool("t.true", True)
    w.add_key_value("t.false", False, gguf.GGUFValueType.BOOL)
    w.add_string("t.string", "smörgås\0bord")
    w.add_key_value("t.empty", "", gguf.GGUFValueType.STRING)
    w.add_array("t.strings", ["a", "", "ccc"])
    w.add_array("t.i32s", [1, -2, 3])
    w.add_array("t.f32s", [0.5, -0.25])
    w.add_array("t.bools", [True, False])
    w.add_key_value("t.u32s", [7, 4294967295], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT32)
    w.add_key_value("t.u64s", [1 << 63], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT64)


def every_type(w):
    values = np.arange(-32, 32, dtype=np.float32).reshape(2, 32)
    w.add_tensor("t.f32", values)
    w.add_tensor("t.f16", values.astype(np.float16))
    for kind in (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
        w.add_tensor("t." + kind.name.lower(), gguf.quants.quantize(values, kind), raw_dtype=kind)
    for kind in (np.int8, np.int16, np.int32, np.int64, np.float64):
        w.add_tensor("t." + kind.__name__, values.astype(kind))


ENCODINGS = {  # type number: bytes of 256 values
    0: 1024, 1: 512, 2: 144, 3: 160, 6: 176, 7: 192, 8: 272, 9: 288, 10: 84, 11: 110, 12: 144, 13: 176, 14: 210, 15: 292, 16: 66, 17: 74,
    18: 98, 19: 50, 20: 144, 21: 110, 22: 82, 23: 136, 24: 256, 25: 512, 26: 1024, 27: 2048, 28: 2048, 29: 56, 30: 512, 34: 54, 35: 66,
    39: 136, 40: 144, 41: 36, 42: 72,
}


def every_encoding():
    infos, data = [], b""
    for number, size in ENCODINGS.items():
        infos.append(info(f"t{number}", [256], number, len(data)))
        data += pad(bytes(size))
    return file([A], infos, data)


def shapes(w):
    for ndim in (1, 2, 3, 4):
        shape = (5, 4, 3, 2)[4 - ndim :]
        w.add_tensor(f"t{ndim}", np.arange(np.prod(shape), dtype=np.float32).reshape(shape))


def tokens(w):
    w.add_tokenizer_model("gpt2")
    w.add_token_list([f"<{i}>" for i in range(300)])
    w.add_token_types([1] * 300)
    w.add_token_scores([i / 4 for i in range(300)])


A = kv("general.architecture", STRING, string("llama"))
ONE = [info("a", [8])]
D = ramp(32)
TWO = [info("a", [5]), info("b", [8], 0, 32)]
D2 = pad(ramp(20)) + D
GOOD = file([A], ONE, D)


def at(b, offset, new):
    return b[:offset] + new + b[offset + len(new) :]


CASES = [
    ("good-python-minimal", "", "yes", "one F32 tensor", python(lambda w: w.add_tensor("a", np.ones(8, np.float32)))),
    ("good-python-every-value", "", "yes", "metadata of every type, arrays among them; a string with a NUL", python(every_value)),
    ("good-python-every-type", "", "yes", "a tensor [2,32] of each type that both know", python(every_type)),
    ("good-python-shapes", "", "yes", "1 to 4 dimensions: [2], [3,2], [4,3,2], [5,4,3,2]", python(shapes)),
    ("good-python-tokens", "", "yes", "a vocabulary and no tensor", python(tokens)),
    ("good-python-align-64", "", "yes", "general.alignment 64", python(shapes, 64)),
    ("good-python-align-8", "", "yes", "the smallest alignment", python(shapes, 8)),
    ("good-every-encoding", "", "no", "a tensor [256] of each type number of GGML, its bytes as ggml-common.h has them; the package does not know number 42", every_encoding()),
    ("good-smallest", "", "yes", "no metadata, no tensor, no padding: 24 bytes", file()[:24]),
    ("good-version-2", "", "yes", "version 2 has the layout of version 3", file([A], ONE, D, version=2)),
    ("good-two-tensors", "", "yes", "20 bytes, 12 of padding, 32 bytes", file([A], TWO, D2)),
    ("good-no-final-padding", "", "yes", "the last tensor's padding is missing", file([A], [info("a", [5])], ramp(20))),
    ("good-half-final-padding", "", "yes", "part of the last tensor's padding is missing", file([A], [info("a", [5])], ramp(20) + bytes(5))),
    ("good-longest-name", "", "yes", "a tensor name of 63 bytes", file([A], [info("n" * 63, [8])], D)),
    ("good-empty-array", "", "yes", "arrays of no strings and of no numbers", file([A, kv("a", ARRAY, array(STRING, 0)), kv("b", ARRAY, array(F64, 0))])),
    ("good-one-shard", "", "yes", "split.count 1 is a whole file", file([A, kv("split.count", U16, b"\1\0")], ONE, D)),
    ("bad-empty-file", "ends inside", "no", "no byte at all", b""),
    ("bad-three-bytes", "ends inside", "no", "the magic is cut", b"GGU"),
    ("bad-magic", "not a GGUF file", "no", "GGML", at(GOOD, 0, b"GGML")),
    ("bad-no-counts", "ends inside", "no", "the file ends behind the version", GOOD[:8]),
    ("bad-count-cut", "ends inside", "no", "the number of pairs is cut", GOOD[:20]),
    ("bad-kv-count-max", "cannot fit", "no", "2^64 - 1 pairs", file([A], ONE, D, n_kv=(1 << 64) - 1)),
    ("bad-kv-count-large", "cannot fit", "no", "a thousand pairs in 128 bytes", file([A], ONE, D, n_kv=1000)),
    ("bad-kv-count-one-more", "an empty key", "yes", "the second pair is the padding of the header", file([A], n_kv=2)),
    ("bad-tensor-count-max", "cannot fit", "no", "2^64 - 1 tensors", file([A], ONE, D, n_tensors=(1 << 64) - 1)),
    ("bad-tensor-count-large", "cannot fit", "no", "a hundred tensors in 128 bytes", file([A], ONE, D, n_tensors=100)),
    ("bad-tensor-count-one-more", "an empty tensor name", "yes", "the second tensor is the padding and the data", file([A], ONE, D, n_tensors=2)),
    ("bad-key-length", "ends inside a metadata key", "no", "a key of 2^62 bytes", file([string("k", HUGE) + u32(U8) + b"\1"])),
    ("bad-key-length-wraps", "ends inside a metadata key", "no", "a key of 2^64 - 1 bytes: position + length wraps", file([string("k", (1 << 64) - 1) + u32(U8) + b"\1"])),
    ("bad-key-empty", "an empty key", "yes", "a key of no bytes", file([A, kv("", U8, b"\1")], ONE, D)),
    ("bad-key-nul", "control character", "yes", "a NUL in a key: C programs would see another key", file([A, kv("a\0b", U8, b"\1")], ONE, D)),
    ("bad-key-newline", "control character", "yes", "a newline in a key", file([A, kv("a\nb", U8, b"\1")], ONE, D)),
    ("bad-key-long", "65536 bytes", "yes", "a key of 65,536 bytes", file([A, kv("k" * 65536, U8, b"\1")], ONE, D)),
    ("bad-key-twice", "is there twice", "no", "one key with two values", file([A, A], ONE, D)),
    ("bad-value-type", "no value type 13", "no", "a value of type 13", file([A, kv("k", 13, b"\1" * 8)], ONE, D)),
    ("bad-value-type-max", "no value type", "no", "a value of type 2^32 - 1", file([A, kv("k", 0xFFFFFFFF, b"\1" * 8)], ONE, D)),
    ("bad-element-type", "no value type 200", "yes", "an array of type 200, of no elements", file([A, kv("k", ARRAY, array(200, 0))], ONE, D)),
    ("bad-value-cut", "cannot fit", "no", "a u64 of which four bytes are there", file([kv("k", U64, b"")])[:40]),
    ("bad-string-length", "ends inside key 'k'", "yes", "a string of 2^62 bytes", file([kv("k", STRING, string("v", HUGE))])),
    ("bad-string-length-one-more", "ends inside key 'k'", "yes", "a string one byte longer than the file", file([kv("k", STRING, string("v" * 7, 8))])[:52]),
    ("bad-array-length", "cannot fit", "no", "2^62 numbers of four bytes: the size wraps to 0", file([kv("k", ARRAY, array(U32, HUGE, b"\1" * 8))])),
    ("bad-array-length-max", "cannot fit", "hang", "2^64 - 1 bytes", file([kv("k", ARRAY, array(U8, (1 << 64) - 1, b"\1" * 8))])),
    ("bad-array-strings", "cannot fit", "no", "2^40 strings in a file of 64 bytes", file([kv("k", ARRAY, array(STRING, 1 << 40))])),
    ("bad-array-string-length", "ends inside key 'k'", "yes", "the second of two strings is longer than the file", file([kv("k", ARRAY, array(STRING, 2, string("a") + string("b", 1 << 30)))])),
    ("bad-bool", "a bool of value 2", "yes", "a bool that is neither 0 nor 1", file([A, kv("k", BOOL, b"\2")], ONE, D)),
    ("bad-bool-in-array", "a bool of value 255", "yes", "the same in an array", file([A, kv("k", ARRAY, array(BOOL, 2, b"\1\xff"))], ONE, D)),
    ("bad-alignment-zero", "an alignment of 0", "no", "general.alignment 0", file([A, kv("general.alignment", U32, u32(0))], ONE, D)),
    ("bad-alignment-odd", "an alignment of 33", "no", "general.alignment 33", file([A, kv("general.alignment", U32, u32(33))], ONE, D, unit=33)),
    ("bad-alignment-four", "an alignment of 4", "yes", "general.alignment 4: llama.cpp wants a multiple of 8", file([A, kv("general.alignment", U32, u32(4))], ONE, D, unit=4)),
    ("bad-alignment-large", "an alignment of 2147483648", "no", "general.alignment 2^31", file([A, kv("general.alignment", U32, u32(1 << 31))], ONE, D)),
    ("bad-alignment-type", "has type u64, not u32", "no", "general.alignment as a u64", file([A, kv("general.alignment", U64, u64(32))], ONE, D)),
    ("bad-alignment-array", "has type array, not u32", "no", "general.alignment as an array", file([A, kv("general.alignment", ARRAY, array(U32, 1, u32(32)))], ONE, D)),
    ("bad-name-length", "ends inside a tensor name", "no", "a tensor name of 2^62 bytes", file([A], [string("a", HUGE) + info("", [8])[8:]], D)),
    ("bad-name-empty", "an empty tensor name", "yes", "a tensor without a name", file([A], [info("", [8])], D)),
    ("bad-name-long", "a tensor name of 64 bytes", "yes", "llama.cpp has room for 63", file([A], [info("n" * 64, [8])], D)),
    ("bad-name-nul", "control character", "yes", "a NUL in a name: two different names would look equal", file([A], [info("a\0b", [8])], D)),
    ("bad-name-escape", "control character", "yes", "an escape sequence for somebody's terminal", file([A], [info("a\x1b[2Jb", [8])], D)),
    ("bad-name-delete", "control character", "yes", "0x7f", file([A], [info("a\x7f", [8])], D)),
    ("bad-name-twice", "is there twice", "no", "two tensors of one name", file([A], [info("a", [8]), info("a", [8], 0, 32)], D + D)),
    ("bad-no-dims", "0 dimensions", "yes", "a scalar: GGUF has none", file([A], [info("a", [])], D)),
    ("bad-five-dims", "5 dimensions", "yes", "ggml has four dimensions", file([A], [info("a", [8, 1, 1, 1, 1])], D)),
    ("bad-dims-max", "4294967295 dimensions", "no", "2^32 - 1 dimensions", file([A], [string("a") + u32(0xFFFFFFFF) + info("a", [8])[13:]], D)),
    ("bad-zero-dim", "a dimension of 0", "yes", "a tensor [0]", file([A], [info("a", [0])])),
    ("bad-zero-dim-hides", "a dimension of 0", "no", "[2^62, 2^62, 0]: no bytes in some orders, an overflow in others", file([A], [info("a", [0, HUGE, HUGE])])),
    ("bad-shape-overflow", "overflows", "no", "2^33 x 2^33 values wrap to 4", file([A], [info("a", [1 << 33, 1 << 33])], D)),
    ("bad-byte-overflow", "overflows", "no", "2^62 values of four bytes wrap to 0", file([A], [info("a", [HUGE])], D)),
    ("bad-block-bytes-overflow", "overflows", "no", "2^63 Q8_0 values in whole blocks: 34/32 bytes each do not fit", file([A], [info("a", [1 << 63, 2], 8)], D)),
    ("bad-padding-overflow", "past the end of the file", "no", "2^64 - 1 bytes, which padding rounds up to 0", file([A], [info("a", [(1 << 64) - 1], 24), info("b", [8], 0, 0)], D)),
    ("bad-row-not-blocks", "do not divide into Q8_0 blocks", "no", "[2,48]: rows of a block and a half, 96 values in all", file([A], [info("a", [48, 2], 8)], ramp(102))),
    ("bad-offset-gap", "lies at byte 64", "yes", "32 bytes belong to nobody", file([A], [info("a", [8]), info("b", [8], 0, 64)], D * 3)),
    ("bad-offset-start", "lies at byte 32", "yes", "the first tensor does not start the data", file([A], [info("a", [8], 0, 32)], D * 2)),
    ("bad-offset-order", "lies at byte 32", "yes", "the first tensor lies behind the second", file([A], [info("a", [8], 0, 32), info("b", [8], 0, 0)], D * 2)),
    ("bad-offset-same", "lies at byte 0", "yes", "two tensors share their bytes", file([A], [info("a", [8]), info("b", [8], 0, 0)], D)),
    ("bad-offset-overlap", "lies at byte 32", "yes", "the second tensor begins inside the first", file([A], [info("a", [16]), info("b", [8], 0, 32)], D * 2)),
    ("bad-offset-unaligned", "lies at byte 20", "yes", "the second tensor follows without padding", file([A], [info("a", [5]), info("b", [8], 0, 20)], ramp(64))),
    ("bad-offset-max", "lies at byte 18446744073709551600", "yes", "an offset that wraps to before the data", file([A], [info("a", [8], 0, (1 << 64) - 16)], D)),
    ("bad-truncated", "past the end of the file", "no", "the last byte of the only tensor is missing", file([A], ONE, D[:-1])),
    ("bad-truncated-second", "tensor 'b'", "no", "the second tensor is cut", file([A], TWO, D2[:-8])),
    ("bad-truncated-all", "past the end of the file", "no", "the file ends with the header", file([A], ONE)),
    ("bad-truncated-header-padding", "past the end of the file", "no", "the file ends before the data would start", file([A], ONE)[:-3]),
    ("bad-trailing-byte", "belong to none", "yes", "one byte behind the padded last tensor", file([A], [info("a", [5])], ramp(33))),
    ("bad-trailing-tensor", "belong to none", "yes", "room for a tensor that is not declared", file([A], ONE, D * 2)),
    ("bad-trailing-no-tensor", "belong to none", "yes", "data, but no tensor", file([A], [], D)),
    ("bad-split-type", "has type u32, not u16", "yes", "split.count as a u32", file([A, kv("split.count", U32, u32(1))], ONE, D)),
    ("unsupported-version-1", "version 1", "no", "counts and lengths were 32 bits", file([A], ONE, D, version=1)),
    ("unsupported-version-4", "version 4", "no", "a version yet to come", file([A], ONE, D, version=4)),
    ("unsupported-version-0", "version 0", "no", "no version", file([A], ONE, D, version=0)),
    ("unsupported-big-endian", "big-endian", "yes", "version 3, counts and all in the other byte order", b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(8)),
    ("unsupported-type-new", "type number 43", "no", "the first number that GGML has not given", file([A], [info("a", [256], 43)], pad(ramp(50)))),
    ("unsupported-type-removed", "type number 4", "no", "Q4_2, a type that GGUF had once", file([A], [info("a", [32], 4)], D)),
    ("unsupported-type-max", "type number 4294967295", "no", "type 2^32 - 1", file([A], [info("a", [32], 0xFFFFFFFF)], D)),
    ("unsupported-nested-array", "an array of arrays", "yes", "an array of one array", file([A, kv("k", ARRAY, array(ARRAY, 1, array(U8, 1, b"\1")))], ONE, D)),
    ("unsupported-nested-array-deep", "an array of arrays", "no", "5,000 arrays in each other: a recursive reader's stack", file([A, kv("k", ARRAY, array(ARRAY, 1) * 5000)], ONE, D)),
    ("bad-shard-name", "not called so", "yes", "the first of three parts, under another name", file([A, kv("split.no", U16, b"\0\0"), kv("split.count", U16, b"\3\0")], ONE, D)),
    ("unsupported-key-utf8", "not ASCII", "yes", "keys are ASCII, says the specification", file([A, kv("ключ", U8, b"\1")], ONE, D)),
    ("unsupported-name-utf8", "not ASCII", "yes", "legal, but no writer makes such names", file([A], [info("имя", [8])], D)),
]

README = """# Corpus: GGUF

Made by `make.py`, which holds the recipe of every byte; do not edit by hand. `good-*` must be read, `bad-*` refused as
broken, `unsupported-*` refused as sound but beyond this program. `expected.tsv` holds the words that the sentence must contain,
so that a file is refused for its own fault.

"Python" says what the reader of the PyPI package `gguf` 0.19.0 does with the file: "yes" reads it, "no" raises an exception,
"hang" did not come to an end in five seconds (`make.py --python` checks it). `good-python-*` were written by that package.

| file | bytes | Python | why |
|---|---|---|---|
"""


def read_with_python(path, answer):
    try:
        reader = gguf.GGUFReader(path)
        [t.data.tobytes() for t in reader.tensors]
        answer.value = 1
    except Exception:
        answer.value = 0


def verdict_of_python(path):
    answer = multiprocessing.Value("i", 2)
    child = multiprocessing.Process(target=read_with_python, args=(path, answer))
    child.start()
    child.join(5)
    if child.is_alive():
        child.kill()
        child.join()
    return ("no", "yes", "hang")[answer.value]


def outputs():
    files = {name + ".gguf": data for name, _, _, _, data in CASES}
    files["expected.tsv"] = "".join(f"{n}.gguf\t{said}\n" for n, said, _, _, _ in CASES).encode()
    rows = (f"| `{n}` | {len(data)} | {py} | {why} |\n" for n, _, py, why, data in CASES)
    files["README.md"] = (README + "".join(rows)).encode()
    return files


def main():
    os.chdir(HERE)
    if sys.argv[1:] == ["--python"]:
        wrong = [(n, v) for n, _, py, _, _ in CASES if (v := verdict_of_python(n + ".gguf")) != py]
        sys.exit("\n".join(f"{n}: the package says {v}" for n, v in wrong))
    for name, data in outputs().items():
        if sys.argv[1:] == ["--check"]:
            with open(name, "rb") as f:
                if f.read() != data:
                    sys.exit(f"{name} differs")
        else:
            with open(name, "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
