/*
 * distill_init.c - where a student comes from: options, what is said, and the folder. What the student is made
 * of is distill/init/init.h's; it is written as any checkpoint is.
 */
#include "base/alloc.h"
#include "cli/convert_run.h"
#include "cli/distill_commands.h"
#include "cli/dry_run.h"
#include "convert/cast.h"
#include "convert/plan.h"
#include "distill/init/init.h"
#include "formats/hf/hf_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct options {
    bl_convert_options convert; /* command, common options, output */
    const char *from, *teacher, *tokenizer;
    bool random;
    bl_init_shape shape;
    const char *keep_layers, *stats, *method, *scale;
    uint64_t n_experts, seed;

    /* What was understood of them. */
    bl_prune_method prune;
    bl_init_scale by;
};

/* The models that a student is made of. */
struct models {
    bl_ckpt *from, *teacher, *tokenizer, *student;
    bl_stats *stats;
    uint32_t *layer;
};

static const bl_encoder *choose_cast(const void *cast, const bl_choice *choice)
{
    (void)choice;
    return cast;
}

static bl_status print_needs(const bl_convert_options *o, const bl_ckpt *student,
                             const bl_plan *plan, struct bl_err *err)
{
    bl_needs needs = { .disk_bytes = plan->n_bytes };
    bl_status rc = bl_needs_of_plan(&needs, plan, student, (int)o->common.n_threads, err);

    if (rc == BL_OK)
        rc = bl_hf_count_shards(&needs.n_files, plan->stored, plan->n_stored,
                                bl_convert_shard_size(o), err);
    needs.n_files += bl_ckpt_container(student)->n_side_files;
    return rc == BL_OK ? bl_cli_print_needs(&needs, o->output, &o->common, err) : rc;
}

/*
 * Shapes that llama.cpp does not load: it takes latent attention to have q_lora, but for 26 and 27 layers, which it
 * takes to have none; the family that has biases must have heads that add up to the residual stream.
 */
static void warn_of_shape(const struct options *o, const bl_config *c)
{
    const bool lite = c->n_layers == 26 || c->n_layers == 27;

    if (c->kv_lora_rank > 0 && lite != (c->q_lora_rank == 0))
        bl_cli_warn(o->convert.command, &o->convert.common,
                    "llama.cpp does not load %" PRIu32
                    " layers %s q_lora: only 26 and 27 have none",
                    c->n_layers, lite ? "with" : "without");
    if (c->qkv_bias && (uint64_t)c->n_heads * c->head_dim != c->hidden_size)
        bl_cli_warn(o->convert.command, &o->convert.common,
                    "llama.cpp does not load this family with %" PRIu32 " heads of %" PRIu32
                    " and hidden %" PRIu32,
                    c->n_heads, c->head_dim, c->hidden_size);
}

/* Write it, and print what is to be said. */
static bl_status write_student(const struct options *o, bl_text *said, const bl_ckpt *student,
                               struct bl_err *err)
{
    const bl_convert_options *c = &o->convert;
    const bl_encoder *cast = bl_cast_encoder_by_name(c->dtype);
    const bl_folder_text text = { .torch_dtype =
                                      strcmp(c->dtype, "f32") == 0 ? "float32" : "bfloat16",
                                  .drops_mtp = bl_ckpt_config(student)->n_mtp_layers > 0 };
    double resumed = 0;
    const bl_write_options options = bl_convert_write_options(c, &resumed, NULL);
    bl_plan plan = { 0 };
    bl_status rc = bl_plan_folder(&plan, student, choose_cast, cast, err);

    warn_of_shape(o, bl_ckpt_config(student));
    if (rc == BL_OK && text.drops_mtp)
        bl_plan_drop_mtp(&plan);
    if (rc == BL_OK && !c->common.dry_run)
        rc = bl_write_folder(c->output, student, &plan, &text, &options, err);
    bl_cli_say_resumed(c->command, &c->common, resumed);
    if (rc == BL_OK)
        rc = bl_cli_print(said, err);
    if (rc == BL_OK)
        rc = bl_cli_print_plan(&plan, c->output, err);
    if (rc == BL_OK && c->common.dry_run)
        rc = print_needs(c, student, &plan, err);
    bl_plan_release(&plan);
    return rc;
}

/* "student" and what it is. */
static void put_shape(bl_text *out, const bl_ckpt *student)
{
    const bl_config *c = bl_ckpt_config(student);
    uint64_t n = 0;

    for (size_t i = 0; i < bl_ckpt_n_tensors(student); i++)
        if (!bl_ckpt_tensor(student, i)->is_mtp)
            n += bl_ckpt_tensor(student, i)->n_values;
    bl_text_printf(out,
                   "student: %s, %" PRIu32 " layers, hidden %" PRIu32 ", FFN %" PRIu32 ", %" PRIu32
                   " heads, vocabulary %" PRIu32 ": %" PRIu64 " parameters\n",
                   c->arch->model_type, c->n_layers, c->hidden_size, c->intermediate_size,
                   c->n_heads, c->vocab_size, n);
}

static void put_cut(bl_text *out, const struct options *o, const bl_ckpt *teacher,
                    const bl_init_cut *cut, const bl_init_report *report)
{
    const bl_config *c = bl_ckpt_config(teacher);

    bl_text_printf(out, "layers of the teacher:");
    for (uint32_t l = 0; l < cut->n_layers; l++)
        bl_text_printf(out, " %" PRIu32, cut->layer[l]);
    bl_text_printf(out, " of %" PRIu32 "\n", c->n_layers);
    if (cut->n_experts > 0)
        bl_text_printf(out, "experts: %s%" PRIu32 " of %" PRIu32 " in a layer, by %s; scales: %s\n",
                       c->n_shared_experts > 0 ? "the shared one and " : "", cut->n_experts,
                       c->n_experts, o->method, o->scale);
    if (cut->hidden > 0 || o->shape.intermediate > 0)
        bl_text_printf(out, "channels: by %s\n",
                       cut->stats ? "activations (--stats)" : "norms of weights (no --stats)");
    if (report->n_padded > 0)
        bl_text_printf(out,
                       "zeros: the FFN of %" PRIu32 " layer%s is narrower than %" PRIu64
                       ", and filled up\n",
                       report->n_padded, report->n_padded == 1 ? "" : "s", report->intermediate);
}

static bool is_dense(const bl_config *c)
{
    for (uint32_t l = 0; l < c->n_layers; l++)
        if (bl_config_layer_is_moe(c, l))
            return false;
    return true;
}

/* Open a model, which must have a configuration. */
static bl_status open_model(bl_ckpt **out, const char *path, struct bl_err *err)
{
    bl_status rc = bl_ckpt_open(out, path, err);

    if (rc == BL_OK && !bl_ckpt_has_config(*out))
        rc = bl_fail(err, BL_E_UNSUPPORTED, "%s: no configuration, so nothing says what it is",
                     path);
    return rc;
}

static bl_status init_from(const struct options *o, struct models *m, struct bl_err *err)
{
    bl_text said = { 0 };
    bl_status rc = open_model(&m->from, o->from, err);

    if (rc == BL_OK && !is_dense(bl_ckpt_config(m->from)))
        rc =
            bl_fail(err, BL_E_UNSUPPORTED,
                    "%s: has layers of experts, a student is dense: --teacher %s --experts K makes "
                    "one of it",
                    o->from, o->from);
    if (rc == BL_OK && o->teacher)
        rc = open_model(&m->teacher, o->teacher, err);
    if (rc == BL_OK && o->teacher)
        rc = bl_init_same_tokenizer(m->from, m->teacher, err);
    if (rc == BL_OK) {
        put_shape(&said, m->from);
        rc = write_student(o, &said, m->from, err);
    }
    bl_text_release(&said);
    return rc;
}

static bl_status init_random(const struct options *o, struct models *m, struct bl_err *err)
{
    bl_text said = { 0 };
    bl_status rc = open_model(&m->tokenizer, o->tokenizer, err);

    if (rc == BL_OK)
        rc = bl_init_random_open(&m->student, &o->shape, o->seed, m->tokenizer, err);
    if (rc == BL_OK) {
        put_shape(&said, m->student);
        bl_text_printf(&said, "random numbers, seed %" PRIu64 "; tokenizer of %s\n", o->seed,
                       o->tokenizer);
        rc = write_student(o, &said, m->student, err);
    }
    bl_text_release(&said);
    return rc;
}

static bl_status cut_teacher(const struct options *o, struct models *m, struct bl_err *err)
{
    bl_init_cut cut = { .n_experts = (uint32_t)o->n_experts,
                        .hidden = o->shape.hidden,
                        .intermediate = o->shape.intermediate,
                        .method = o->prune,
                        .scale = o->by,
                        .seed = o->seed,
                        .stats = m->stats,
                        .n_threads = (int)o->convert.common.n_threads };
    const uint32_t n_layers = bl_ckpt_config(m->teacher)->n_layers;
    bl_init_report report;
    bl_text said = { 0 };
    char all[16];
    bl_status rc;

    snprintf(all, sizeof(all), "%" PRIu32, n_layers);
    rc = bl_init_parse_layers(&m->layer, &cut.n_layers, o->keep_layers ? o->keep_layers : all,
                              n_layers, err);
    cut.layer = m->layer;
    if (rc == BL_OK)
        rc = bl_init_cut_open(&m->student, &report, m->teacher, &cut, err);
    if (rc != BL_OK)
        return rc;
    if (report.other_precision)
        bl_cli_warn(o->convert.command, &o->convert.common,
                    "%s: statistics of the same model in another precision or container",
                    bl_stats_path(m->stats));
    put_shape(&said, m->student);
    put_cut(&said, o, m->teacher, &cut, &report);
    rc = write_student(o, &said, m->student, err);
    bl_text_release(&said);
    return rc;
}

static bl_status init_cut(const struct options *o, struct models *m, struct bl_err *err)
{
    bl_status rc = open_model(&m->teacher, o->teacher, err);

    if (rc == BL_OK && o->stats)
        rc = bl_stats_open(&m->stats, o->stats, err);
    return rc == BL_OK ? cut_teacher(o, m, err) : rc;
}

/* Options that one of the ways has no use for. */
static bl_status check_ways(const struct options *o, struct bl_err *err)
{
    const bl_init_shape *s = &o->shape;
    const bool shapes = s->family || s->n_layers || s->n_heads || s->n_kv_heads || s->head_dim ||
                        s->q_lora || s->kv_lora || s->nope || s->rope || s->v || s->tied ||
                        s->max_positions || s->rope_theta > 0;
    const bool cuts = o->keep_layers || o->stats || o->n_experts;

    if (o->from && o->random)
        return bl_fail(err, BL_E_USAGE, "--from and --random: one of them");
    if (!o->from && !o->random && !o->teacher)
        return bl_fail(err, BL_E_USAGE,
                       "where does the student come from? --from MODEL, --random, or --teacher "
                       "MODEL");
    if (o->random && o->teacher)
        return bl_fail(err, BL_E_USAGE,
                       "--random takes nothing from a teacher but its tokenizer: --tokenizer %s",
                       o->teacher);
    if (o->random && !o->tokenizer)
        return bl_fail(err, BL_E_USAGE,
                       "--random: whose vocabulary? --tokenizer MODEL (the teacher)");
    if (o->random && !s->family)
        return bl_fail(err, BL_E_USAGE, "--random: --family is missing");
    if (!o->random && (shapes || o->tokenizer))
        return bl_fail(err, BL_E_USAGE,
                       "--family, --layers, --heads and what else gives a shape are for --random%s",
                       o->teacher ? "; a teacher is cut by --keep-layers, --hidden, --intermediate "
                                    "and --experts"
                                  : "");
    if ((o->random || o->from) && cuts)
        return bl_fail(err, BL_E_USAGE,
                       "--keep-layers, --experts and --stats cut a teacher: not with %s",
                       o->random ? "--random" : "--from");
    if (o->from && (s->hidden || s->intermediate))
        return bl_fail(err, BL_E_USAGE,
                       "--from takes a model as it is: --teacher %s cuts it to fewer channels",
                       o->from);
    return BL_OK;
}

static bl_status check_output(const struct options *o, struct bl_err *err)
{
    const char *const input[] = { o->from, o->teacher, o->tokenizer, o->stats };
    const char *output = o->convert.output;
    bl_status rc = BL_OK;

    if (!output)
        return bl_fail(err, BL_E_USAGE, "-o DIR is missing");
    if (bl_cli_has_suffix(output, ".gguf") || bl_cli_has_suffix(output, ".bln"))
        return bl_fail(err, BL_E_USAGE,
                       "%s: a student is a folder, which 'baleen convert' makes a file of", output);
    for (size_t i = 0; i < sizeof(input) / sizeof(*input) && rc == BL_OK; i++)
        if (input[i])
            rc = bl_cli_check_output(output, input[i], err);
    return rc;
}

static bl_status check_options(struct options *o, struct bl_err *err)
{
    const bl_convert_options *c = &o->convert;

    if (strcmp(c->dtype, "bf16") != 0 && strcmp(c->dtype, "f32") != 0)
        return bl_fail(err, BL_E_USAGE, "--dtype is bf16 or f32, not '%s'", c->dtype);
    if (c->shard_size == 0)
        return bl_fail(err, BL_E_USAGE, "--shard-size is at least 1");
    if (!bl_prune_method_by_name(&o->prune, o->method))
        return bl_fail(err, BL_E_USAGE,
                       "--method is reap, msan, easy-ep, frequency, aimer or random, not '%s'",
                       o->method);
    if (!bl_init_scale_by_name(&o->by, o->scale))
        return bl_fail(err, BL_E_USAGE, "--scale is share, mean, expected or one, not '%s'",
                       o->scale);
    if (o->n_experts > UINT32_MAX)
        return bl_fail(err, BL_E_USAGE, "--experts: too many");
    return BL_OK;
}

static bl_status run(struct options *o, struct bl_err *err)
{
    struct models m = { 0 };
    bl_status rc = check_ways(o, err);

    if (rc == BL_OK)
        rc = check_options(o, err);
    if (rc == BL_OK)
        rc = check_output(o, err);
    if (rc == BL_OK && o->from)
        rc = init_from(o, &m, err);
    else if (rc == BL_OK)
        rc = o->random ? init_random(o, &m, err) : init_cut(o, &m, err);
    bl_ckpt_close(m.student);
    bl_ckpt_close(m.from);
    bl_ckpt_close(m.teacher);
    bl_ckpt_close(m.tokenizer);
    bl_stats_close(m.stats);
    bl_free(m.layer);
    return rc;
}

int bl_cmd_distill_init(const bl_command *command, int argc, char **argv)
{
    struct options o = {
        .convert = { .command = command, .shard_size = BL_NO_SHARD_SIZE, .dtype = "bf16" },
        .method = "easy-ep",
        .scale = "share",
        .seed = 1
    };
    bl_common *common = &o.convert.common;
    bl_init_shape *s = &o.shape;
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &o.convert.output, "DIR", "the student's folder" },
        { "--from", 0, BL_OPTION_STRING, &o.from, "MODEL",
          "a dense model as it is, decoded; with --teacher its tokenizer is compared" },
        { "--teacher", 0, BL_OPTION_STRING, &o.teacher, "MODEL", "the model that is cut down" },
        { "--keep-layers", 0, BL_OPTION_STRING, &o.keep_layers, "N|LIST",
          "how many, evenly spaced, or which: 0,2-4,7 (default all)" },
        { "--hidden", 0, BL_OPTION_U64, &s->hidden, "N", "channels of the residual stream" },
        { "--intermediate", 0, BL_OPTION_U64, &s->intermediate, "N", "channels of each FFN" },
        { "--experts", 0, BL_OPTION_U64, &o.n_experts, "K",
          "of each layer, that become its FFN, with the shared one" },
        { "--stats", 0, BL_OPTION_STRING, &o.stats, "FILE",
          "of 'baleen calibrate': what experts and channels are worth" },
        { "--method", 0, BL_OPTION_STRING, &o.method, "NAME",
          "experts by easy-ep (default), reap, msan, frequency, aimer, random" },
        { "--scale", 0, BL_OPTION_STRING, &o.scale, "NAME",
          "of an expert's output: share (default), mean, expected, one" },
        { "--random", 0, BL_OPTION_FLAG, &o.random, NULL, "normal random numbers" },
        { "--tokenizer", 0, BL_OPTION_STRING, &o.tokenizer, "MODEL",
          "with --random: whose vocabulary and tokenizer" },
        { "--family", 0, BL_OPTION_STRING, &s->family, "NAME",
          "with --random, as the rest: model_type, or how it begins" },
        { "--layers", 0, BL_OPTION_U64, &s->n_layers, "N", "layers" },
        { "--heads", 0, BL_OPTION_U64, &s->n_heads, "N", "heads" },
        { "--kv-heads", 0, BL_OPTION_U64, &s->n_kv_heads, "N", "default: as many as heads" },
        { "--head-dim", 0, BL_OPTION_U64, &s->head_dim, "N", "default: hidden / heads" },
        { "--q-lora", 0, BL_OPTION_U64, &s->q_lora, "N", "default: none" },
        { "--kv-lora", 0, BL_OPTION_U64, &s->kv_lora, "N", "of latent attention" },
        { "--nope", 0, BL_OPTION_U64, &s->nope, "N", "of a head, without rotation" },
        { "--rope", 0, BL_OPTION_U64, &s->rope, "N", "of a head, rotated" },
        { "--v", 0, BL_OPTION_U64, &s->v, "N", "of a head's values" },
        { "--positions", 0, BL_OPTION_U64, &s->max_positions, "N", "most tokens (4096)" },
        { "--rope-theta", 0, BL_OPTION_F64, &s->rope_theta, "X", "of the rotation (10000)" },
        { "--tie", 0, BL_OPTION_FLAG, &s->tied, NULL, "the head is the embedding" },
        { "--seed", 0, BL_OPTION_U64, &o.seed, "N", "of random numbers (1)" },
        { "--dtype", 0, BL_OPTION_STRING, &o.convert.dtype, "TYPE", "bf16 (default) or f32" },
        { "--shard-size", 0, BL_OPTION_SIZE, &o.convert.shard_size, "SIZE",
          "data of one shard (default 5GB)" },
        BL_OPTION_THREADS(*common),
        BL_OPTION_FORCE(*common),
        BL_OPTION_RESUME(*common),
        BL_OPTION_DRY_RUN(*common),
        BL_OPTION_QUIET(*common),
        BL_OPTION_PROGRESS(*common),
        BL_OPTION_HELP(*common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    const char *operand;
    size_t n;
    int early = bl_cli_parse(&operand, &n, 0, 0, command, table, common, argc, argv);

    if (early != BL_CLI_RUN)
        return early;
    return bl_cli_finish(command, run(&o, &err), &err);
}
