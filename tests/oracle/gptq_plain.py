#!/usr/bin/env python3
"""Plain GPTQ as published (arXiv 2210.17323), to an int4 folder: what `baleen quantize --type int4` is measured against.

  gptq_plain.py MODEL RTN OUT --text FILE [--tokens N] [--scales group|static] [--order] [--sequential]

RTN is the folder of `baleen quantize MODEL -o RTN --type int4 --method plain`: OUT is that folder with the codes and scales of
the same matrices replaced, so neither which matrices are int4 nor a byte of size differs. With the defaults of AutoGPTQ and
llm-compressor: symmetric scale = amax / 7.5 for each row and 128 columns, in BF16; blocks of 128 columns; damping 0.01 of the
mean diagonal of H = X^T X; columns that no input moved become 0; an expert's H from the tokens that the router sends it, and an
expert without tokens is rounded to nearest. Inputs come from transformers' own forward pass over the dequantized weights in F32,
in sequences of 512 tokens that each begin with BOS; the arithmetic of GPTQ is in F64.

  --scales group    the scale of a group from its weights as the columns before it have changed them (AutoGPTQ); default
  --scales static   from the weights as they were (llm-compressor; AutoGPTQ's static_groups)
  --order           columns in descending order of diag H; needs static scales, since the layout has no index of groups
  --sequential      a layer's inputs come from the quantized layers before it (both tools do that); otherwise from the original.
                    Within a layer they are the original's, as in llm-compressor
"""
import argparse
import shutil
import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "interop"))
from checkpoint import Checkpoint, chunks, decode_int4, pack_int4, write_safetensors  # noqa: E402
from transformers_int4 import plain_model  # noqa: E402

GROUP, BLOCK, DAMPING, SEQUENCES = 128, 128, 0.01, 8


def scale_of(w):
    """[rows] of w[rows][GROUP], BF16; 2^-23 for a group of zeros, as compressed-tensors does."""
    scale = (w.abs().amax(1) / 7.5).to(torch.bfloat16)
    return torch.where(scale == 0, torch.tensor(2.0**-23, dtype=torch.bfloat16), scale)


def nearest(w, scale):
    return torch.clamp(torch.round(w / scale), -8, 7)


def static_scales(w):
    return torch.stack([scale_of(w[:, g : g + GROUP]) for g in range(0, w.shape[1], GROUP)], 1)


def rtn(w):
    scales = static_scales(w)
    return nearest(w, scales.double().repeat_interleave(GROUP, 1)), scales


def gptq(w, h, how):
    """Codes [rows][cols] and scales [rows][cols / GROUP] of w, both F64 in; algorithm 1."""
    w, h, n = w.clone(), h.clone(), w.shape[1]
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1
    w[:, dead] = 0
    scales = static_scales(w)
    order = torch.argsort(h.diagonal(), descending=True, stable=True) if how.order else torch.arange(n)
    column_scale = scales.double().repeat_interleave(GROUP, 1)[:, order]
    w, h = w[:, order], h[order][:, order]
    h.diagonal().add_(DAMPING * h.diagonal().mean())
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    codes = torch.empty_like(w)
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        errors = torch.empty(w.shape[0], end - begin, dtype=w.dtype)
        for i in range(begin, end):
            if how.scales == "group" and i % GROUP == 0:
                scales[:, i // GROUP] = scale_of(w[:, i : i + GROUP])
                column_scale[:, i : i + GROUP] = scales[:, i // GROUP : i // GROUP + 1].double()
            codes[:, i] = nearest(w[:, i], column_scale[:, i])
            errors[:, i - begin] = (w[:, i] - codes[:, i] * column_scale[:, i]) / u[i, i]
            w[:, i:end] -= torch.outer(errors[:, i - begin], u[i, i:end])
        w[:, end:] -= errors @ u[begin:end, end:]
    back = torch.empty_like(codes)
    back[:, order] = codes
    return back, scales


class Moments:
    """X^T X of every input of one layer, by the names of the matrices that meet it."""

    def __init__(self, layer, prefix):
        self.h, self.hooks, self.prefix, self.experts = {}, [], prefix, None
        for name, module in layer.named_modules():
            if isinstance(module, torch.nn.Linear):
                self.hooks.append(module.register_forward_pre_hook(lambda _, x, name=name: self.add(name, x[0])))
            elif name == "mlp.experts":
                self.experts = module
                module.forward = self.run_experts

    def add(self, name, x):
        x = x.reshape(-1, x.shape[-1])
        have = self.h.setdefault(f"{self.prefix}{name}.weight", torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64))
        have += (x.T @ x).double()

    def run_experts(self, x, index, weight):
        """The routed experts one by one, each on its own tokens."""
        out = torch.zeros_like(x)
        for e in range(self.experts.gate_up_proj.shape[0]):
            token, place = torch.where(index == e)
            if token.numel() == 0:
                continue
            gate, up = (x[token] @ self.experts.gate_up_proj[e].T).chunk(2, -1)
            inner = torch.nn.functional.silu(gate) * up
            self.add(f"mlp.experts.{e}.gate_proj", x[token])
            self.add(f"mlp.experts.{e}.up_proj", x[token])
            self.add(f"mlp.experts.{e}.down_proj", inner)
            out.index_add_(0, token, inner @ self.experts.down_proj[e].T * weight[token, place, None].to(x.dtype))
        return out

    def close(self):
        for hook in self.hooks:
            hook.remove()


def put_weight(model, name, w):
    """One matrix into the model, where transformers holds it."""
    stem, kind = name.removesuffix(".weight").rsplit(".", 1)
    if ".mlp.experts." not in name:
        model.get_parameter(name).data.copy_(w)
        return
    stem, e = stem.rsplit(".", 1)
    stacked = model.get_parameter(f"{stem}.{'down_proj' if kind == 'down_proj' else 'gate_up_proj'}")[int(e)]
    rows = slice(w.shape[0], None) if kind == "up_proj" else slice(0, w.shape[0])
    stacked.data[rows].copy_(w)


class Batches:
    """The text before the first layer, and a layer's other arguments."""

    def __init__(self, model, ids):
        self.state, self.kwargs = [], []
        hook = model.model.layers[0].register_forward_pre_hook(self.catch, with_kwargs=True)
        for i in range(0, len(ids), SEQUENCES):
            try:
                model.model(torch.from_numpy(ids[i : i + SEQUENCES]), use_cache=False)
            except StopIteration:
                pass
        hook.remove()

    def catch(self, _, args, kwargs):
        self.state.append(args[0])
        self.kwargs.append(kwargs)
        raise StopIteration

    def through(self, layer):
        return [layer(x, **k) for x, k in zip(self.state, self.kwargs)]


def sequences(source, text, n_tokens):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source.dir / "tokenizer.json"))
    bos = source.config["bos_token_id"]
    return chunks(([bos] + tokenizer.encode(Path(text).read_text(), add_special_tokens=False).ids)[:n_tokens], bos)


def quantize(source, names, ids, how):
    """{name: (codes, scales)} of the named matrices."""
    model, out = plain_model(source), {}
    batches = Batches(model, ids)
    for i, layer in enumerate(model.model.layers):
        moments = Moments(layer, f"model.layers.{i}.")
        after = batches.through(layer)
        moments.close()
        for name in (n for n in names if n.startswith(moments.prefix)):
            w = torch.from_numpy(source.f32(name)).double()
            out[name] = gptq(w, moments.h[name], how) if name in moments.h else rtn(w)
            if how.sequential:
                put_weight(model, name, torch.from_numpy(decode_int4(pack_int4(out[name][0].numpy()), *stored(out[name], w.shape))))
        batches.state = batches.through(layer) if how.sequential else after
    return out


def stored(result, shape):
    """Scales as they lie in the file, and the shape."""
    return result[1].float().numpy().astype(ml_dtypes.bfloat16), np.array(shape, dtype=np.int64)


def write(rtn_dir, out, result):
    """The RTN folder with other codes and scales."""
    template = Checkpoint(rtn_dir)
    shutil.copytree(rtn_dir, out, dirs_exist_ok=True)
    for path in sorted(Path(rtn_dir).glob("*.safetensors")):
        tensors = {n: template.raw(n) for n, t in template.tensors.items() if t[2] == path}
        for name in tensors:
            stem, part = name.rsplit(".", 1)
            if part == "weight_packed":
                tensors[name] = pack_int4(result[stem + ".weight"][0].numpy())
            elif part == "weight_scale":
                tensors[name] = stored(result[stem + ".weight"], ())[0]
        (Path(out) / path.name).unlink()
        write_safetensors(Path(out) / path.name, tensors)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("rtn")
    p.add_argument("out")
    p.add_argument("--text", required=True)
    p.add_argument("--tokens", type=int)
    p.add_argument("--scales", choices=("group", "static"), default="group")
    p.add_argument("--order", action="store_true")
    p.add_argument("--sequential", action="store_true")
    o = p.parse_args()
    if o.order and o.scales != "static":
        p.error("--order needs --scales static")
    warnings.filterwarnings("ignore")
    source, template = Checkpoint(o.model), Checkpoint(o.rtn)
    names = [n.removesuffix("_packed") for n in template.tensors if n.endswith(".weight_packed")]
    with torch.no_grad():
        write(o.rtn, o.out, quantize(source, names, sequences(source, o.text, o.tokens), o))


if __name__ == "__main__":
    main()
