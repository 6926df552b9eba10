"""Print formats/block/e4m3_table.inc: the F32 bits of every E4M3 code, according to ml_dtypes.

    python tests/oracle/make_e4m3_table.py > formats/block/e4m3_table.inc
"""
import ml_dtypes
import numpy as np

bits = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32).view(np.uint32)
print("/* Made by tests/oracle/make_e4m3_table.py: do not edit. */")
for i in range(0, 256, 6):
    print(" ".join(f"0x{b:08x}," for b in bits[i : i + 6]))
