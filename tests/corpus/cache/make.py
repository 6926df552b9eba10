#!/usr/bin/env python3
"""Write the files of this folder: of each kind the second shard that build/tests/make_cache writes, and what the
reader in tests/oracle/cache.py says of it, which knows the format from docs/format-cache.md only.

    python3 tests/corpus/cache/make.py BUILD     (needs pip install xxhash)
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).parent
oracle = here.parent.parent / "oracle" / "cache.py"
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([f"{sys.argv[1]}/tests/make_cache", folder], check=True)
    for kind in ("sampled", "top-k", "mixed", "hidden"):
        shutil.copy(f"{folder}/{kind}/shard-00002-of-00002.blc", here / f"{kind}.blc")
        with open(here / f"{kind}.txt", "w", encoding="ascii") as out:
            subprocess.run([sys.executable, oracle, here / f"{kind}.blc"], stdout=out, check=True)
