#!/usr/bin/env python3
"""The lints find what they are there for: each rule on a small tree that breaks it, and none on
one that does not."""

import tempfile
import unittest
from pathlib import Path

import includes
import sizes
import words


class Lints(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name)

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def found(self, lint, path, text):
        """What the lint says of this file, without the path."""
        self.write(path, text)
        findings = [f for f in lint.check(self.root) if f.startswith(path + ":")]
        (self.root / path).unlink()
        return [f.removeprefix(path + ":") for f in findings]

    def test_folders_do_not_include_what_is_above_or_beside_them(self):
        for folder in includes.BELOW:
            self.write(f"{folder}/x.h", "")
        self.write("cli/x.h", "")
        bad = [("base", "formats"), ("formats", "model"), ("convert", "model"),
               ("model", "convert"), ("model", "verify"), ("verify", "convert"),
               ("verify", "quantize"), ("prune", "quantize"), ("prune", "convert"),
               ("quantize", "prune"), ("quantize", "distill"), ("distill", "cli")]
        for who, whom in bad:
            found = self.found(includes, f"{who}/a.c", f'\n#include "{whom}/x.h"\n')
            self.assertEqual(found, [f"2: {who}/ must not include {whom}/"])
        good = [("formats", "base"), ("convert", "formats"), ("verify", "model"),
                ("quantize", "convert"), ("distill", "quantize"), ("distill", "prune"), ("cli", "distill"),
                ("tests", "cli")]
        for who, whom in good:
            self.assertEqual(self.found(includes, f"{who}/a.c", f'#include "{whom}/x.h"\n'), [])

    def test_includes_are_headers_named_from_the_root(self):
        self.write("base/x.h", "")
        self.write("base/b.c", "")
        self.write("tests/unit/x.h", "")
        for include in ("x.h", "../base/x.h", "base/missing.h", "base/b.c", "tests/unit/x.h"):
            self.assertEqual(len(self.found(includes, "base/a.c", f'#include "{include}"\n')), 1)

    def test_a_source_includes_its_own_header_first(self):
        self.write("base/x.h", "")
        self.write("base/a.h", "")
        self.assertEqual(self.found(includes, "base/a.c", '#include "base/x.h"\n#include "base/a.h"'),
                         ['1: include "base/a.h" first'])
        self.assertEqual(self.found(includes, "base/a.c", '#include "base/a.h"\n#include "base/x.h"'),
                         [])

    def test_each_dependency_has_one_door(self):
        for header in ("cjson/cJSON.h", "cJSON.h", "zstd.h", "zlib.h", "cblas.h", "omp.h",
                       "openblas/cblas.h", "xxhash.h", "openssl/evp.h", "pcre2.h", "utf8proc.h"):
            self.assertEqual(len(self.found(includes, "verify/a.c", f"#include <{header}>\n")), 1)
        self.assertEqual(self.found(includes, "formats/json/json.c", "#include <cjson/cJSON.h>"), [])
        self.assertEqual(self.found(includes, "model/tokenizer/tokenizer_split.c", "#include <pcre2.h>"), [])
        self.assertEqual(len(self.found(includes, "model/a.c", "#pragma omp parallel for\n")), 1)

    def test_banned_calls(self):
        for call in ("strcpy(a, b)", "sprintf(a, b)", "atoi(a)", "malloc(3)", "free (p)",
                     'fopen("x", "r")', "open(p, 0)", 'printf("x")', "fputs(s, stdout)",
                     "exit(1)", "abort()", 'getenv("HOME")', "rand()", "time(NULL)"):
            self.assertEqual(len(self.found(words, "formats/a.c", f"int f(void) {{ {call}; }}")), 1,
                             call)
        for call in ("bl_free(p)", "x->open(y)", "x.read(y)", "my_open(y)", "// malloc(3)",
                     '"malloc(3)"', "snprintf(a, n, b)", "fprintf(out, b)",
                     "int (*read)(int); read(1)"):
            self.assertEqual(self.found(words, "formats/a.c", f"int f(void) {{ {call}; }}"), [], call)
        self.assertEqual(self.found(words, "base/alloc.c", "p = malloc(3);"), [])
        self.assertEqual(self.found(words, "cli/main.c", 'printf("x"); exit(1);'), [])
        self.assertEqual(len(self.found(words, "cli/main.c", "p = malloc(3);")), 1)

    def test_families_are_data(self):
        for text in ('if (strcmp(name, "deepseek_v3") == 0)', "int is_qwen2(void);", "BL_LLAMA_X"):
            self.assertEqual(len(self.found(words, "quantize/a.c", text)), 1, text)
            self.assertEqual(self.found(words, "formats/arch/a.c", text), [])
        for text in ("/* as DeepSeek-V3 does */", "case BL_ROPE_LLAMA3:",
                     "c->llama3_low_freq_factor", '"llama.cpp cannot read it"'):
            self.assertEqual(self.found(words, "model/rope.c", text), [], text)

    def test_unfinished_work(self):
        for text in ("/* TODO */", "// FIXME: later", '"XXX"'):
            self.assertEqual(len(self.found(words, "tests/unit/a.c", text)), 1, text)

    def test_long_files_say_why_or_are_cut(self):
        self.assertEqual(self.found(sizes, "base/a.c", "/* a */\n" + "\n" * 599), [])
        self.assertEqual(len(self.found(sizes, "base/a.c", "/* a */\n" + "\n" * 600)), 1)
        self.assertEqual(self.found(sizes, "base/a.c", "/* 700 lines: a table */\n" + "\n" * 700), [])
        self.assertEqual(len(self.found(sizes, "base/a.c", "/* 1001 lines */\n" + "\n" * 1000)), 1)
        self.assertEqual(self.found(sizes, "base/a.c", "int x;\n"),
                         ["1: open with a comment that says what the file owns"])

    def test_long_functions_are_cut(self):
        def function(n):
            return "/* a */\nint\nlong_one(int a,\n         int b)\n{\n" + "    a++;\n" * n + "}\n"

        self.assertEqual(self.found(sizes, "base/a.c", function(68)), [])
        self.assertEqual(self.found(sizes, "base/a.c", function(69)),
                         ["5: long_one has 71 lines, 70 is the end"])


if __name__ == "__main__":
    unittest.main()
