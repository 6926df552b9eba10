"""Models of a few hundred numbers, for the fuzz target that follows a GGUF file into its tensors.

    python tests/oracle/make_gguf_model_corpus.py tests/fuzz/corpus/gguf_model

Needs numpy and gguf 0.19. grouped: biases, rotary divisors, tied head. latent: latent attention in
halves, experts with a router bias. whole: the same with attn_kv_b. Small, so that most mutations
change something that is read.
"""
import os
import sys

import gguf
import numpy as np

rng = np.random.default_rng(5)


def write(name, arch, numbers, floats, tensors):
    os.makedirs(sys.argv[1], exist_ok=True)
    w = gguf.GGUFWriter(f"{sys.argv[1]}/{name}", arch)
    for key, value in numbers.items():
        w.add_uint32(f"{arch}.{key}", value)
    for key, value in floats.items():
        w.add_float32(f"{arch}.{key}", value)
    for tensor, shape in tensors.items():
        w.add_tensor(tensor, rng.uniform(0.5, 1, shape).astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


common = {"block_count": 1, "context_length": 8, "embedding_length": 4, "feed_forward_length": 2,
          "vocab_size": 3, "attention.head_count": 2}
eps = {"attention.layer_norm_rms_epsilon": 1e-5}
once = {"token_embd.weight": (3, 4), "output_norm.weight": (4,), "blk.0.attn_norm.weight": (4,),
        "blk.0.ffn_norm.weight": (4,)}
grouped = {"blk.0.ffn_gate.weight": (2, 4), "blk.0.ffn_up.weight": (2, 4),
           "blk.0.ffn_down.weight": (4, 2), "rope_freqs.weight": (2,)}
for part, rows in (("q", 8), ("k", 4), ("v", 4)):
    grouped |= {f"blk.0.attn_{part}.weight": (rows, 4), f"blk.0.attn_{part}.bias": (rows,)}
grouped["blk.0.attn_output.weight"] = (4, 8)
write("grouped", "llama", common | {"attention.head_count_kv": 1, "attention.key_length": 4,
                                    "attention.value_length": 4}, eps, once | grouped)

latent = {"output.weight": (3, 4), "blk.0.attn_q.weight": (8, 4), "blk.0.attn_kv_a_mqa.weight": (5, 4),
          "blk.0.attn_kv_a_norm.weight": (3,), "blk.0.attn_output.weight": (4, 6),
          "blk.0.ffn_gate_inp.weight": (4, 4), "blk.0.exp_probs_b.bias": (4,),
          "blk.0.ffn_gate_exps.weight": (4, 2, 4), "blk.0.ffn_up_exps.weight": (4, 2, 4),
          "blk.0.ffn_down_exps.weight": (4, 4, 2)}
experts = common | {"attention.kv_lora_rank": 3, "rope.dimension_count": 2, "expert_count": 4,
                    "expert_used_count": 2, "expert_feed_forward_length": 2, "expert_group_count": 2,
                    "expert_group_used_count": 1, "expert_gating_func": 2}
write("latent", "deepseek2", experts | {"attention.key_length_mla": 4, "attention.value_length_mla": 3},
      eps, once | latent | {"blk.0.attn_k_b.weight": (2, 3, 2), "blk.0.attn_v_b.weight": (2, 3, 3)})
write("whole", "deepseek2", experts | {"attention.key_length": 4, "attention.value_length": 3},
      eps, once | latent | {"blk.0.attn_kv_b.weight": (10, 3)})
