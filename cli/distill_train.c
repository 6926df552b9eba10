/*
 * distill_train.c - a student learns from a teacher's cache: options into a recipe, what does not fit
 * together refused, the loop run (distill/train/trainer.h), and the folder written.
 */
#include "cli/distill_train.h"

#include "base/alloc.h"
#include "base/sink.h"
#include "cli/distill_commands.h"
#include "distill/train/student_card.h"
#include "distill/train/student_folder.h"
#include "distill/train/train_log.h"
#include "distill/train/trainer.h"
#include "formats/ckpt/fingerprint.h"
#include "formats/logits/cache_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const uint64_t not_given = UINT64_MAX;

enum { MAX_SEQS = 1 << 16, MAX_OPTIONS = 64 };

#define MAX_STEPS      1e9
#define BESIDE_WEIGHTS 1e8 /* bytes: tokenizer, log, card */

static bl_status check_numbers(const bl_train_command *c, struct bl_err *err)
{
    if (c->n_steps != not_given && c->epochs >= 0)
        return bl_fail(err, BL_E_USAGE, "--steps and --epochs say the same: give one");
    if (c->n_steps == 0 || (c->n_steps != not_given && (double)c->n_steps > MAX_STEPS) ||
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

static bl_status check_options(const bl_train_command *c, const char *input, struct bl_err *err)
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

/* Ids must mean the same tokens. */
static bl_status check_tokenizer(const bl_train_command *c, const bl_cache_info *cache,
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

    return c->n_steps != not_given ? c->n_steps : (uint64_t)fmin(fmax(steps, 1), MAX_STEPS);
}

static bl_status set_recipe(bl_train_command *c, const bl_cache_info *cache, struct bl_err *err)
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
    s->n_warmup = c->n_warmup != not_given ? c->n_warmup : (s->n_steps * 3 + 99) / 100;
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

static bl_status read_seq(const void *context, bl_cache_seq *out, uint32_t seq, struct bl_err *err)
{
    return bl_cache_read(out, context, seq, err);
}

static bl_status read_head(void *context, float *out, uint64_t row, uint64_t n_rows,
                           struct bl_err *err)
{
    return bl_cache_read_head(out, context, row, n_rows, err);
}

static bl_status step(bl_step_sums *out, void *student, const bl_batch *batch,
                      const bl_distill_loss *loss, double scale, struct bl_err *err)
{
    return bl_student_step(out, student, batch, loss, scale, err);
}

/* The folder: weights, and what tells of them. */
static bl_status write_output(const bl_train_command *c, const bl_learner *learner,
                              uint64_t n_values, const bl_train_record *record, size_t n,
                              struct bl_err *err)
{
    const bl_student_card card = { &c->recipe, c->student, n_values, record, n };
    bl_text readme = { 0 }, log = { 0 }, chart = { 0 };
    bl_status rc = bl_student_card_write(&readme, &card, err);

    for (size_t i = 0; i < n; i++)
        bl_train_log_line(&log, &record[i], 0);
    if (rc == BL_OK)
        rc = bl_text_check(&log, err);
    if (rc == BL_OK)
        rc = bl_train_log_chart(&chart, record, n, err);
    if (rc == BL_OK) {
        const bl_side_text side[] = { { "README.md", readme.bytes, readme.n },
                                      { "train.jsonl", log.bytes, log.n },
                                      { "train.svg", chart.bytes, chart.n } };
        const bl_student_folder folder = { .source = c->student,
                                           .parameter = learner->parameter,
                                           .n_parameters = learner->n_parameters,
                                           .f32 = c->dtype[0] == 'f',
                                           .side = side,
                                           .n_side = 3,
                                           .shard_size = 5000000000 };

        rc = bl_student_folder_write(c->output, c->common.force, &folder, err);
    }
    bl_text_release(&readme);
    bl_text_release(&log);
    bl_text_release(&chart);
    return rc;
}

/* All steps, and what is left of them on the disk. */
static bl_status run_trainer(const bl_train_command *c, const bl_trainer_options *options,
                             uint64_t n_values, struct bl_err *err)
{
    bl_train_show *show = options->context;
    bl_trainer *trainer = NULL;
    const bl_train_record *record;
    size_t n;
    bl_status closed, rc = bl_trainer_new(&trainer, options, err);

    if (rc == BL_OK && bl_trainer_step(trainer) > 0 && !c->common.quiet)
        fprintf(stderr, "baleen: %s: goes on from step %" PRIu64 "\n", c->command->name,
                bl_trainer_step(trainer));
    if (rc == BL_OK)
        rc = bl_trainer_run(trainer, err);
    closed = bl_train_show_end(show, rc == BL_OK ? err : NULL);
    rc = rc == BL_OK ? closed : rc;
    if (rc == BL_OK) {
        record = bl_trainer_records(&n, trainer);
        rc = write_output(c, &options->learner, n_values, record, n, err);
    }
    if (rc == BL_OK)
        rc = bl_trainer_remove_checkpoints(c->checkpoint, err);
    if (rc == BL_OK)
        rc = bl_train_print_result(c, n_values, record, n, err);
    bl_trainer_free(trainer);
    return rc;
}

/* With the student in memory. */
static bl_status train_student(const bl_train_command *c, bl_student *student, bl_cache *cache,
                               struct bl_err *err)
{
    const size_t n = bl_student_n_parameters(student);
    bl_parameter **parameter = bl_alloc(n, sizeof(*parameter));
    bl_train_show show = { 0 };
    const bl_trainer_options options = { .recipe = c->recipe,
                                         .learner = { parameter, n, step, student },
                                         .source = { bl_cache_info_of(cache), read_seq, read_head,
                                                     cache },
                                         .eval = c->eval ? &c->eval_pack : NULL,
                                         .checkpoint = c->checkpoint,
                                         .save_every = c->save_every,
                                         .resume = c->common.resume,
                                         .force = c->common.force && !c->common.resume,
                                         .n_threads = (int)c->common.n_threads,
                                         .on_record = bl_train_show_record,
                                         .on_warning = bl_train_show_warning,
                                         .context = &show };
    bl_status rc = parameter ? BL_OK : bl_fail_nomem(err, "a student");

    for (size_t i = 0; parameter && i < n; i++)
        parameter[i] = bl_student_parameter(student, i);
    if (rc == BL_OK)
        rc = bl_train_show_begin(&show, c, err);
    if (rc == BL_OK)
        rc = run_trainer(c, &options, bl_student_n_values(student), err);
    bl_free(parameter);
    return rc;
}

/* What is known to fail at the end should fail now: the output's name, and the disk. */
static bl_status try_output(const bl_train_command *c, const bl_train_needs *needs,
                            struct bl_err *err)
{
    bl_outdir *dir = NULL;
    bl_status rc = bl_outdir_begin(&dir, c->output, c->common.force, err);

    bl_outdir_abort(&dir);
    if (rc == BL_OK && !c->common.no_space_check)
        rc = bl_space_check(
            c->output, 2 * needs->checkpoint + 4 * needs->n_values + (uint64_t)BESIDE_WEIGHTS, err);
    return rc;
}

static bl_status train(const bl_train_command *c, bl_cache *cache, struct bl_err *err)
{
    const bl_student_options options = { .n_threads = (int)c->common.n_threads,
                                         .bf16 = c->recipe.bf16,
                                         .recompute = c->recompute };
    bl_student *student = NULL;
    bl_train_needs needs;
    bl_status rc = bl_train_memory(&needs, c->student, &c->recipe, c->recompute,
                                   (int)c->common.n_threads, err);

    if (rc == BL_OK && c->common.dry_run)
        return bl_train_print_plan(c, &needs, err);
    if (rc == BL_OK)
        rc = try_output(c, &needs, err);
    bl_alloc_keep(); /* a step's activations are the next one's */
    if (rc == BL_OK)
        rc = bl_student_new(&student, c->student, &options, err);
    if (rc == BL_OK)
        rc = train_student(c, student, cache, err);
    bl_student_free(student);
    return rc;
}

/* Where checkpoints go: beside the output, "OUT.train.0" and ".1". */
static bl_status name_checkpoint(bl_train_command *c, struct bl_err *err)
{
    size_t n = strlen(c->output);

    while (n > 1 && c->output[n - 1] == '/')
        n--;
    c->checkpoint = bl_format("%.*s.train", (int)n, c->output);
    return c->checkpoint ? BL_OK : bl_fail_nomem(err, c->output);
}

static bl_status open_eval(bl_train_command *c, const bl_cache_info *cache, struct bl_err *err)
{
    const bl_pack_options options = { .n_positions = cache->n_positions,
                                      .max_tokens =
                                          c->eval_tokens == not_given ? 0 : c->eval_tokens };

    return bl_pack_text(&c->eval_pack, c->student, c->eval, &options, err);
}

static bl_status run(bl_train_command *c, const char *path, struct bl_err *err)
{
    bl_ckpt *student = NULL;
    bl_cache *cache = NULL;
    bl_status rc = check_options(c, path, err);

    if (rc == BL_OK)
        rc = bl_ckpt_open(&student, path, err);
    c->student = student;
    if (rc == BL_OK && !bl_ckpt_has_config(student))
        rc = bl_fail(err, BL_E_USAGE, "%s: without a configuration it cannot be trained", path);
    if (rc == BL_OK)
        rc = bl_student_folder_check(student, err);
    if (rc == BL_OK)
        rc = bl_cache_open(&cache, c->cache, err);
    if (rc == BL_OK)
        rc = check_tokenizer(c, bl_cache_info_of(cache), err);
    if (rc == BL_OK && c->eval)
        rc = open_eval(c, bl_cache_info_of(cache), err);
    if (rc == BL_OK)
        rc = set_recipe(c, bl_cache_info_of(cache), err);
    if (rc == BL_OK)
        rc = name_checkpoint(c, err);
    if (rc == BL_OK)
        rc = train(c, cache, err);
    bl_pack_release(&c->eval_pack);
    bl_free(c->checkpoint);
    bl_cache_close(cache);
    bl_ckpt_close(student);
    return rc;
}

static bl_train_command defaults(const bl_command *command)
{
    return (bl_train_command){ .command = command,
                               .loss = "fkl",
                               .schedule = "cosine",
                               .weights = "f32",
                               .dtype = "bf16",
                               .n_steps = not_given,
                               .batch = 8,
                               .accumulate = 1,
                               .n_warmup = not_given,
                               .seed = 1,
                               .eval_every = 100,
                               .eval_tokens = not_given,
                               .save_every = 200,
                               .epochs = -1,
                               .lr = 1e-3,
                               .floor = -1,
                               .decay = 0.1,
                               .beta = 0.5,
                               .temperature = 1,
                               .beta1 = 0.9,
                               .beta2 = 0.95,
                               .eps = 1e-8,
                               .weight_decay = 0.1,
                               .clip = 1 };
}

/* Rows behind those that are there. */
static void add_rows(bl_option *table, size_t *n, const bl_option *row, size_t n_rows)
{
    memcpy(table + *n, row, n_rows * sizeof(*row));
    *n += n_rows;
}

/* What decides the numbers. */
static void add_recipe_options(bl_option *table, size_t *n, bl_train_command *c)
{
    const bl_option row[] = {
        { "--cache", 0, BL_OPTION_STRING, &c->cache, "CACHE",
          "what a teacher said: distill teach" },
        { "--output", 'o', BL_OPTION_STRING, &c->output, "OUT", "the student, a folder" },
        { "--loss", 0, BL_OPTION_STRING, &c->loss, "NAME",
          "fkl (default), rkl, jsd (these of --kind hidden), or ce: the text alone" },
        { "--beta", 0, BL_OPTION_F64, &c->beta, "B", "of jsd (default 0.5)" },
        { "--ce", 0, BL_OPTION_F64, &c->ce, "W",
          "weight of the cross-entropy with the text; the divergence has 1 - W (default 0)" },
        { "--temperature", 0, BL_OPTION_F64, &c->temperature, "T", "of both (default 1)" },
        { "--bucket", 0, BL_OPTION_FLAG, &c->bucket, NULL,
          "top-k: the other tokens as one, in place of leaving them out" },
        { "--steps", 0, BL_OPTION_U64, &c->n_steps, "N", "of the optimizer" },
        { "--epochs", 0, BL_OPTION_F64, &c->epochs, "X", "times through the cache (default 1)" },
        { "--batch", 0, BL_OPTION_U64, &c->batch, "N", "sequences at a time (default 8)" },
        { "--accumulate", 0, BL_OPTION_U64, &c->accumulate, "N", "batches of a step (default 1)" },
        { "--lr", 0, BL_OPTION_F64, &c->lr, "X",
          "largest learning rate (default 1e-3; 1e-4 or less for a student that is good already)" },
        { "--min-lr", 0, BL_OPTION_F64, &c->floor, "X", "at the end (default a tenth of --lr)" },
        { "--schedule", 0, BL_OPTION_STRING, &c->schedule, "NAME",
          "cosine (default), wsd (level, then down), constant" },
        { "--warmup", 0, BL_OPTION_U64, &c->n_warmup, "N", "steps (default 3 % of all)" },
        { "--decay", 0, BL_OPTION_F64, &c->decay, "SHARE", "of wsd, of all steps (default 0.1)" },
        { "--beta1", 0, BL_OPTION_F64, &c->beta1, "X", "of AdamW (default 0.9)" },
        { "--beta2", 0, BL_OPTION_F64, &c->beta2, "X", "of AdamW (default 0.95)" },
        { "--eps", 0, BL_OPTION_F64, &c->eps, "X", "of AdamW (default 1e-8)" },
        { "--weight-decay", 0, BL_OPTION_F64, &c->weight_decay, "X", "of matrices (default 0.1)" },
        { "--clip", 0, BL_OPTION_F64, &c->clip, "X",
          "the gradient's norm, at most (default 1; 0: any)" },
        { "--seed", 0, BL_OPTION_U64, &c->seed, "S", "of the order of sequences (default 1)" },
    };

    add_rows(table, n, row, sizeof(row) / sizeof(*row));
}

static void add_other_options(bl_option *table, size_t *n, bl_train_command *c)
{
    const bl_option row[] = {
        { "--eval", 0, BL_OPTION_STRING, &c->eval, "FILE|DIR",
          "held-out text: its perplexity before, in between and after" },
        { "--eval-every", 0, BL_OPTION_U64, &c->eval_every, "N",
          "steps (default 100; 0: before and after)" },
        { "--eval-tokens", 0, BL_OPTION_U64, &c->eval_tokens, "N", "at most (default all)" },
        { "--save-every", 0, BL_OPTION_U64, &c->save_every, "N",
          "steps between checkpoints, OUT.train.0 and .1 (default 200)" },
        { "--weights", 0, BL_OPTION_STRING, &c->weights, "TYPE",
          "in training: f32 (default), bf16 (rounded stochastically)" },
        { "--recompute", 0, BL_OPTION_FLAG, &c->recompute, NULL,
          "run layers twice in place of keeping what they computed" },
        { "--dtype", 0, BL_OPTION_STRING, &c->dtype, "TYPE", "of OUT: bf16 (default), f32" },
        { "--log", 0, BL_OPTION_STRING, &c->log, "FILE", "a line of JSON for each step" },
        BL_OPTION_THREADS(c->common),
        BL_OPTION_FORCE(c->common),
        BL_OPTION_RESUME(c->common),
        { "--no-space-check", 0, BL_OPTION_FLAG, &c->common.no_space_check, NULL,
          "train even if the disk seems too small" },
        BL_OPTION_DRY_RUN(c->common),
        BL_OPTION_JSON(c->common),
        BL_OPTION_QUIET(c->common),
        BL_OPTION_PROGRESS(c->common),
        BL_OPTION_HELP(c->common),
        BL_OPTION_END,
    };

    add_rows(table, n, row, sizeof(row) / sizeof(*row));
}

int bl_cmd_distill_train(const bl_command *command, int argc, char **argv)
{
    bl_train_command c = defaults(command);
    bl_option table[MAX_OPTIONS];
    struct bl_err err = { 0 };
    const char *path;
    size_t n = 0;
    int early;

    add_recipe_options(table, &n, &c);
    add_other_options(table, &n, &c);
    assert(n <= MAX_OPTIONS);
    early = bl_cli_parse(&path, &n, 1, 1, command, table, &c.common, argc, argv);
    if (early != BL_CLI_RUN)
        return early;
    return bl_cli_finish(command, run(&c, path, &err), &err);
}
