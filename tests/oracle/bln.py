#!/usr/bin/env python3
"""A second reader and writer of .bln files, written from docs/format-bln.md alone: it proves that the document is enough.

    bln.py list X.bln              what the file holds
    bln.py check X.bln             every rule of the document and every checksum
    bln.py restore X.bln DIR       the source directory
    bln.py compare X.bln DIR       restore in memory and compare with the files of DIR

pip install xxhash zstandard
"""
import os
import struct
import sys
import zlib

import xxhash

ANCHOR = struct.Struct("<8sHHIQQQQQQQQHHIII16s")  # superblock and trailer, bytes 0 to 111
SECTION = struct.Struct("<IIQQ")
ENTRY = struct.Struct("<IIBBHIIIQ16sI12x8Q")
CHUNK = struct.Struct("<QIIHHIQ")
MAGIC = {"superblock": b"\x89BLN\r\n\x1a\n", "trailer": b"\x89bln\r\n\x1a\n"}
ANCHOR_FIELDS = ("magic major minor state compat ro_compat incompat file_bytes index_offset index_stored index_decoded index_hash "
                 "index_codec reserved1 part n_parts reserved2 id").split()
ENTRY_FIELDS = "name_offset name_bytes kind ndim dtype shard first_chunk n_chunks n_bytes hash same_as".split()
CHUNK_FIELDS = "offset stored decoded codec part reserved hash".split()
TENSOR, HEADER, SIDE = 0, 1, 2
DTYPES = {1: ("BOOL", 8), 2: ("U8", 8), 3: ("I8", 8), 4: ("U16", 16), 5: ("I16", 16), 6: ("U32", 32), 7: ("I32", 32), 8: ("U64", 64),
          9: ("I64", 64), 10: ("F4", 4), 11: ("F6_E2M3", 6), 12: ("F6_E3M2", 6), 13: ("F8_E4M3", 8), 14: ("F8_E5M2", 8),
          15: ("F8_E8M0", 8), 16: ("F8_E4M3FNUZ", 8), 17: ("F8_E5M2FNUZ", 8), 18: ("F16", 16), 19: ("BF16", 16), 20: ("F32", 32),
          21: ("F64", 64), 22: ("C64", 64)}
NUMBER = {name: number for number, (name, _) in DTYPES.items()}


class Bad(Exception):
    pass


class Unsupported(Exception):
    pass


def need(condition, sentence):
    if not condition:
        raise Bad(sentence)


def round_up(x, a):
    return (x + a - 1) // a * a


def h64(b):
    return xxhash.xxh3_64_intdigest(b)


def h128(b):
    d = xxhash.xxh3_128_intdigest(b)
    return struct.pack("<QQ", d & (1 << 64) - 1, d >> 64)


# ---- reading

def read_anchor(b, place):
    need(len(b) == 4096 and b[:8] == MAGIC[place], f"no {place}")
    need(struct.unpack("<Q", b[4088:])[0] == h64(b[:4088]), f"the {place} is damaged")
    return dict(zip(ANCHOR_FIELDS, ANCHOR.unpack(b[:ANCHOR.size])))


def unzstd(stored, decoded):
    import zstandard
    need(stored[:4] == b"\x28\xb5\x2f\xfd", "not a zstd frame")
    d = zstandard.ZstdDecompressor().decompressobj()
    try:
        out = d.decompress(stored)
    except zstandard.ZstdError as e:
        raise Bad(f"damaged: {e}")
    need(d.eof and not d.unused_data and len(out) == decoded, "damaged: another size")
    return out


def decode(codec, stored, decoded):
    if codec == 0:
        return stored
    if codec == 1:
        return unzstd(stored, decoded)
    if codec == 5:
        d = zlib.decompressobj()
        try:
            out = d.decompress(stored)
        except zlib.error as e:
            raise Bad(f"damaged: {e}")
        need(d.eof and not d.unused_data and len(out) == decoded, "damaged: another size")
        return out
    if codec in (3, 4):
        half = decoded // 2
        rest, exponent = stored[:half], unzstd(stored[half:], half)
        if codec == 4:
            values = (((r & 0x80) << 8) | e << 7 | (r & 0x7F) for e, r in zip(exponent, rest))
            return b"".join(struct.pack("<H", v) for v in values)
        low = bytes((r & 8) << 4 | (e & 15) << 3 | (r & 7) for e, r in zip(exponent, rest))
        return low + bytes((r & 0x80) | (e >> 4) << 3 | (r >> 4 & 7) for e, r in zip(exponent, rest))
    return stored * (decoded // len(stored))


def name_is_good(name, kind):
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if not text or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        return False
    if kind == TENSOR:
        return len(name) <= 65535
    return len(name) <= 255 and "/" not in text and text not in (".", "..")


class Archive:
    def __init__(self, content, path=None):
        self.content, self.files_of_parts = content, [content]
        n = len(content)
        need(n >= 8192, "too short")
        a = self.anchor = read_anchor(content[:4096], "superblock")
        if a["major"] != 1 or a["incompat"] & ~1:
            raise Unsupported("version or feature")
        need(a["state"] == 1, "not complete")
        need(a["part"] == 0 and a["n_parts"] <= 1000 and (a["n_parts"] > 1) == (a["incompat"] & 1), "a part")
        need(a["file_bytes"] == n, "wrong size")
        need(a["index_offset"] % 64 == 0 and a["index_offset"] >= 4096 and a["index_stored"] > 0 and
             round_up(a["index_offset"] + a["index_stored"], 64) == n - 4096, "the index is not in its place")
        need(a["index_decoded"] <= 1 << 30 and a["index_decoded"] < 256 * (a["index_stored"] + 1), "the index is too large")
        read_anchor(content[-4096:], "trailer")
        need(content[8:4088] == content[n - 4088:n - 8], "superblock and trailer disagree")
        self.read_index(content[a["index_offset"]:][:a["index_stored"]])
        self.read_parts(path)
        self.check()

    def read_parts(self, path):
        a = self.anchor
        need((a["n_parts"] > 1) == (self.part_bytes is not None), "a section of parts")
        if a["n_parts"] == 1:
            return
        need(len(self.part_bytes) == 8 * (a["n_parts"] - 1) and a["index_offset"] == 4096, "parts")
        for k in range(1, a["n_parts"]):
            try:
                content = open(f"{path}.{k:03}", "rb").read()
            except OSError:
                raise Bad(f"part {k} is missing")
            p = read_anchor(content[:4096], "superblock")
            need(p["part"] == k and all(p[f] == a[f] for f in ("major", "minor", "state", "incompat", "n_parts", "id")), f"part {k} is another's")
            need(len(content) == p["file_bytes"] == struct.unpack_from("<Q", self.part_bytes, 8 * (k - 1))[0], f"size of part {k}")
            self.files_of_parts.append(content)

    def read_index(self, stored):
        a = self.anchor
        if a["index_codec"] > 1:
            raise Unsupported("codec of the index")
        need(a["index_codec"] == 1 or len(stored) == a["index_decoded"], "sizes of a raw index differ")
        index = decode(a["index_codec"], stored, a["index_decoded"])
        need(h64(index) == a["index_hash"] and h128(index) == a["id"], "the index is damaged")
        need(len(index) >= 16, "no index")
        n_sections, self.align, _ = struct.unpack("<IIQ", index[:16])
        need(self.align in [1 << k for k in range(6, 22)], "alignment")
        end, before, found = 16 + 24 * n_sections, 0, {}
        need(end <= len(index), "sections past the index")
        for i in range(n_sections):
            kind, record, n, offset = SECTION.unpack_from(index, 16 + 24 * i)
            need(kind > before and record >= 1 and n < 1 << 32 and offset == end and offset + record * n <= len(index), "section")
            need(record >= {1: 128, 2: 32}.get(kind, 1) and (kind not in (3, 4) or record == 1), "records too short")
            found[kind] = [index[offset + k * record:offset + (k + 1) * record] for k in range(n)] if kind < 3 else index[offset:offset + n * record]
            before, end = kind, round_up(offset + record * n, 8)
        need(end == len(index) and {1, 2, 3} <= set(found), "sections")
        self.entries, self.chunks, self.names, self.info = [], [], found[3], found.get(4, b"")
        self.part_bytes = found.get(5)
        at = 0
        while at < len(self.info):
            need(len(self.info) - at >= 8, "information")
            key, n = struct.unpack_from("<II", self.info, at)
            at += 8 + round_up(n, 8)
            need(at <= len(self.info), "information")
        for r in found[1]:
            v = ENTRY.unpack(r[:128])
            self.entries.append(dict(zip(ENTRY_FIELDS, v[:11]), dim=v[11:]))
        for r in found[2]:
            self.chunks.append(dict(zip(CHUNK_FIELDS, CHUNK.unpack(r[:32]))))

    def check(self):
        seen, next_name, next_chunk, end, shards, sides = set(), 0, 0, 4096, 0, []
        self.part, last = 0, self.anchor["n_parts"] - 1
        for i, e in enumerate(self.entries):
            if e["kind"] > 2:
                raise Unsupported("kind of entry")
            name = self.names[e["name_offset"]:e["name_offset"] + e["name_bytes"]]
            need(e["name_offset"] == next_name and self.names[next_name + e["name_bytes"]:][:1] == b"\0", "place of a name")
            next_name += e["name_bytes"] + 1
            need(name_is_good(name, e["kind"]) and (e["kind"] == TENSOR, name) not in seen, "name")
            seen.add((e["kind"] == TENSOR, name))
            e["name"] = name.decode()
            if e["kind"] == SIDE:
                need(not sides or sides[-1] < name, "order of side files")
                sides.append(name)
            else:
                shards += e["kind"] == HEADER
                need(not sides and shards and e["shard"] == shards - 1, "order")
            self.check_shape(e)
            if e["same_as"]:
                need(e["same_as"] <= i, "copy of a later one")
                first = self.entries[e["same_as"] - 1]
                need(e["kind"] == first["kind"] == TENSOR and first["same_as"] == 0 and
                     all(e[k] == first[k] for k in ("first_chunk", "n_chunks", "n_bytes", "hash")), "copy")
                continue
            need(e["first_chunk"] == next_chunk and next_chunk + e["n_chunks"] <= len(self.chunks), "chunks")
            next_chunk += e["n_chunks"]
            end = self.check_chunks(e, end)
        need(next_name == len(self.names) and next_chunk == len(self.chunks), "left over")
        if last:
            need(self.part == last and end == len(self.files_of_parts[last]), "parts hold more")
        else:
            need(0 <= self.anchor["index_offset"] - end < self.align, "hole before the index")

    def check_shape(self, e):
        if e["kind"] != TENSOR:
            need(e["ndim"] == 0 and e["dtype"] == 0, "type")
            return
        if e["dtype"] not in DTYPES or e["ndim"] > 8:
            raise Unsupported("type")
        need(not any(e["dim"][e["ndim"]:]), "dimensions")
        bits = DTYPES[e["dtype"]][1]
        for d in e["dim"][:e["ndim"]]:
            bits *= d
        need(bits == 8 * e["n_bytes"], "size")

    def check_chunks(self, e, end):
        cs = self.chunks[e["first_chunk"]:e["first_chunk"] + e["n_chunks"]]
        for k, c in enumerate(cs):
            if c["codec"] > 5:
                raise Unsupported("codec")
            s, d = c["stored"], c["decoded"]
            need(1 <= d <= 1 << 20 and s >= 1, "chunk")
            if c["part"] == self.part + 1 < self.anchor["n_parts"]:
                need(self.part == 0 or end == len(self.files_of_parts[self.part]), "part not full")
                self.part, end = c["part"], 4096
            need(c["part"] == self.part, "part out of turn")
            limit = len(self.files_of_parts[self.part]) if self.part else self.anchor["index_offset"]
            split = d % 2 == 0 and d // 2 < s < d
            need([s == d, s < d, s in (1, 2, 4, 8) and s < d and d % s == 0, split, split, s < d][c["codec"]], "chunk sizes")
            need(e["kind"] == TENSOR or d <= 256 * s, "expands too much")
            need(c["offset"] % 64 == 0 and 0 <= c["offset"] - end < self.align and c["offset"] + s <= limit, "chunk place")
            need(d == cs[0]["decoded"] or (k + 1 == len(cs) and d < cs[0]["decoded"]), "chunk division")
            end = c["offset"] + s
        need(sum(c["decoded"] for c in cs) == e["n_bytes"], "chunks do not add up")
        return end

    def data(self, e):
        out = []
        for c in self.chunks[e["first_chunk"]:e["first_chunk"] + e["n_chunks"]]:
            b = decode(c["codec"], self.files_of_parts[c["part"]][c["offset"]:c["offset"] + c["stored"]], c["decoded"])
            need(h64(b) == c["hash"], f"{e['name']} is damaged")
            out.append(b)
        out = b"".join(out)
        need(h128(out) == e["hash"], f"{e['name']} is damaged")
        return out

    def files(self):
        """The source directory: name -> bytes."""
        files, shard = {}, None
        for e in self.entries:
            if e["kind"] != TENSOR:
                shard = files.setdefault(e["name"], [])
            shard.append(self.data(e))
        return {name: b"".join(parts) for name, parts in files.items()}


# ---- writing. Every number can be replaced, so that a test can lie about it.

def chunk(content, codec=0, stored=None, **lies):
    return {"data": content if stored is None else stored, "decoded_bytes": content, "codec": codec, "lies": lies}


def entry(kind, name, content=b"", dtype=None, dim=(), chunks=None, same_as=0, **lies):
    if chunks is None:
        chunks = [chunk(content[i:i + (1 << 20)]) for i in range(0, len(content), 1 << 20)]
    return {"kind": kind, "name": name.encode() if isinstance(name, str) else name, "dtype": NUMBER.get(dtype, 0), "dim": list(dim),
            "chunks": chunks, "same_as": same_as, "lies": lies}


def pack_anchor(place, fields):
    b = ANCHOR.pack(*[fields[k] for k in ANCHOR_FIELDS]).ljust(4088, b"\0")
    return b + struct.pack("<Q", h64(b))


def build(entries, superblock={}, trailer=None, align=64, gap=0, section_edit=None, records=(128, 32), names_edit=None, info=None,
          index_edit=None, index_codec=0, index_stored=None, both={}):
    """A .bln file. superblock and trailer: fields to replace in one, both: in either (trailer follows superblock if not given)."""
    payload, erec, crec, names, shard = bytearray(), [], [], b"", -1
    n_chunks = 0
    written = []
    for e in entries:
        mine, decoded = [], b"".join(c["decoded_bytes"] for c in e["chunks"])
        for c in e["chunks"]:
            payload += bytes(round_up(len(payload), 64) - len(payload)) + bytes(gap)
            f = {"offset": 4096 + len(payload), "stored": len(c["data"]), "decoded": len(c["decoded_bytes"]), "codec": c["codec"],
                 "part": 0, "reserved": 0, "hash": h64(c["decoded_bytes"]), **c["lies"]}
            payload += c["data"]
            mine.append(CHUNK.pack(*[f[k] for k in CHUNK_FIELDS]).ljust(records[1], b"\xee"))
        shard += e["kind"] == HEADER
        f = {"name_offset": len(names), "name_bytes": len(e["name"]), "kind": e["kind"], "ndim": len(e["dim"]), "dtype": e["dtype"],
             "shard": 0 if e["kind"] == SIDE else max(shard, 0), "first_chunk": n_chunks, "n_chunks": len(mine), "n_bytes": len(decoded),
             "hash": h128(decoded), "same_as": e["same_as"]}
        if e["same_as"]:
            f.update({k: written[e["same_as"] - 1][k] for k in ("first_chunk", "n_chunks", "n_bytes", "hash")})
        f.update(e["lies"])
        written.append(f)
        dim = (e["dim"] + [0] * 8)[:8]
        erec.append(ENTRY.pack(*[f[k] for k in ENTRY_FIELDS], *dim).ljust(records[0], b"\xee"))
        crec += mine
        n_chunks += len(mine)
        names += e["name"] + b"\0"
    if names_edit:
        names = names_edit(names)
    sections = [[1, records[0], len(erec), b"".join(erec)], [2, records[1], len(crec), b"".join(crec)], [3, 1, len(names), names]]
    if info is not None:
        sections.append([4, 1, len(info), info])
    if section_edit:
        sections = section_edit(sections)
    at = 16 + 24 * len(sections)
    table, body = b"", b""
    for kind, record, n, data, *lie in sections:
        table += SECTION.pack(kind, record, n, lie[0] if lie else at + len(body))
        body += data + bytes(round_up(len(data), 8) - len(data))
    index = struct.pack("<IIQ", len(sections), align, 0) + table + body
    if index_edit:
        index = index_edit(index)
    stored = index if index_stored is None else index_stored(index)
    payload += bytes(round_up(len(payload), 64) - len(payload)) + bytes(gap)
    f = {"magic": MAGIC["superblock"], "major": 1, "minor": 0, "state": 1, "compat": 0, "ro_compat": 0, "incompat": 0, "file_bytes": 0,
         "index_offset": 4096 + len(payload), "index_stored": len(stored), "index_decoded": len(index), "index_hash": h64(index),
         "index_codec": index_codec, "reserved1": 0, "part": 0, "n_parts": 1, "reserved2": 0, "id": h128(index)}
    f["file_bytes"] = 4096 + len(payload) + round_up(len(stored), 64) + 4096
    f.update(both)
    head = pack_anchor("superblock", {**f, **superblock})
    tail = pack_anchor("trailer", {**f, "magic": MAGIC["trailer"], **(superblock if trailer is None else trailer)} | {"magic": (trailer or {}).get("magic", MAGIC["trailer"])})
    return head + bytes(payload) + stored + bytes(round_up(len(stored), 64) - len(stored)) + tail


def main():
    verb, path, *rest = sys.argv[1:]
    archive = Archive(open(path, "rb").read(), path)
    if verb == "list":
        for e in archive.entries:
            codecs = sorted({archive.chunks[e["first_chunk"] + k]["codec"] for k in range(e["n_chunks"])})
            print(["tensor", "header", "file"][e["kind"]], e["name"], DTYPES.get(e["dtype"], ("",))[0], list(e["dim"][:e["ndim"]]),
                  e["n_bytes"], "codecs", codecs, f"copy of {e['same_as'] - 1}" if e["same_as"] else "")
        return 0
    files = archive.files()
    if verb == "restore":
        os.mkdir(rest[0])
        for name, content in files.items():
            with open(os.path.join(rest[0], name), "wb") as f:
                f.write(content)
    if verb == "compare":
        wrong = [n for n in sorted(set(os.listdir(rest[0])) | set(files))
                 if n not in files or open(os.path.join(rest[0], n), "rb").read() != files[n]]
        print(f"{len(files)} files, different: {wrong or 'none'}")
        return 1 if wrong else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
