/* student_card.c - see student_card.h. */
#include "distill/train/student_card.h"

#include "base/alloc.h"
#include "formats/hf/hf_dir.h"
#include "formats/json/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* "owner/name", as hubs have it; anything else (a path) is nobody's business. */
static bool is_hub_name(const char *name)
{
    const char *slash = strchr(name, '/');
    const size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_./");

    return slash && slash != name && slash[1] != '\0' && !strchr(slash + 1, '/') &&
           name[n] == '\0' && name[0] != '.' && n < 200;
}

/* Where config.json says what the student began as. */
static bl_status put_base_model(bl_text *out, const bl_ckpt *source, struct bl_err *err)
{
    char *text = NULL;
    bl_json *json = NULL;
    const char *name;
    size_t n = 0;
    bl_status rc = bl_ckpt_side_file(source, BL_HF_CONFIG_NAME, &text, &n, err);

    if (rc == BL_OK && text)
        rc = bl_json_parse(&json, BL_HF_CONFIG_NAME, text, n, 0, err);
    if (rc == BL_OK && json) {
        name = bl_json_string(bl_json_get(bl_json_root(json), "_name_or_path"));
        if (name && is_hub_name(name))
            bl_text_printf(out, "base_model: %s\n", name);
    }
    bl_json_free(json);
    bl_free(text);
    return rc;
}

/* A name inside a table's cell. */
static void put_cell_name(bl_text *out, const char *name)
{
    for (; *name; name++) {
        const char c = *name;

        if (strchr("|\\`*_[]<>", c))
            bl_text_puts(out, "\\");
        bl_text_printf(out, "%c", (unsigned char)c < 32 ? '?' : c);
    }
}

static void put_cache(bl_text *out, const bl_cache_info *c)
{
    char model[33], packing[33];

    bl_recipe_hash_text(model, c->model);
    bl_recipe_hash_text(packing, c->packing);
    bl_text_puts(out, "| teacher | ");
    put_cell_name(out, c->name);
    bl_text_printf(out, ", `%s` |\n| its answers | ", model);
    bl_text_puts(out, bl_cache_kind_name(c->kind));
    if (c->n_top > 0)
        bl_text_printf(out, ", %" PRIu32 " likeliest", c->n_top);
    if (c->n_draws > 0)
        bl_text_printf(out, ", %" PRIu32 " draws, seed %" PRIu64, c->n_draws, c->seed);
    bl_text_printf(out, "; %" PRIu32 " sequences of %" PRIu32 " tokens, packing `%s` |\n",
                   c->n_seqs, c->n_positions, packing);
}

static void put_loss(bl_text *out, const bl_distill_loss *l)
{
    static const char *const name[] = { "forward KL", "reverse KL", "generalised JSD" };

    bl_text_puts(out, "| loss | ");
    if (l->kd > 0)
        bl_text_printf(out, "%g x %s", l->kd, name[l->kind]);
    if (l->kd > 0 && l->kind == BL_JSD)
        bl_text_printf(out, ", beta %g", l->beta);
    if (l->kd > 0 && (l->temperature < 1 || l->temperature > 1))
        bl_text_printf(out, ", temperature %g", l->temperature);
    if (l->kd > 0 && l->bucket)
        bl_text_puts(out, ", the other tokens as one entry");
    if (l->ce > 0)
        bl_text_printf(out, "%s%g x cross-entropy with the text", l->kd > 0 ? " + " : "", l->ce);
    bl_text_puts(out, " |\n");
}

static void put_recipe(bl_text *out, const bl_recipe *r)
{
    const bl_schedule *s = &r->schedule;

    put_loss(out, &r->loss);
    bl_text_printf(out,
                   "| optimizer | AdamW, betas %g and %g, epsilon %g, weight decay %g, gradients "
                   "clipped at norm %g%s |\n",
                   r->beta1, r->beta2, r->eps, r->weight_decay, r->clip,
                   r->clip > 0 ? "" : " (never)");
    bl_text_printf(out, "| learning rate | %g, warm-up of %" PRIu64 " steps, %s", s->lr,
                   s->n_warmup, bl_schedule_kind_name(s->kind));
    if (s->kind == BL_SCHEDULE_COSINE)
        bl_text_printf(out, " to %g", s->floor);
    if (s->kind == BL_SCHEDULE_WSD)
        bl_text_printf(out, ", decay to %g over the last %g %%", s->floor, 100 * s->decay);
    bl_text_printf(out,
                   " |\n| steps | %" PRIu64 ", each of %" PRIu32 " x %" PRIu32
                   " sequences; seed %" PRIu64 " |\n",
                   s->n_steps, r->accumulate, r->batch, r->seed);
    bl_text_printf(out, "| weights in training | %s, F32 arithmetic and moments |\n",
                   r->bf16 ? "BF16, stochastic rounding" : "F32");
}

static double first_eval(const bl_student_card *card)
{
    for (size_t i = 0; i < card->n_records; i++)
        if (!isnan(card->record[i].eval_ce))
            return card->record[i].eval_ce;
    return (double)NAN;
}

static double last_eval(const bl_student_card *card)
{
    for (size_t i = card->n_records; i > 0; i--)
        if (!isnan(card->record[i - 1].eval_ce))
            return card->record[i - 1].eval_ce;
    return (double)NAN;
}

static void put_numbers(bl_text *out, const bl_student_card *card)
{
    const bl_train_record *first = card->record, *last;

    if (card->n_records == 0)
        return;
    last = &card->record[card->n_records - 1];
    if (first->step == 0 && card->n_records > 1)
        first++;
    bl_text_puts(out, "\n## Numbers\n\nIn nats a token; losses are those of one step.\n\n"
                      "| | first step | last step |\n|---|---:|---:|\n");
    bl_text_printf(out, "| loss | %.4f | %.4f |\n", first->loss, last->loss);
    bl_text_printf(out, "| divergence from the teacher | %.4f | %.4f |\n", first->kd, last->kd);
    bl_text_printf(out, "| cross-entropy with the text | %.4f | %.4f |\n", first->ce, last->ce);
    if (!isnan(last_eval(card)))
        bl_text_printf(out,
                       "\nHeld-out text (packing `%016" PRIx64 "%016" PRIx64
                       "`): perplexity %.4f before, %.4f after.\n",
                       card->recipe->eval_text.high, card->recipe->eval_text.low,
                       exp(first_eval(card)), exp(last_eval(card)));
    bl_text_puts(out, "\nEvery step is in `train.jsonl`, drawn in `train.svg`.\n");
}

bl_status bl_student_card_write(bl_text *out, const bl_student_card *card, struct bl_err *err)
{
    const bl_recipe *r = card->recipe;
    const uint64_t n_tokens = card->n_records > 0 ? card->record[card->n_records - 1].n_tokens : 0;
    char student[33];
    bl_status rc;

    bl_recipe_hash_text(student, r->student);
    bl_text_puts(out, "---\nlibrary_name: transformers\n");
    rc = put_base_model(out, card->source, err);
    bl_text_puts(out, "tags:\n- distillation\n---\n\n# A student of ");
    put_cell_name(out, r->cache.name);
    bl_text_printf(out,
                   "\n\n%" PRIu64 " parameters, which learned from what the teacher says of every "
                   "next token of a text. Made by baleen " BL_VERSION ".\n\n## How it was "
                   "trained\n\n| | |\n|---|---|\n",
                   card->n_values);
    put_cache(out, &r->cache);
    bl_text_printf(out, "| began as | `%s` |\n", student);
    put_recipe(out, r);
    bl_text_printf(out, "| tokens learned from | %" PRIu64 " |\n", n_tokens);
    put_numbers(out, card);
    return rc == BL_OK ? bl_text_check(out, err) : rc;
}
