/* distill_train_recipe.c - options into a recipe; what does not fit together is refused with the reason. */
#include "cli/distill_train.h"

#include "distill/teach/pack.h"
#include "formats/ckpt/fingerprint.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MAX_SEQS = 1 << 16 };

#define MAX_STEPS 1e9

static bl_status check_numbers(const bl_train_command *c, struct bl_err *err)
{
    if (c->n_steps != BL_NOT_GIVEN && c->epochs >= 0)
        return bl_fail(err, BL_E_USAGE, "--steps and --epochs say the same: give one");
    if (c->n_steps == 0 || (c->n_steps != BL_NOT_GIVEN && (double)c->n_steps > MAX_STEPS) ||
        (c->epochs >= 0 && !(c->epochs > 0)))
        return bl_fail(err, BL_E_USAGE, "at least one step, and at most %.0f", MAX_STEPS);
    if (c->batch < 1 || c->batch > MAX_SEQS || c->accumulate < 1 || c->accumulate > MAX_SEQS)
        return bl_fail(err, BL_E_USAGE, "--batch and --accumulate are from 1 to %d", MAX_SEQS);
    if (!(c->lr > 0) || !isfinite(c->lr) || c->floor > c->lr)
        return bl_fail(err, BL_E_USAGE, "--lr is above 0, and --min-lr at most that");
    if (!(c->beta1 < 1) || !(c->beta2 < 1) || !(c->beta2 > 0) || !(c->eps > 0))
        return bl_fail(err, BL_E_USAGE,
                       "--beta1 and --beta2 are below 1, --beta2 and --eps above 0");
    if (c->ce > 1)
        return bl_fail(err, BL_E_USAGE, "--ce is from 0 to 1: the rest is the divergence's");
    if (!(c->beta > 0 && c->beta < 1))
        return bl_fail(err, BL_E_USAGE, "--beta is between 0 and 1");
    if (!(c->temperature > 0) || !isfinite(c->temperature))
        return bl_fail(err, BL_E_USAGE, "--temperature is above 0");
    if (c->decay > 1)
        return bl_fail(err, BL_E_USAGE, "--decay is a share of the steps: at most 1");
    return BL_OK;
}

bl_status bl_train_check_options(const bl_train_command *c, const char *input, struct bl_err *err)
{
    bl_status rc = check_numbers(c, err);

    if (rc != BL_OK)
        return rc;
    if (!c->cache)
        return bl_fail(err, BL_E_USAGE,
                       "--cache CACHE is missing: 'baleen distill teach' makes one");
    if (!c->output)
        return bl_fail(err, BL_E_USAGE, "-o OUT is missing");
    if (bl_cli_has_suffix(c->output, ".gguf") || bl_cli_has_suffix(c->output, ".bln"))
        return bl_fail(err, BL_E_USAGE,
                       "%s: a student is written as a folder; 'baleen convert' and 'quantize' make "
                       "others of it",
                       c->output);
    if (strcmp(c->weights, "f32") != 0 && strcmp(c->weights, "bf16") != 0)
        return bl_fail(err, BL_E_USAGE, "--weights is f32 or bf16, not '%s'", c->weights);
    if (strcmp(c->dtype, "f32") != 0 && strcmp(c->dtype, "bf16") != 0)
        return bl_fail(err, BL_E_USAGE, "--dtype is bf16 or f32, not '%s'", c->dtype);
    rc = bl_cli_check_output(c->output, input, err);
    if (rc == BL_OK)
        rc = bl_cli_check_output(c->output, c->cache, err);
    if (rc == BL_OK && c->eval)
        rc = bl_cli_check_output(c->output, c->eval, err);
    return rc;
}

static bl_status set_loss(bl_distill_loss *out, const bl_train_command *c, struct bl_err *err)
{
    static const struct {
        const char *name;
        bl_divergence kind;
    } known[] = { { "fkl", BL_FORWARD_KL }, { "rkl", BL_REVERSE_KL }, { "jsd", BL_JSD } };

    *out = (bl_distill_loss){ .kd = 1 - c->ce,
                              .ce = c->ce,
                              .beta = c->beta,
                              .temperature = c->temperature,
                              .bucket = c->bucket };
    if (strcmp(c->loss, "ce") == 0) {
        out->kd = 0;
        out->ce = 1;
        return BL_OK;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strcmp(known[i].name, c->loss) == 0) {
            out->kind = known[i].kind;
            return BL_OK;
        }
    return bl_fail(err, BL_E_USAGE, "--loss is fkl, rkl, jsd or ce, not '%s'", c->loss);
}

/* What a cache that is not of hidden states cannot give. */
static bl_status check_loss(const bl_train_command *c, const bl_cache_info *cache,
                            struct bl_err *err)
{
    const bl_distill_loss *l = &c->recipe.loss;
    const char *kind = bl_cache_kind_name(cache->kind);

    if (l->bucket && cache->kind != BL_CACHE_TOP_K)
        return bl_fail(err, BL_E_USAGE, "%s: --bucket is for a top-k cache; this one is %s",
                       c->cache, kind);
    if (cache->kind == BL_CACHE_HIDDEN || !(l->kd > 0))
        return BL_OK;
    if (l->kind != BL_FORWARD_KL)
        return bl_fail(
            err, BL_E_USAGE,
            "%s: --loss %s asks what the teacher says of every token, and a %s cache keeps "
            "some: use fkl, or a cache of --kind hidden",
            c->cache, c->loss, kind);
    if (l->temperature < 1 || l->temperature > 1)
        return bl_fail(
            err, BL_E_USAGE,
            "%s: a %s cache has the teacher's distribution at temperature 1 only; another "
            "--temperature wants a cache of --kind hidden",
            c->cache, kind);
    return BL_OK;
}

bl_status bl_train_check_tokenizer(const bl_train_command *c, const bl_cache_info *cache,
                                   struct bl_err *err)
{
    const bl_config *config = bl_ckpt_config(c->student);
    bl_hash128 hash;
    bl_status rc = bl_pack_tokenizer_hash(&hash, c->student, err);

    if (rc == BL_OK && !bl_hash128_equal(hash, cache->tokenizer))
        rc = bl_fail(err, BL_E_USAGE,
                     "%s: its tokenizer is not that of the teacher in %s: ids would mean other "
                     "tokens; a student with the teacher's vocabulary is needed",
                     bl_ckpt_path(c->student), c->cache);
    if (rc == BL_OK && config->vocab_size != cache->vocab_size)
        rc =
            bl_fail(err, BL_E_USAGE,
                    "%s: has a vocabulary of %" PRIu32 " tokens, the teacher in %s one of %" PRIu32,
                    bl_ckpt_path(c->student), config->vocab_size, c->cache, cache->vocab_size);
    return rc;
}

static uint64_t count_steps(const bl_train_command *c, const bl_cache_info *cache)
{
    const double epochs = c->epochs >= 0 ? c->epochs : 1;
    const double steps = ceil(epochs * cache->n_seqs / ((double)c->batch * (double)c->accumulate));

    return c->n_steps != BL_NOT_GIVEN ? c->n_steps : (uint64_t)fmin(fmax(steps, 1), MAX_STEPS);
}

bl_status bl_train_set_recipe(bl_train_command *c, const bl_cache_info *cache, struct bl_err *err)
{
    bl_recipe *r = &c->recipe;
    bl_schedule *s = &r->schedule;
    bl_status rc;

    *r = (bl_recipe){ .beta1 = c->beta1,
                      .beta2 = c->beta2,
                      .eps = c->eps,
                      .weight_decay = c->weight_decay,
                      .clip = c->clip,
                      .batch = (uint32_t)c->batch,
                      .accumulate = (uint32_t)c->accumulate,
                      .seed = c->seed,
                      .bf16 = c->weights[0] == 'b',
                      .eval_every = c->eval ? c->eval_every : 0,
                      .cache = *cache,
                      .eval_text = c->eval_pack.packing };
    s->n_steps = count_steps(c, cache);
    s->lr = c->lr;
    s->floor = c->floor >= 0 ? c->floor : c->lr / 10;
    s->decay = c->decay;
    s->n_warmup = c->n_warmup != BL_NOT_GIVEN ? c->n_warmup : (s->n_steps * 3 + 99) / 100;
    if (!bl_schedule_kind_by_name(&s->kind, c->schedule))
        return bl_fail(err, BL_E_USAGE, "--schedule is cosine, wsd or constant, not '%s'",
                       c->schedule);
    rc = set_loss(&r->loss, c, err);
    if (rc == BL_OK)
        rc = check_loss(c, cache, err);
    if (rc == BL_OK)
        rc = bl_container_fingerprint(&r->student, bl_ckpt_container(c->student), err);
    return rc;
}
