/* kept_state.c - see kept_state.h. */
#include "model/kept_state.h"

#include "base/alloc.h"
#include "formats/ckpt/fingerprint.h"

#include <inttypes.h>

/* Whether the policy uses what came after the first kept states, whose ids must stay. */
static bool is_newer(const bl_router_policy *p)
{
    return p->ungrouped || p->skipped || p->variant;
}

/* A policy without its variants, so that no two have the same bytes. */
static void add_policy(bl_hasher *hasher, const bl_router_policy *p, uint32_t n_experts)
{
    const uint32_t fields[5] = { p->experts_per_token, p->ungrouped, p->skipped,
                                 p->disabled != NULL, p->variant ? p->n_variants : 0 };

    bl_hasher_add(hasher, fields, sizeof(fields));
    if (p->disabled)
        bl_hasher_add(hasher, p->disabled, n_experts * sizeof(bool));
}

/* All of every layer's policy, if one is newer. */
static void add_newer(bl_hasher *hasher, const bl_router_policy *policy, const bl_config *c)
{
    /* neither 0 and 1 nor a number of experts: the policies before it end here */
    static const char mark[16] = "side by side";
    bool newer = false;

    for (uint32_t layer = 0; layer < c->n_layers; layer++)
        newer = newer || is_newer(&policy[layer]);
    if (!newer)
        return;
    bl_hasher_add(hasher, mark, sizeof(mark));
    for (uint32_t layer = 0; layer < c->n_layers; layer++) {
        const bl_router_policy *p = &policy[layer];

        add_policy(hasher, p, c->n_experts);
        for (uint32_t i = 0; p->variant && i < p->n_variants; i++)
            add_policy(hasher, &p->variant[i], c->n_experts);
    }
}

bl_status bl_run_id(bl_hash128 *out, const bl_weights *weights, const bl_router_policy *policy,
                    struct bl_err *err)
{
    const bl_config *c = weights->network->config;
    bl_hash128 model;
    bl_hasher *hasher = NULL;
    bl_status rc = bl_container_fingerprint(&model, bl_ckpt_container(weights->ckpt), err);

    if (rc == BL_OK)
        rc = bl_hasher_new(&hasher, err);
    if (rc != BL_OK)
        return rc;
    bl_hasher_add(hasher, (uint64_t[2]){ model.low, model.high }, 16);
    for (uint32_t layer = 0; policy && layer < c->n_layers; layer++) {
        bl_hasher_add(hasher, &policy[layer].experts_per_token, sizeof(uint32_t));
        if (policy[layer].disabled)
            bl_hasher_add(hasher, policy[layer].disabled, c->n_experts * sizeof(bool));
    }
    if (policy)
        add_newer(hasher, policy, c);
    *out = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    return BL_OK;
}

static bl_hash128 hash_tokens(const int32_t *tokens, size_t n)
{
    return bl_hash128_of(tokens, n * sizeof(*tokens));
}

/* The file's state, which must be of this run. */
static bl_status load(bl_state *out, const char *path, bl_hash128 tokens, const bl_run *run,
                      struct bl_err *err)
{
    bl_source *source = NULL;
    bl_state s = { 0 };
    bl_status rc = bl_source_open(&source, path, err);

    if (rc == BL_OK)
        rc = bl_state_load(&s, source, run->room, err);
    bl_source_close(source);
    if (rc == BL_OK &&
        (!bl_hash128_equal(s.run_id, run->id) ||
         !bl_hash128_equal(hash_tokens(s.token, s.n_tokens), tokens) || s.n_seqs != run->n_seqs ||
         s.hidden_size != run->weights->network->config->hidden_size))
        rc = bl_fail(err, BL_E_FORMAT, "%s: the state of another model or text", path);
    s.start = run->start;
    if (rc == BL_OK)
        *out = s;
    else
        bl_state_release(&s);
    return rc;
}

bl_status bl_run_begin(bl_state *out, const bl_run *run, struct bl_err *err)
{
    bl_state s = { 0 };
    bl_status rc = bl_state_init(&s, run->tokens, run->n_seqs, run->n_positions,
                                 run->weights->network->config->hidden_size, run->room, err);

    s.run_id = run->id;
    s.start = run->start;
    if (rc == BL_OK)
        rc = bl_embed(&s, run->weights, err);
    if (rc == BL_OK)
        *out = s;
    else
        bl_state_release(&s);
    return rc;
}

bl_status bl_state_keep(const bl_state *state, const char *path, struct bl_err *err)
{
    bl_sink *sink = NULL;
    bl_status rc = bl_sink_begin(&sink, path, true, err);

    if (rc == BL_OK)
        rc = bl_state_save(state, sink, err);
    if (rc == BL_OK)
        rc = bl_sink_commit(&sink, err);
    bl_sink_abort(&sink);
    return rc;
}

/* A run from the start, kept at `path`. */
static bl_status begin_kept(bl_state *out, const bl_run *run, const char *path, struct bl_err *err)
{
    bl_status rc = bl_run_begin(out, run, err);

    if (rc != BL_OK)
        return rc;
    rc = bl_state_keep(out, path, err);
    if (rc != BL_OK)
        bl_state_release(out);
    return rc;
}

bl_status bl_kept_state_begin(bl_state *out, char **path, const bl_run *run,
                              const bl_kept_state *kept, struct bl_err *err)
{
    bl_hash128 tokens = hash_tokens(run->tokens, (size_t)run->n_seqs * run->n_positions);
    char *name = bl_format("%s/baleen-%016" PRIx64 "%016" PRIx64 ".state", kept->folder,
                           run->id.low ^ tokens.low, run->id.high ^ tokens.high);
    bl_status rc;

    if (!name)
        return bl_fail_nomem(err, "the name of a kept state");
    if (kept->force || !bl_source_exists(name))
        rc = begin_kept(out, run, name, err);
    else if (kept->resume)
        rc = load(out, name, tokens, run, err);
    else
        rc = bl_fail(err, BL_E_USAGE,
                     "%s is there, from a run that was cut off: --resume goes on from it, --force "
                     "begins again",
                     name);
    if (rc == BL_OK)
        *path = name;
    else
        bl_free(name);
    return rc;
}
