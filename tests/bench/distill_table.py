#!/usr/bin/env python3
"""The tables and the curves of distill_quality.sh.

    distill_table.py RESULTS LOGS [SVG]

RESULTS: lines of part, name, seed, perplexity on prose, perplexity on code, between tabs. LOGS: a folder of PART.NAME.SEED.jsonl,
as `baleen distill train --log` writes them. Prints means over seeds with 95 % intervals (Student's t), differences from `full`
seed by seed, and which share of what full knowledge of the teacher is worth (ce - full, in nats a token) each loss has. Draws
held-out perplexity against tokens. The standard library only.
"""
import json
import math
import statistics
import sys
from collections import defaultdict
from html import escape
from pathlib import Path

T95 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # by degrees of freedom
INK = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#4d4d4d", "#d16ba5", "#00798c")


def interval(values):
    """mean, half of the interval"""
    n = len(values)
    if n < 2 or n > len(T95):
        return statistics.fmean(values), math.nan
    return statistics.fmean(values), T95[n - 1] * statistics.stdev(values) / math.sqrt(n)


def say(values, digits):
    mean, half = interval(values)
    return f"{mean:.{digits}f}" if math.isnan(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


def read(path):
    """part: {name: {seed: [nats on prose, nats on code, mean of both]}}"""
    parts = defaultdict(lambda: defaultdict(dict))
    for line in Path(path).read_text().splitlines():
        part, name, seed, *perplexity = line.split("\t")
        nats = [math.log(float(x)) for x in perplexity]
        parts[part][name][int(seed)] = nats + [statistics.fmean(nats)]
    return parts


def table(rows, reference):
    names = list(rows)
    print(f"{'':24} {'seeds':>5}  {'prose':>18}  {'code':>18}  {'both, nats':>18}  {'less ' + reference if reference else '':>18}")
    for name in names:
        seeds = rows[name]
        line = f"{name:24} {len(seeds):5}"
        for column in range(2):
            line += f"  {say([math.exp(v[column]) for v in seeds.values()], 2):>18}"
        line += f"  {say([v[2] for v in seeds.values()], 4):>18}"
        paired = [v[2] - rows[reference][s][2] for s, v in seeds.items() if s in rows.get(reference, {})]
        if paired and name != reference:
            line += f"  {say(paired, 4):>18}"
        print(line)


def shares(rows):
    both = set(rows["ce"]) & set(rows["full"])
    print("\nshare of (ce - full), in nats a token: mean of both texts, of prose, of code")
    for name, seeds in rows.items():
        if name in ("ce", "full"):
            continue
        line = f"{name:24}"
        for column in (2, 0, 1):
            mine = [s for s in seeds if s in both]
            gained = [rows["ce"][s][column] - seeds[s][column] for s in mine]
            whole = [rows["ce"][s][column] - rows["full"][s][column] for s in mine]
            each = [g / w for g, w in zip(gained, whole)]
            line += f"  {100 * sum(gained) / sum(whole):7.1f} % ({100 * min(each):.0f} .. {100 * max(each):.0f})"
        print(line)


def curves(folder):
    """PART.NAME: [[(tokens, perplexity)] of a seed]"""
    out = defaultdict(list)
    for path in sorted(Path(folder).glob("*.jsonl")):
        points = []
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if record.get("eval_ppl"):
                points.append((record["tokens"], record["eval_ppl"]))
        if points:
            out[path.name.removesuffix(".jsonl").rsplit(".", 1)[0]].append(points)
    return out


def mean_curve(seeds):
    of = defaultdict(list)
    for points in seeds:
        for tokens, perplexity in points:
            of[tokens].append(math.log(perplexity))
    return [(t, math.exp(statistics.fmean(v))) for t, v in sorted(of.items()) if len(v) == len(seeds)]


class Chart:
    WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 150, 30, 45

    def __init__(self, title, lines, top):
        """lines: name: (mean curve, curves). What lies above `top` is not drawn."""
        self.title = title
        self.lines = {n: (self.below(m, top), [self.below(c, top) for c in each]) for n, (m, each) in lines.items()}
        points = [p for m, each in self.lines.values() for c in [m, *each] for p in c]
        self.most = max(t for t, _ in points)
        self.low, self.high = math.log(min(p for _, p in points)) - 0.02, math.log(max(p for _, p in points)) + 0.02

    @staticmethod
    def below(curve, top):
        return [p for p in curve if p[1] <= top]

    def at(self, tokens, perplexity):
        x = self.LEFT + (self.WIDE - self.LEFT - self.RIGHT) * tokens / self.most
        y = self.TOP + (self.HIGH - self.TOP - self.BOTTOM) * (self.high - math.log(perplexity)) / (self.high - self.low)
        return x, y

    def path(self, curve, colour, width, opacity):
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*p) for p in curve))
        return f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}"/>'

    def axes(self):
        left, right, bottom = self.LEFT, self.WIDE - self.RIGHT, self.HIGH - self.BOTTOM
        step = next(s for k in range(9) for s in (10**k, 2 * 10**k, 5 * 10**k) if self.most / s <= 6)
        for t in range(0, int(self.most) + 1, step):
            x, _ = self.at(t, math.exp(self.low))
            yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{t / 1e6:g} M</text>'
        ticks = [m * 10**k for k in range(6) for m in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)]
        for p in (p for p in ticks if self.low <= math.log(p) <= self.high):
            _, y = self.at(0, p)
            yield f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            yield f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{p:g}</text>'
        yield f'<text x="{(left + right) / 2}" y="{self.HIGH - 8}" text-anchor="middle">tokens learned from</text>'
        yield f'<text x="{left - 45}" y="{self.TOP - 12}">{escape(self.title)}</text>'

    def labels(self):
        """At the ends of the lines, moved apart."""
        ends = sorted((self.at(*m[-1])[1], n, c) for c, (n, (m, _)) in zip(INK * 9, self.lines.items()) if m)
        y = -math.inf
        for end, name, colour in ends:
            y = max(end + 4, y + 14)
            yield f'<text x="{self.WIDE - self.RIGHT + 8}" y="{y:.1f}" fill="{colour}">{escape(name)}</text>'

    def svg(self, y):
        body = list(self.axes())
        for colour, (mean, each) in zip(INK * 9, self.lines.values()):
            body += [self.path(c, colour, 0.8, 0.35) for c in each if len(each) > 1] + [self.path(mean, colour, 2, 1)]
        return f'<g transform="translate(0 {y})">' + "\n".join(body + list(self.labels())) + "</g>"


def draw(path, all_curves):
    parts = defaultdict(dict)
    for name, seeds in all_curves.items():
        part, _, name = name.partition(".")
        if mean_curve(seeds):
            parts[part][name] = (mean_curve(seeds), seeds)
    charts = []
    for part, lines in parts.items():
        late = [p for m, _ in lines.values() for t, p in m if t >= m[-1][0] / 6]
        charts.append(Chart(f"{part}: perplexity on held-out text", lines, max(late) * 1.02))
    body = "\n".join(c.svg(i * Chart.HIGH) for i, c in enumerate(charts))
    Path(path).write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Chart.WIDE} {Chart.HIGH * len(charts)}" '
                          f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n')


def main(results, logs, svg=None):
    parts = read(results)
    for part, rows in parts.items():
        print(f"\n== {part}")
        table(rows, {"losses": "full", "starts": "random"}.get(part))
        if part == "losses" and {"ce", "full"} <= set(rows):
            shares(rows)
    found = curves(logs)
    if svg and found:
        draw(svg, found)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
