"""Write the codebooks of GGUF's IQ1, IQ2 and IQ3 encodings: formats/block/iq*_table.inc.

    python tests/oracle/make_iq_grids.py formats/block

Needs numpy and gguf 0.19, whose grids they are; the originals are ggml's (MIT, see
formats/block/LICENSE.ggml). An entry is 8 values (IQ3: 4) as G(code): the number of each value
among the values that its encoding has, two bits each (IQ3: four), the first lowest. C expands them.
"""
import sys
from pathlib import Path

import numpy as np
from gguf import quants

HEAD = """/*
 * Codebook of {name}, from ggml (MIT licence, see LICENSE.ggml beside this file).
 * Made by tests/oracle/make_iq_grids.py: do not edit.
 */
"""

for name in ("IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"):
    of = getattr(quants, name)
    of.init_grid()
    grid = of.grid.reshape(of.grid_shape)
    number = np.searchsorted(np.array(of.grid_map, np.float32), grid).astype(np.uint32)
    assert (np.array(of.grid_map, np.float32)[number] == grid).all()
    bits = 16 // of.grid_shape[1]
    codes = (number << (bits * np.arange(of.grid_shape[1], dtype=np.uint32))).sum(axis=1)
    assert codes.max() < 1 << 16
    path = Path(sys.argv[1]) / f"{name.lower()}_table.inc"
    with open(path, "w") as f:
        f.write(HEAD.format(name="IQ1_S and IQ1_M" if name == "IQ1_S" else name))
        for i in range(0, len(codes), 8):
            f.write(" ".join(f"G(0x{c:04x})," for c in codes[i : i + 8]) + "\n")
    print(path, len(codes), "entries")
