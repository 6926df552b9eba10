"""Log-likelihoods of multiple-choice items by independent code: tests/data/golden/choices.json.

    python tests/oracle/make_choices_golden.py tests/data

transformers computes nano-r1 in F32 on weights decoded here (its own FP8 reader is wrong on partial
blocks), one unpadded sequence a choice; the package `tokenizers` cuts the texts. Before anything is
written the logits are compared with golden/nano-r1.safetensors, and the rule for what is scored
(docs/numerics.md) with lm-evaluation-harness's: the prompt's trailing spaces go to the choice, the
prompt is tokenised alone, and what lies behind so many tokens of prompt + choice is scored.
Made with torch 2.15, transformers 5.23, tokenizers 0.23, numpy.
"""
import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, DeepseekV3ForCausalLM

sys.path.insert(0, str(Path(__file__).parent.parent / "interop"))
from checkpoint import Checkpoint  # noqa: E402
from transformers_int4 import stack  # noqa: E402


def load(directory):
    config = AutoConfig.from_pretrained(directory)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._attn_implementation = "eager"
    model = DeepseekV3ForCausalLM(config).float().eval()
    c = Checkpoint(directory)
    with torch.no_grad():
        for name, p in [*model.named_parameters(), *model.named_buffers()]:
            if "inv_freq" not in name:
                p.copy_(torch.from_numpy(stack(c, name).copy()))
    return model


def harness_context(tokenizer, bos, prompt, choice):
    """How many tokens of prompt + choice lm-evaluation-harness does not score."""
    n = len(prompt) - len(prompt.rstrip())
    return len([bos, *tokenizer.encode(prompt[: len(prompt) - n], add_special_tokens=False).ids])


def score(model, ids, context):
    with torch.no_grad():
        z = model(torch.tensor([ids[:-1]]), use_cache=False).logits[0].double()
    return torch.log_softmax(z, -1)[torch.arange(context - 1, len(ids) - 1), ids[context:]].sum().item()


def judge(model, tokenizer, bos, item):
    def encode(text):
        return [bos, *tokenizer.encode(text, add_special_tokens=False).ids]

    prompt = encode(item["prompt"])
    whole = [encode(item["prompt"] + c) for c in item["choices"]]
    context = 0
    while context < len(prompt) and all(w[context : context + 1] == [prompt[context]] for w in whole):
        context += 1
    same = all(harness_context(tokenizer, bos, item["prompt"], c) == context for c in item["choices"])
    return [score(model, w, context) for w in whole], same


def main(root):
    model = load(root / "nano-r1")
    golden = Checkpoint.of_file(root / "golden/nano-r1.safetensors")
    ids = torch.from_numpy(golden.raw("input_ids").copy()).long().reshape(1, -1)
    with torch.no_grad():
        error = (model(ids, use_cache=False).logits[0] - torch.from_numpy(golden.raw("logits").copy())).abs().max().item()
    assert error < 1e-4, error
    tokenizer = Tokenizer.from_file(str(root / "nano-r1/tokenizer.json"))
    bos = model.config.bos_token_id
    out, other = {}, []
    for line in (root / "choices/domain.jsonl").read_text().splitlines():
        item = json.loads(line)
        out[item["id"]], same = judge(model, tokenizer, bos, item)
        if not same:
            other.append(item["id"])
    text = ",\n".join(f"{json.dumps(k)}: {json.dumps([round(x, 6) for x in v])}" for k, v in out.items())
    (root / "golden/choices.json").write_text("{\n" + text + "\n}\n")
    print(f"logits differ by {error:.2e} from the golden file; items that the harness would cut elsewhere: {other}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
