/* budget_room.c - see budget_room.h. Fields of a configuration are 32 bits, products fit in 64. */
#include "quantize/budget_room.h"

#include "base/size.h"

#include <inttypes.h>

enum { TOKENS = 512, PROGRAM = 64 << 20 };

static bool is_latent(const bl_config *c)
{
    return c->kv_lora_rank > 0;
}

/* Values that a layer keeps for each position. */
static uint64_t cached(const bl_config *c)
{
    if (is_latent(c))
        return (uint64_t)c->kv_lora_rank + c->qk_rope_head_dim;
    return 2 * (uint64_t)c->n_kv_heads * c->head_dim;
}

/* Values that exist for each token at the worst moment of a layer. */
static uint64_t layer_values(const bl_config *c)
{
    const uint64_t head = is_latent(c)
                              ? 2 * (uint64_t)c->kv_lora_rank + 2 * (uint64_t)c->qk_rope_head_dim +
                                    c->qk_nope_head_dim + c->v_head_dim
                              : 4 * (uint64_t)c->head_dim;
    const uint64_t width = c->moe_intermediate_size;
    uint64_t feed = 3 * (uint64_t)c->intermediate_size;

    if (c->n_experts > 0)
        feed = bl_max_u64(feed, c->n_experts_used * (c->hidden_size + 3 * width) +
                                    3 * width * c->n_shared_experts);
    return 4 * (uint64_t)c->hidden_size + bl_max_u64(c->n_heads * head, feed);
}

bl_engine_room bl_engine_room_of(const bl_config *config, uint32_t ctx)
{
    const uint64_t values = bl_max_u64(config->vocab_size, layer_values(config));
    bl_engine_room room = { .cache = 2 * (uint64_t)ctx * config->n_layers * cached(config),
                            .compute = TOKENS * (2 * (uint64_t)ctx + 4 * values),
                            .program = PROGRAM };

    room.all = room.cache + room.compute + room.program;
    return room;
}

bl_status bl_engine_room_for_file(uint64_t *out, const bl_config *config, uint32_t ctx,
                                  uint64_t memory, struct bl_err *err)
{
    const bl_engine_room room = bl_engine_room_of(config, ctx);

    if (room.all >= memory)
        return bl_fail(err, BL_E_USAGE,
                       "a context of %u tokens needs %" PRIu64 " bytes of cache, %" PRIu64
                       " to compute and %" PRIu64 " for the program: nothing is left of %" PRIu64,
                       ctx, room.cache, room.compute, room.program, memory);
    *out = memory - room.all;
    return BL_OK;
}
