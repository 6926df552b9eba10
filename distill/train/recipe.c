/* recipe.c - a training's options as text, and what differs between two. */
#include "distill/train/recipe.h"

#include "formats/json/json.h"
#include "formats/json/json_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *bl_recipe_loss_name(const bl_distill_loss *loss)
{
    static const char *const name[] = { "fkl", "rkl", "jsd" };

    return loss->kd > 0 ? name[loss->kind] : "ce";
}

void bl_recipe_hash_text(char out[33], bl_hash128 hash)
{
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

static void put_hash(bl_json_writer *w, const char *key, bl_hash128 hash)
{
    char text[33];

    bl_recipe_hash_text(text, hash);
    if (hash.low == 0 && hash.high == 0)
        bl_json_pair_string(w, key, NULL);
    else
        bl_json_pair_string(w, key, text);
}

/* Every bit of it, unlike the writer's own numbers. */
static void put_exact(bl_json_writer *w, const char *key, double value)
{
    char text[32];

    snprintf(text, sizeof(text), "%.15g", value);
    bl_json_put_key(w, key);
    bl_json_put_raw(w, text);
}

static void put_teacher(bl_json_writer *w, const bl_cache_info *c)
{
    bl_json_pair_string(w, "teacher", c->name);
    put_hash(w, "teacher hash", c->model);
    bl_json_pair_string(w, "cache", bl_cache_kind_name(c->kind));
    bl_json_pair_u64(w, "cache draws", c->n_draws);
    bl_json_pair_u64(w, "cache top", c->n_top);
    bl_json_pair_u64(w, "cache seed", c->seed);
    put_hash(w, "cache packing", c->packing);
}

bl_status bl_recipe_text(bl_text *out, const bl_recipe *r, struct bl_err *err)
{
    const bl_schedule *s = &r->schedule;
    bl_json_writer w = { .text = out, .compact = true };

    bl_json_begin_object(&w);
    put_hash(&w, "student", r->student);
    put_teacher(&w, &r->cache);
    bl_json_pair_string(&w, "--loss", bl_recipe_loss_name(&r->loss));
    put_exact(&w, "--beta", r->loss.beta);
    put_exact(&w, "--ce", r->loss.ce);
    put_exact(&w, "--temperature", r->loss.temperature);
    bl_json_pair_bool(&w, "--bucket", r->loss.bucket);
    bl_json_pair_u64(&w, "--steps", s->n_steps);
    bl_json_pair_u64(&w, "--batch", r->batch);
    bl_json_pair_u64(&w, "--accumulate", r->accumulate);
    put_exact(&w, "--lr", s->lr);
    put_exact(&w, "--min-lr", s->floor);
    bl_json_pair_string(&w, "--schedule", bl_schedule_kind_name(s->kind));
    bl_json_pair_u64(&w, "--warmup", s->n_warmup);
    put_exact(&w, "--decay", s->decay);
    put_exact(&w, "--beta1", r->beta1);
    put_exact(&w, "--beta2", r->beta2);
    put_exact(&w, "--eps", r->eps);
    put_exact(&w, "--weight-decay", r->weight_decay);
    put_exact(&w, "--clip", r->clip);
    bl_json_pair_u64(&w, "--seed", r->seed);
    bl_json_pair_string(&w, "--weights", r->bf16 ? "bf16" : "f32");
    bl_json_pair_u64(&w, "--eval-every", r->eval_every);
    put_hash(&w, "--eval", r->eval_text);
    bl_json_end_object(&w);
    return bl_text_check(out, err);
}

/* A member's value as it stands in the text: up to the comma or brace behind it. */
static void copy_value(char out[64], const char *text, const char *key)
{
    char quoted[72];
    const char *at, *end;

    snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    at = strstr(text, quoted);
    if (!at) {
        snprintf(out, 64, "nothing");
        return;
    }
    at += strlen(quoted);
    end = at + strcspn(at, ",}");
    snprintf(out, 64, "%.*s", (int)(end - at), at);
}

/* The first member of one whose text is not that of the other. */
static bool find_difference(char key[64], const char *kept, const char *ours, struct bl_err *err)
{
    bl_json *json = NULL;
    bool found = false;

    if (bl_json_parse(&json, "recipe", ours, strlen(ours), 0, err) != BL_OK)
        return false;
    for (const bl_json_value *m = bl_json_first(bl_json_root(json)); m && !found;
         m = bl_json_next(m)) {
        char a[64], b[64];

        snprintf(key, 64, "%s", bl_json_key(m));
        copy_value(a, kept, key);
        copy_value(b, ours, key);
        found = strcmp(a, b) != 0;
    }
    bl_json_free(json);
    return found;
}

bl_status bl_recipe_compare(const char *file, const char *kept, const char *ours,
                            struct bl_err *err)
{
    char key[64], theirs[64], mine[64];

    if (strcmp(kept, ours) == 0)
        return BL_OK;
    if (!find_difference(key, kept, ours, err))
        return bl_fail(err, BL_E_USAGE, "%s: is of another training", file);
    copy_value(theirs, kept, key);
    copy_value(mine, ours, key);
    return bl_fail(
        err, BL_E_USAGE,
        "%s: is of a training with another recipe: %s was %s and is now %s; give what it "
        "had, or start anew with --force",
        file, key, theirs, mine);
}
