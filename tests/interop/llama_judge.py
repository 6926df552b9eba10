"""llama-perplexity and `baleen verify` on the same files: what gguf_sources.py and gguf_types.py share.

--no-repack: repacked kernels crash on small deepseek2 files.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

EXACT = ["-c", "512", "-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-repack", "-t", str(os.cpu_count())]
PERCENTILES = {"median": ("Median", "median_kld"), "90": ("90.0%", "kld_90"), "95": ("95.0%", "kld_95"),
               "99": ("99.0%", "kld_99"), "99.9": ("99.9%", "kld_99_9")}


def run(*command, out_only=False):
    """What a program prints; its failure is ours."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout if out_only else done.stdout + done.stderr


class Judge:
    def __init__(self, options):
        self.bin, self.baleen, self.text = Path(options.bin), options.baleen, options.text
        self.tokens, self.bad = options.tokens, 0

    def llama(self, file, *more):
        """What llama-perplexity says. Its logger sometimes loses the last lines: then again."""
        wanted = ["Mean PPL(Q)", "Same top p:"] if "--kl-divergence" in more else ["Final estimate"]
        for _ in range(20):
            log = run(self.bin / "llama-perplexity", "-m", file, "-f", self.text, *EXACT, *self.chunks(), *more)
            if all(line in log for line in wanted):
                return log
        sys.exit(f"llama-perplexity lost its last lines 20 times on {file}")

    def chunks(self):
        return ["--chunks", str(self.tokens // 512)] if self.tokens else []

    def verify(self, file, *more):
        limit = ["--tokens", self.tokens // 512 * 512] if self.tokens else []
        return json.loads(run(self.baleen, "verify", file, "--text", self.text, "--json", "-q", *limit, *more))

    def row(self, name, log, ours, limit, strict=False):
        fields = [number(log, r"Mean PPL\(Q\)\s*:\s*([\d.]+)") or number(log, r"Final estimate: PPL = ([\d.]+)"),
                  ours["perplexity"]]
        off = abs(fields[1] / fields[0] - 1) * 100
        fails = [] if off <= limit else ["perplexity"]
        line = f"{name:14} {fields[0]:11.4f} {fields[1]:11.4f} {off:8.4f} {limit:4}"
        theirs = number(log, r"Mean\s+KLD:\s*(-?[\d.]+)")
        if theirs is not None:
            line += f" {theirs:9.6f} {ours['mean_kld']:9.6f} "
            if strict and abs(ours["mean_kld"] - theirs) > 0.02 * theirs + 2e-4:
                fails.append("mean KL")
            for percent, (label, key) in PERCENTILES.items():
                a, b = number(log, rf"{re.escape(label)}\s+KLD:\s*(-?[\d.]+)"), ours[key]
                line += f" {a:.6f}/{b:.6f}"
                if strict and abs(a - b) > 0.05 * a + 2e-5:
                    fails.append(f"{percent} % KL")
        self.bad += len(fails)
        print(line, " FAIL " + ", ".join(fails) if fails else " ok", flush=True)


def number(log, pattern):
    m = re.search(pattern, log)
    return float(m[1]) if m else None
