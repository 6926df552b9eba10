/*
 * budget_room.h - what an inference engine holds in memory beside the file, for --fit. In bytes, for
 * llama.cpp with its defaults (512 tokens at a time, cache in F16, flash attention):
 *
 *     cache     2 * ctx * layers * (kv_lora + rope)           latent attention: keys hold values too
 *               2 * ctx * layers * 2 * kv_heads * head_dim    grouped-query attention
 *     compute   512 * (2 * ctx + 4 * max(vocab, layer))       the mask in F16; logits, or a layer:
 *               layer = 4 hidden + max(attention, feed)
 *               attention = heads * (2 kv_lora + 2 rope + nope + v)    or heads * 4 head_dim
 *               feed = max(3 * intermediate, chosen * (hidden + 3 * width) + 3 * shared width)
 *     program   64 MiB: code, vocabulary, the graph
 *
 * The cache is exact; `compute` is what llama.cpp reports or up to a half more (tests). An engine
 * without flash attention takes 4 * 512 * heads * ctx more.
 */
#ifndef BL_QUANTIZE_BUDGET_ROOM_H
#define BL_QUANTIZE_BUDGET_ROOM_H

#include "base/err.h"
#include "formats/arch/config.h"

typedef struct bl_engine_room {
    uint64_t cache, compute, program;
    uint64_t all;
} bl_engine_room;

/* For a context of ctx tokens. */
bl_engine_room bl_engine_room_of(const bl_config *config, uint32_t ctx);

/*
 * Bytes that a file may have to be run with so much memory. BL_E_USAGE when the rest alone does not
 * fit, saying what it is made of.
 */
BL_MUST_USE bl_status bl_engine_room_for_file(uint64_t *out, const bl_config *config, uint32_t ctx,
                                              uint64_t memory, struct bl_err *err);

#endif
