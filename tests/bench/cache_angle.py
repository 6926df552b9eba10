#!/usr/bin/env python3
"""How far does what is kept of a teacher turn a student's gradient away from the one that the whole teacher gives?

    cache_angle.py TEACHER TEXT [STUDENT...] [--tokens N] [--ctx N] [--seed S]

TEACHER and STUDENTs are F32 folders that transformers loads (`baleen convert X -o DIR --dtype f32`), of one tokenizer. The
gradient of forward KL, mean over N tokens: at the logits it is s - t, s the student's probabilities and t what is kept: all, the
likeliest K (made to add up to 1), D draws (count / D). Prints, against t = all: the angle in degrees and the ratio of norms, for
- all parameters of each STUDENT;
- the output head of two that know nothing of the context: uniform, and unigram (the teacher's mean); its inputs are the teacher's.
RS-KD (arXiv 2503.16870) reports 58 degrees for the 12 likeliest and 4 for draws with 12 different ids. Draws are unbiased: their
angle is noise, and falls with 1/sqrt(N); of the likeliest it stays. Needs torch, transformers, tokenizers.
"""
import argparse
import math
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

TOPS, DRAWS = (12, 25, 50, 100, 300), (12, 25, 50, 100)


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("teacher", type=Path)
    p.add_argument("text", type=Path)
    p.add_argument("students", type=Path, nargs="*")
    p.add_argument("--tokens", type=int, default=16384)
    p.add_argument("--ctx", type=int, default=256)
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args()


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()


def targets(p, random):
    """name, t, mean number of ids of a token"""
    yield "all", p, p.shape[-1]
    order = p.argsort(-1, descending=True)
    for k in TOPS:
        t = torch.zeros_like(p).scatter(-1, order[:, :k], p.gather(-1, order[:, :k]))
        yield f"top-{k}", t / t.sum(-1, keepdim=True), k
    for n in DRAWS:
        ids = torch.multinomial(p, n, replacement=True, generator=random)
        t = torch.zeros_like(p).scatter_add(-1, ids, torch.full(ids.shape, 1 / n))
        yield f"{n} draws", t, float((t > 0).sum(-1).float().mean())


class Sums:
    """The mean gradients of one student, by target."""

    def __init__(self):
        self.of, self.ids = {}, {}

    def add(self, name, gradient, ids, share):
        self.of[name] = self.of.get(name, 0) + gradient
        self.ids[name] = self.ids.get(name, 0) + ids * share

    def say(self, student):
        whole = self.of["all"].double()
        print(f"\n{student}\n{'':12} {'ids':>8} {'degrees':>8} {'norm':>8}")
        for name, g in self.of.items():
            g = g.double()
            cosine = float((g * whole).sum() / (g.norm() * whole.norm()))
            print(f"{name:12} {self.ids[name]:8.1f} {math.degrees(math.acos(min(1, cosine))):8.2f} {float(g.norm() / whole.norm()):8.3f}")


def add_student(sums, model, tokens, kept, share):
    z = model(tokens, use_cache=False).logits.flatten(0, 1)
    s, parameters = z.detach().softmax(-1), list(model.parameters())
    for name, t, ids in kept:
        gradient = torch.autograd.grad(z, parameters, (s - t) / len(z) * share, retain_graph=True)
        sums.add(name, torch.cat([g.flatten() for g in gradient]), ids, share)


def main():
    o = options()
    random = torch.Generator().manual_seed(o.seed)
    teacher, students = load(o.teacher), [load(d) for d in o.students]
    ids = Tokenizer.from_file(str(o.teacher / "tokenizer.json")).encode(o.text.read_text(), add_special_tokens=False).ids
    n = min(o.tokens, len(ids)) // (o.ctx * 8)
    batches = torch.tensor(ids[:n * o.ctx * 8]).view(n, 8, o.ctx)
    flat, plain = {k: Sums() for k in ("uniform, head", "unigram, head")}, [Sums() for _ in students]
    with torch.no_grad():
        unigram = sum(teacher(b, use_cache=False).logits.softmax(-1).mean((0, 1)) for b in batches) / n
    for b in batches:
        with torch.no_grad():
            out = teacher(b, use_cache=False, output_hidden_states=True)
            p, h = out.logits.flatten(0, 1).softmax(-1), out.hidden_states[-1].flatten(0, 1)
            kept = list(targets(p, random))
            for sums, s in zip(flat.values(), (torch.full_like(unigram, 1 / len(unigram)), unigram)):
                for name, t, count in kept:
                    sums.add(name, (s - t).T @ h / (len(p) * n), count, 1 / n)
        for sums, model in zip(plain, students):
            add_student(sums, model, b, kept, 1 / n)
    print(f"{n * o.ctx * 8} tokens")
    for name, sums in [*flat.items(), *((f"{d.name}, all parameters", s) for d, s in zip(o.students, plain))]:
        sums.say(name)


if __name__ == "__main__":
    main()
