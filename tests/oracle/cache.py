"""A reader of caches of a teacher, from docs/format-cache.md alone (pip install xxhash).

    cache.py SHARD ...    reads and checks everything and prints it, a line for each position with an answer
"""
import struct
import sys

import xxhash

MAGIC = bytes([0x89]) + b"BLC\r\n\x1a\n"
HEADER = [("major", 8, "H"), ("minor", 10, "H"), ("kind", 12, "I"), ("file_bytes", 16, "Q"), ("vocab_size", 24, "I"),
          ("n_positions", 28, "I"), ("n_seqs", 32, "I"), ("n_shards", 36, "I"), ("i_shard", 40, "I"), ("n_draws", 44, "I"),
          ("n_top", 48, "I"), ("hidden_size", 52, "I"), ("seed", 56, "Q"), ("model", 64, "16s"), ("tokenizer", 80, "16s"),
          ("text", 96, "16s"), ("packing", 112, "16s"), ("name", 128, "127s"), ("data_bytes", 256, "Q"),
          ("table_bytes", 264, "I"), ("a", 268, "I"), ("b", 272, "I"), ("c", 276, "I"), ("n_scored", 280, "Q"),
          ("n_entries", 288, "Q"), ("tokens", 296, "16s"), ("index", 312, "Q"), ("tables", 320, "Q"), ("checksum", 376, "Q")]
SAMPLED, TOP_K, MIXED, HIDDEN = 1, 2, 3, 4
GROUPS = [32, 21 * 14, 21 * 21, 2 * 14, 2 * 14]
TARGET, NUMBER, COUNT, LEAST, ABOVE = (sum(GROUPS[:i]) for i in range(5))
ONES = (1 << 64) - 1


def h64(data):
    return xxhash.xxh3_64_intdigest(data)


def h128(data):
    h = xxhash.xxh3_128_intdigest(data)
    return struct.pack("<QQ", h & ONES, h >> 64)


def require(holds, what):
    if not holds:
        raise SystemExit(f"not a sound shard: {what}")


def half(x):
    if x < 2:
        return x
    e = x.bit_length() - 1
    return 2 * e + (x >> (e - 1)) % 2


class Decoder:
    def __init__(self, data):
        self.data, self.at = data, 8
        self.code = int.from_bytes(data[:8].ljust(8, b"\0"), "big")
        self.range = ONES

    def peek(self, bits):
        self.range >>= bits
        at = self.code // self.range
        require(at < 1 << bits, "codes")
        return at

    def take(self, start, size):
        self.code -= self.range * start
        self.range *= size
        while self.range < 1 << 56:
            self.code = self.code << 8 | (self.data[self.at] if self.at < len(self.data) else 0)
            self.range <<= 8
            self.at += 1

    def done(self):
        return self.at == len(self.data) + 7


class Tables:
    def __init__(self, data):
        self.data, self.at = data, 0
        states = []
        while len(states) < sum(GROUPS):
            byte = self.byte()
            require(byte >> 6 < 3, "states of contexts")
            states += [byte >> 6] * (byte % 64 + 1)
        require(len(states) == sum(GROUPS), "states of contexts")
        self.table, first = {}, 0
        for n in GROUPS:
            group = range(first, first + n)
            shared = self.read_table() if any(states[i] == 1 for i in group) else None
            for i in group:
                if states[i]:
                    self.table[i] = shared if states[i] == 1 else self.read_table()
            first += n
        require(self.at == len(data), "tables end")

    def byte(self):
        require(self.at < len(self.data), "tables end early")
        self.at += 1
        return self.data[self.at - 1]

    def number(self):
        x = shift = 0
        while True:
            byte = self.byte()
            x |= byte % 128 << shift
            shift += 7
            if byte < 128:
                return x

    def read_table(self):
        frequencies = []
        while sum(frequencies) < 4096:
            frequencies.append(self.number())
            if frequencies[-1] == 0:
                frequencies += [0] * self.number()
        require(sum(frequencies) == 4096 and len(frequencies) <= 112, "a table")
        return frequencies

    def get(self, decoder, context):
        require(context in self.table, "a context without a table")
        at, start = decoder.peek(12), 0
        for symbol, size in enumerate(self.table[context]):
            if at < start + size:
                break
            start += size
        decoder.take(start, size)
        if symbol < 16:
            return symbol
        e = (symbol - 16) // 8 + 4
        low = decoder.peek(e - 3)
        decoder.take(low, 1)
        return (8 + (symbol - 16) % 8 << (e - 3)) + low


class Line:
    """The widths of a sequence, and where each place begins when the target is out."""

    def __init__(self, widths):
        self.widths = widths

    def get_set(self, decoder, target, n):
        ids = [v for v in range(len(self.widths)) if v != target]
        left = [0]
        for v in ids:
            left.append(left[-1] + self.widths[v])
        s, out = 0, []
        for r in range(n, 0, -1):
            e = len(ids) - r + 1
            require(s < e, "ids")

            def start(i):
                if i == e:
                    return 1 << 32
                u = float(left[-1] - left[i]) / float(left[-1] - left[s])
                q, k = 1.0, r
                while k:
                    if k & 1:
                        q *= u
                    u *= u
                    k >>= 1
                return i - s + int(float((1 << 32) - (e - s)) * (1.0 - q))

            at = decoder.peek(32)
            low, high = s, e
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if start(middle) <= at else (low, middle)
            decoder.take(start(low), start(low + 1) - start(low))
            out.append(ids[low])
            s = low + 1
        return out


def read_tokens(row, n, vocab_size):
    b = (vocab_size - 1).bit_length()
    bits = int.from_bytes(row, "little")
    tokens, begins = [], []
    for i in range(n):
        value = bits >> i * (b + 1)
        tokens.append(value % (1 << b))
        begins.append(value >> b & 1)
    require(bits >> n * (b + 1) == 0 and begins[0] and max(tokens) < vocab_size, "tokens")
    return tokens, begins


def sampled(h, decoder, tables, line, target, p, e):
    n_target = tables.get(decoder, TARGET + half(p >> 8))
    left = h["n_draws"] - n_target
    require(left >= 0, "draws of the target")
    entries = [(target, n_target)] if n_target else []
    if left == 0:
        return entries
    k = tables.get(decoder, NUMBER + 14 * half(left) + e) + 1
    require(k <= left, "number of ids")
    x = left - k
    for m, v in zip(range(k, 0, -1), line.get_set(decoder, target, k)):
        more = x
        if m > 1 and x > 0:
            more = tables.get(decoder, COUNT + 21 * half(m) + half(x))
        require(more <= x, "draws")
        x -= more
        entries.append((v, more + 1))
    return sorted(entries)


def weighted(h, decoder, tables, line, target, p, e):
    place, entries = tables.get(decoder, TARGET + half(p >> 8)), []
    n_sets = 2 if h["kind"] == MIXED else 1
    require(place <= n_sets, "the target's set")
    for s in range(n_sets):
        k = tables.get(decoder, NUMBER + 14 * s + e)
        ids = sorted(line.get_set(decoder, target, k) + ([target] if place == s + 1 else []))
        require(len(ids) <= h["n_draws" if s else "n_top"], "number of ids")
        least = tables.get(decoder, LEAST + 14 * s + e) if ids else 0
        for v in ids:
            code = least - tables.get(decoder, ABOVE + 14 * s + e)
            require(0 <= code <= 24319, "a weight")
            entries.append((v, code, s))
    require(len({v for v, *_ in entries}) == len(entries), "an id is twice there")
    return sorted(entries)


def read(data):
    """Header, and of every position with an answer (sequence, position, target, statistics, entries or state)."""
    require(data[:8] == MAGIC and h64(data[:376]) == struct.unpack_from("<Q", data, 376)[0], "header")
    h = {name: struct.unpack_from("<" + f, data, at)[0] for name, at, f in HEADER}
    require(h["major"] == 1 and h["kind"] in (1, 2, 3, 4), "version or kind")
    first = h["n_seqs"] * h["i_shard"] // h["n_shards"]
    n = h["n_seqs"] * (h["i_shard"] + 1) // h["n_shards"] - first
    b = (h["vocab_size"] - 1).bit_length()
    row = (h["n_positions"] * (b + 1) + 7) // 8
    tokens_at = 384 + h["data_bytes"]
    index_at = tokens_at + row * n
    tables_at = index_at + 24 * n
    require(tables_at + h["table_bytes"] == len(data) == h["file_bytes"], "sizes")
    require(h128(data[tokens_at:index_at]) == h["tokens"] and h64(data[index_at:tables_at]) == h["index"] and
            h64(data[tables_at:]) == h["tables"], "hashes")
    rows = [data[tokens_at + row * i:tokens_at + row * (i + 1)] for i in range(n)]
    index = [struct.unpack_from("<QQII", data, index_at + 24 * i) for i in range(n)]
    ends = [x[0] for x in index[1:]] + [h["data_bytes"]]
    texts = [read_tokens(r, h["n_positions"], h["vocab_size"]) for r in rows]
    tables = Tables(data[tables_at:]) if h["kind"] != HIDDEN else None
    in_shard = [0] * h["vocab_size"]
    for tokens, _ in texts:
        for t in tokens:
            in_shard[t] += 1
    out = []
    for i in range(n):
        part = data[384 + index[i][0]:384 + ends[i]]
        require(h64(rows[i] + part) == index[i][1], "hash of a sequence")
        answers = list(read_seq(h, part, *texts[i], in_shard, tables))
        require(len(answers) == index[i][2], "number of answers")
        require(h["kind"] == HIDDEN or sum(len(a[3]) for a in answers) == index[i][3], "number of ids")
        out += [(first + i, *a) for a in answers]
    require(len(out) == h["n_scored"], "number of answers")
    return h, out


def read_seq(h, part, tokens, begins, in_shard, tables):
    scored = [i for i in range(len(tokens) - 1) if not begins[i + 1]]
    stat = 11 if h["kind"] in (TOP_K, MIXED) else 8
    widths = [h["a"] + h["b"] * n for n in in_shard]
    for t in tokens:
        widths[t] += h["c"]
    line, decoder = Line(widths), Decoder(part[stat * len(scored):])
    for k, i in enumerate(scored):
        s = part[stat * k:stat * (k + 1)].ljust(11, b"\0")
        p, e, z, tail = (int.from_bytes(s[a:b], "little") for a, b in ((0, 3), (3, 5), (5, 8), (8, 11)))
        if h["kind"] == HIDDEN:
            at = stat * len(scored) + 2 * h["hidden_size"] * k
            what = struct.unpack_from(f"<{h['hidden_size']}H", part, at)
        else:
            f = sampled if h["kind"] == SAMPLED else weighted
            what = f(h, decoder, tables, line, tokens[i + 1], p, half(e >> 9))
        yield i, tokens[i + 1], (p, e, z, tail), what
    if h["kind"] == HIDDEN:
        require(len(part) == (stat + 2 * h["hidden_size"]) * len(scored), "length of states")
    elif scored:
        require(decoder.done(), "codes end elsewhere")
    else:
        require(not part, "codes of nothing")


def main():
    for path in sys.argv[1:]:
        with open(path, "rb") as f:
            h, answers = read(f.read())
        for seq, i, target, statistics, what in answers:
            entries = [":".join(map(str, x)) if isinstance(x, tuple) else f"{x:04x}" for x in what]
            print(seq, i, target, *statistics, *entries)


if __name__ == "__main__":
    main()
