/* verify_kept.c - see verify_kept.h. */
#include "cli/verify_kept.h"

#include "base/sink.h"

/* Hours may pass before the file is opened: what is wrong with it is said now. */
static bl_status try_files(const bl_verify_kept *options, bool force, struct bl_err *err)
{
    bl_sink *sink = NULL;
    bl_kept *kept = NULL;
    bl_status rc = BL_OK;

    if (options->save) {
        rc = bl_sink_begin(&sink, options->save, force, err);
        bl_sink_abort(&sink);
    } else if (options->logits) {
        rc = bl_kept_open(&kept, options->logits, err);
        bl_kept_free(kept);
    }
    return rc;
}

bl_status bl_verify_kept_check(const bl_verify_kept *options, const char *text, const char *against,
                               bool force, struct bl_err *err)
{
    bl_kept_kind kind;

    if (options->save && options->logits)
        return bl_fail(err, BL_E_USAGE, "--save-logits and --logits do not go together");
    if ((options->save || options->logits) && against)
        return bl_fail(err, BL_E_USAGE, "--%s and --against do not go together",
                       options->save ? "save-logits" : "logits");
    if (options->save && !text)
        return bl_fail(err, BL_E_USAGE, "--save-logits needs --text");
    if (options->kind && !options->save)
        return bl_fail(err, BL_E_USAGE, "--logits-kind needs --save-logits");
    if (options->kind && !bl_kept_kind_of(&kind, options->kind))
        return bl_fail(err, BL_E_USAGE, "--logits-kind '%s' is none of sparse, hidden, llama.cpp",
                       options->kind);
    return try_files(options, force, err);
}

bl_status bl_verify_kept_open(bl_kept **out, const bl_verify_kept *options, const char *text,
                              const bl_ckpt *model, const bl_common *common, struct bl_err *err)
{
    bl_kept_kind kind = BL_KEPT_SPARSE;
    bl_status rc;

    if (options->logits)
        return bl_kept_open(out, options->logits, err);
    if (!options->save)
        return BL_OK;
    rc = bl_cli_check_output(options->save, bl_ckpt_path(model), err);
    if (rc == BL_OK)
        rc = bl_cli_check_output(options->save, text, err);
    if (rc == BL_OK && options->kind)
        (void)bl_kept_kind_of(&kind, options->kind); /* checked */
    return rc == BL_OK ? bl_kept_save(out, options->save, kind, common->force, model, err) : rc;
}

void bl_verify_kept_rule(bl_ppl_options *options)
{
    bl_kept_rule rule;

    if (!options->kept || !bl_kept_is_reference(options->kept))
        return;
    rule = bl_kept_rule_of(options->kept);
    options->ctx = options->ctx ? options->ctx : rule.ctx;
    options->stride = options->stride ? options->stride : rule.stride;
    options->max_tokens = options->max_tokens ? options->max_tokens : rule.n_tokens;
    options->bos = rule.bos;
}
