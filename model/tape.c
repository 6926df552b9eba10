/* tape.c - see tape.h: one block of memory, cut up. */
#include "model/tape.h"

#include "base/alloc.h"

/* Sizes of all parts in floats a token, in the order of the struct. */
enum { N_PARTS = 15 };

static void find_sizes(size_t size[N_PARTS], const bl_network *net)
{
    const bl_config *c = net->config;
    const size_t hidden = c->hidden_size, width = c->intermediate_size, heads = net->n_heads;
    const size_t latent = net->mla ? (size_t)c->kv_lora_rank + net->rope_dim : 0;
    const size_t kv = net->n_kv_heads;
    const size_t sizes[N_PARTS] = {
        hidden,
        hidden,
        net->mla ? c->q_lora_rank : 0,
        net->mla ? c->q_lora_rank : 0,
        latent,
        latent,
        heads * net->qk_dim,
        net->mla ? heads * ((size_t)c->qk_nope_head_dim + net->v_dim) : kv * net->qk_dim,
        net->mla ? 0 : kv * net->v_dim,
        heads * net->v_dim,
        hidden,
        hidden,
        width,
        width,
        width,
    };

    for (size_t i = 0; i < N_PARTS; i++)
        size[i] = sizes[i];
}

size_t bl_tape_floats(const bl_network *network)
{
    size_t size[N_PARTS], sum = 0;

    find_sizes(size, network);
    for (size_t i = 0; i < N_PARTS; i++)
        sum += size[i];
    return sum;
}

bl_status bl_tape_init(bl_tape *out, const bl_network *network, size_t n_tokens, size_t n_positions,
                       struct bl_err *err)
{
    bl_tape t = { .n_tokens = n_tokens };
    float **part[N_PARTS] = { &t.input,  &t.attention_x, &t.query_raw, &t.query, &t.latent_raw,
                              &t.latent, &t.q,           &t.k,         &t.v,     &t.heads,
                              &t.middle, &t.ffn_x,       &t.gate,      &t.up,    &t.inner };
    size_t size[N_PARTS];
    float *next;
    bl_status rc;

    find_sizes(size, network);
    rc = bl_rope_init(&t.rope, network->rope_dim, network->config->rope_interleaved,
                      network->inv_freq, network->rope_magnitude, n_positions, err);
    if (rc != BL_OK)
        return rc;
    next = t.memory = bl_alloc(n_tokens, bl_tape_floats(network) * sizeof(float));
    if (!next) {
        bl_tape_release(&t);
        return bl_fail_nomem(err, "activations of a layer");
    }
    for (size_t i = 0; i < N_PARTS; i++) {
        *part[i] = size[i] ? next : NULL;
        next += n_tokens * size[i];
    }
    *out = t;
    return BL_OK;
}

void bl_tape_release(bl_tape *tape)
{
    bl_rope_release(&tape->rope);
    bl_free(tape->memory);
    *tape = (bl_tape){ 0 };
}
