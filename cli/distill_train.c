/*
 * distill_train.c - a student learns from a teacher's cache: what is asked for (distill_train_recipe.c),
 * the loop run (distill/train/trainer.h), and the folder written.
 */
#include "cli/distill_train.h"

#include "base/alloc.h"
#include "base/sink.h"
#include "cli/distill_commands.h"
#include "distill/train/student_card.h"
#include "distill/train/student_folder.h"
#include "distill/train/train_log.h"
#include "distill/train/trainer.h"
#include "formats/logits/cache_reader.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { MAX_OPTIONS = 64 };

#define BESIDE_WEIGHTS 1e8 /* bytes: tokenizer, log, card */

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
                                          c->eval_tokens == BL_NOT_GIVEN ? 0 : c->eval_tokens };

    return bl_pack_text(&c->eval_pack, c->student, c->eval, &options, err);
}

static bl_status run(bl_train_command *c, const char *path, struct bl_err *err)
{
    bl_ckpt *student = NULL;
    bl_cache *cache = NULL;
    bl_status rc = bl_train_check_options(c, path, err);

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
        rc = bl_train_check_tokenizer(c, bl_cache_info_of(cache), err);
    if (rc == BL_OK && c->eval)
        rc = open_eval(c, bl_cache_info_of(cache), err);
    if (rc == BL_OK)
        rc = bl_train_set_recipe(c, bl_cache_info_of(cache), err);
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
                               .n_steps = BL_NOT_GIVEN,
                               .batch = 8,
                               .accumulate = 1,
                               .n_warmup = BL_NOT_GIVEN,
                               .seed = 1,
                               .eval_every = 100,
                               .eval_tokens = BL_NOT_GIVEN,
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
