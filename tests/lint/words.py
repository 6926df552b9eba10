#!/usr/bin/env python3
"""Words that must not appear: calls that overflow or bypass base/, model families as code, TODO.

A model family is data (formats/arch): its name elsewhere is a special case that the next family
will not have.
"""

import re
import sys

from csource import LIBRARIES, main, sources

EVERYWHERE = ("strcpy", "strcat", "sprintf", "vsprintf", "stpcpy", "strncpy", "strtok", "gets",
              "atoi", "atol", "atoll", "atof", "alloca", "mktemp", "tmpnam", "system", "popen")
MEMORY = ("malloc", "calloc", "realloc", "free", "strdup", "strndup", "asprintf", "vasprintf",
          "reallocarray", "aligned_alloc", "posix_memalign")
FILES = ("fopen", "open", "openat", "creat", "mmap", "read", "pread", "write", "pwrite", "fread",
         "fwrite", "rename", "unlink", "remove")
LIBRARY = ("printf", "vprintf", "puts", "putchar", "perror", "exit", "_exit", "abort", "atexit",
           "getenv", "secure_getenv", "setenv", "setlocale", "signal", "sigaction", "rand",
           "srand", "random", "time", "localtime", "gmtime")

# path prefix -> calls that it is there for
ALLOWED = {
    "base/alloc.c": MEMORY,
    "base/cancel.c": ("signal", "sigaction"),
    "base/linalg.c": ("getenv", "setenv"),  # how OpenBLAS is told which kernels to take
    "base/progress.c": ("stderr",),
    "base/journal.c": FILES,
    "base/keep.c": FILES,
    "base/memory.c": FILES,
    "base/outdir.c": FILES,
    "base/publish.c": FILES,
    "base/sink.c": FILES,
    "base/source.c": FILES,
    "base/spill.c": FILES,
    "cli/cmd_tokenize.c": ("free",),  # of getline(3)'s block
}

FAMILY = re.compile(r"deepseek|qwen|llama|kimi|moonlight|mixtral|mistral|glm4", re.IGNORECASE)
FAMILY_HOME = ("formats/arch/", "model/config", "model/network", "formats/tokenizer/")
# Names of other things that happen to contain a family's: the rope scaling "llama3" of
# config.json, and programs in an error sentence.
NOT_A_FAMILY = re.compile(r"(?:BL_ROPE_|\brope_?)?llama3(?:_(?:low|high)_freq_factor)?\b"
                          r"|llama\.cpp|llama-gguf-split", re.IGNORECASE)
# Files that write metadata whose values are family names by definition of the format.
FAMILY_TABLES = ()

UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def calls(names):
    return re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")


def banned(s):
    """(pattern, sentence) for this file."""
    allowed = ALLOWED.get(s.path, ())
    # parameters of that name: bl_status (*read)(...), and read_one *read
    allowed += tuple(re.findall(r"\(\*\s*(\w+)\)\s*\(", s.code))
    allowed += tuple(re.findall(r"\w\s*\*\s*(\w+)\s*[,)]", s.code))

    def without(names):
        return calls([n for n in names if n not in allowed] or ["\\0"])

    if s.folder == "tests":
        return
    yield without(EVERYWHERE), "is banned: it overflows, guesses or hides an error"
    yield without(MEMORY), "belongs to base/alloc.c: use bl_alloc and friends"
    if s.folder in LIBRARIES:
        yield without(FILES), "belongs to base/: read through bl_source, write through bl_sink"
        yield without(LIBRARY), "is not for libraries: they return, the command line decides"
        if "stderr" not in allowed:
            yield re.compile(r"\b(stdout|stderr)\b"), "is not for libraries: they never print"


def check(root):
    for s in sources(root):
        patterns = list(banned(s))
        for line, code in s.lines():
            for pattern, sentence in patterns:
                for m in pattern.finditer(code):
                    yield f"{s.path}:{line}: {m.group(1)} {sentence}"
        home = s.folder == "tests" or s.path.startswith(FAMILY_HOME) or s.path in FAMILY_TABLES
        if not home:
            # an #include of the family's own table is no special case
            words = [(n, c) for n, c in s.lines() if not c.lstrip().startswith("#include")]
            included = {name for _, _, name in s.includes()}
            words += [(n, t) for n, t in s.strings if t not in included]
            for line, text in words:
                m = FAMILY.search(NOT_A_FAMILY.sub("", text))
                if m:
                    yield f"{s.path}:{line}: '{m.group(0)}' is a model family: formats/arch's data"
        for line, text in enumerate(s.text.splitlines(), 1):
            m = UNFINISHED.search(text)
            if m:
                yield f"{s.path}:{line}: {m.group(0)}: finish it, or open an issue"


if __name__ == "__main__":
    sys.exit(main(check))
