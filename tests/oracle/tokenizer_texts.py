"""Texts that are hard for a tokenizer, made to be so or random; shared by make_tokenizer_vectors.py,
tests/interop/tokenizer_random.py and gguf_vocab.py. Deterministic for a seed and a Python version (3.11)."""
import random
import unicodedata

# What Unicode 15 and 16 brought; Python 3.11 knows version 14.
NEWER = [(0x897, 0x897), (0xCF3, 0xCF3), (0xECE, 0xECE), (0x1B4E, 0x1B4F), (0x1B7F, 0x1B7F),
         (0x1C89, 0x1C8A), (0x2427, 0x2429), (0x2FFC, 0x2FFF), (0x31E4, 0x31EF), (0xA7CB, 0xA7CD),
         (0xA7DA, 0xA7DC), (0x105C0, 0x105F3), (0x10D40, 0x10D8F), (0x10EC2, 0x10EFF),
         (0x11200, 0x11241), (0x11380, 0x113E2), (0x116D0, 0x116E3), (0x11B00, 0x11B09),
         (0x11BC0, 0x11BF9), (0x11F00, 0x11F5A), (0x1342F, 0x13455), (0x13460, 0x13480),
         (0x16100, 0x16139), (0x16D40, 0x16D79), (0x1CC00, 0x1CCF9), (0x1D2C0, 0x1D2D3),
         (0x1DF25, 0x1DF2A), (0x1E030, 0x1E08F), (0x1E4D0, 0x1E4F9), (0x1E5D0, 0x1E5FF),
         (0x1F6DC, 0x1F6DC), (0x1F8B2, 0x1F8C1), (0x1FA75, 0x1FAFF), (0x2EBF0, 0x2EC00),
         (0x31350, 0x31360), (0x323A0, 0x323AF)]

SPACES = [chr(c) for c in (0x20, 0x20, 0x20, 9, 10, 10, 11, 12, 13, 0x1C, 0x85, 0xA0, 0x1680, 0x180E,
                           0x2000, 0x2009, 0x200A, 0x200B, 0x2028, 0x2029, 0x202F, 0x205F, 0x2060,
                           0x3000, 0xFEFF)] + ["\r\n", "\n\n", "  ", "    ", "\t\t"]
SNIPPETS = ["'s", "'S", "'t", "'re", "'VE", "'m", "'ll", "'lL", "'d", "'\u017f", "'\u212a", "\u2019s", "don't",
            "I'M", "we\u2019ll", "x'", "''", "The", " the", "hello", "World", "function", "return", "12", "007",
            "3.14", "1,000", "e-10", "naïve", "Ünïcödé", "straße", "ĳ", "ﬁn", "ΑΒΓ", "мир", "שלום", "مرحبا",
            "हिन्दी", "ไทย", "한국어", "日本語", "価格", "ひらがな", "カタカナ", "，", "。", "「」", "——", "…", "//", "/*", "*/", "->",
            "==", "{}", "();", "#include", "<html>", "&amp;", "https://", "_x", "__init__", "\\n", "\0", "\x01",
            "\x7f", "🚀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "½", "²", "Ⅻ", "٣٤٥", "১২৩", "𝟙𝟚", "①", "𝒳"]


def pools():
    code_points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    newer = [c for a, b in NEWER for c in range(a, b + 1)]
    by = {}
    for c in code_points:
        by.setdefault(unicodedata.category(chr(c))[0], []).append(c)
    marks = by["M"]
    return {
        "assigned": [c for k in "LMNPSZ" for c in by[k]] + newer,
        "any": code_points,
        "newer": newer,
        "marks": marks,
        "ordered": [c for c in marks if unicodedata.combining(chr(c))] + newer,
        "numbers": by["N"],
        "symbols": by["P"] + by["S"],
        "han": list(range(0x4E00, 0x9FFF)) + list(range(0x3040, 0x30FF)) + list(range(0x3400, 0x3500))
        + [0x3005, 0x3007, 0x20000, 0x2A700, 0xF900, 0xFA0E],
        "composed": [c for c in code_points if unicodedata.normalize("NFD", chr(c)) != chr(c)],
        "jamo": list(range(0x1100, 0x1200)) + list(range(0xA960, 0xA980)) + list(range(0xD7B0, 0xD7FC)),
        "latin": [c for c in by["L"] if c < 0x250] + list(range(0x41, 0x5B)) + list(range(0x61, 0x7B)) * 4,
    }


class Texts:
    def __init__(self, seed, added):
        """added: texts of the tokenizer's added tokens."""
        self.rng = random.Random(seed)
        self.pools = pools()
        self.added = added
        self.kinds = ["assigned", "assigned", "any", "newer", "marks", "normal", "numbers", "symbols", "spaces",
                      "han", "latin", "snippets", "added", "mixed", "mixed", "mixed", "code"]

    def char(self, pool):
        return chr(self.rng.choice(self.pools[pool]))

    def fragment(self):
        token = self.rng.choice(self.added)
        how = self.rng.random()
        if how < 0.4:
            return token
        i, j = sorted((self.rng.randrange(len(token) + 1), self.rng.randrange(len(token) + 1)))
        return token[:j] if how < 0.6 else token[i:] if how < 0.8 else token[i:j]

    def normal(self):
        """Something that normalization reorders, composes or takes apart."""
        r = self.rng.random()
        if r < 0.3:
            return self.char("composed")
        if r < 0.6:
            return unicodedata.normalize(self.rng.choice(["NFD", "NFC"]), self.char("composed"))
        if r < 0.7:
            return self.char("jamo")
        return self.char("latin") + "".join(self.char("ordered") for _ in range(self.rng.randrange(4)))

    def piece(self, kind):
        if kind == "mixed":
            kind = self.rng.choice(self.kinds)
        if kind == "normal":
            return self.normal()
        if kind == "spaces":
            return self.rng.choice(SPACES) if self.rng.random() < 0.8 else self.char("symbols")
        if kind == "snippets":
            return self.rng.choice(SNIPPETS)
        if kind == "code":
            return self.rng.choice([self.rng.choice(SNIPPETS), chr(self.rng.randrange(32, 127)), "\n    "])
        if kind == "added":
            return self.fragment() if self.rng.random() < 0.7 else self.rng.choice(SPACES)
        if kind == "mixed":
            return " "
        if kind == "marks" and self.rng.random() < 0.4:
            return self.char("latin")
        if kind == "numbers" and self.rng.random() < 0.2:
            return self.rng.choice([" ", ".", ",", "a"])
        return self.char(kind)

    def text(self, longest):
        kind = self.rng.choice(self.kinds)
        parts = [self.piece(kind) for _ in range(self.rng.randrange(1, longest))]
        if self.rng.random() < 0.2:
            parts += [parts[-1]] * self.rng.randrange(20)
        return "".join(parts)


CONTRACTIONS = ["s", "S", "t", "T", "re", "Re", "rE", "VE", "ve", "m", "M", "ll", "LL", "lL", "d", "D", "\u017f", "\u212a",
                "x", ""]
FAMILIES = ["👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "👍🏽", "1️⃣", "❤️", "🫱🏻‍🫲🏿", "🚀"]
CJK = "价格12元。ひらがなカタカナ、！한국어\u1112\u1161\u11ab㐀\U00020000Ａ１ㄅ「」"


def by_category():
    """{category of Unicode 14, or "newer": at most 300 of its characters, evenly}; NUL left out."""
    newer = {c for a, b in NEWER for c in range(a, b + 1)}
    by = {}
    for c in range(1, 0x110000):
        if not 0xD800 <= c < 0xE000:
            by.setdefault("newer" if c in newer else unicodedata.category(chr(c)), []).append(chr(c))
    return {k: v[::max(1, len(v) // 300)] for k, v in sorted(by.items())}


def in_texts(tokens):
    """Added tokens at the ends of words, between spaces, doubled, nested and cut."""
    some = tokens[::max(1, len(tokens) // 40)]
    return "".join(f"{a} {a}{b}x{a}  {a}\n{a}\n\n{a[:-1]}{a[1:]}'s{a}'s 12{a}34 {a[:2]}{b}{a[2:]} {a.upper()}\t{a}"
                   for a, b in zip(some, some[1:] + some[:1]))


def hostile(added):
    """[(name, text)]: every Unicode category, runs of spaces, digits, CJK, emoji, contractions, added tokens in the text."""
    categories = by_category()
    texts = [(name, "".join(f"{c}a{c} {c}1{c}{c}  {c}.{c}\n" for c in chars)) for name, chars in categories.items()]
    runs = [a * n + b for n in (*range(1, 20), 31, 32, 33, 64, 127)
            for a in (" ", "\n", "\t", "\r\n", "\u00a0", "\u3000", " \n") for b in ("", "a", "1", "!")]
    tails = ("", ".5", ",000", "x", "\u00bd", "\u0663", " 7")
    numbers = "".join(chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) == "Nd")
    texts += [
        ("spaces", "x".join(runs)),
        ("digits", " ".join("1234567890123"[:n] + tail for n in range(1, 14) for tail in tails)),
        ("other digits", numbers + " ".join(numbers[i:i + 5] for i in range(0, len(numbers), 5))),
        ("cjk", "".join(CJK[i:] + x + CJK[:i] for i in range(len(CJK)) for x in ("", " ", "ab", "7", "\n"))),
        ("emoji", "".join(a + x + b for a in FAMILIES for b in FAMILIES for x in ("", " ", "a", "3", "\n"))),
        ("contractions", " ".join(word + quote + c + end for word in ("I", "don", "\u00e9", "7", "", "_")
                                  for quote in "'\u2019`" for c in CONTRACTIONS for end in ("", "a", "1"))),
        ("marks", "".join(c + m + " " for c in "aeE\u0915\u05d0\u1112" for m in categories["Mn"][:60])),
    ]
    if added:
        texts.append(("added tokens", in_texts(added)))
    return texts
