/* distill_merge.c - the shards of several parts in one folder. */
#include "cli/distill_commands.h"
#include "formats/logits/cache_reader.h"
#include "formats/logits/cache_writer.h"

#include <inttypes.h>

enum { MAX_PARTS = BL_OPTION_LIST_MAX };

static bl_status report(const char *path, size_t n_parts, struct bl_err *err)
{
    bl_cache *cache = NULL;
    bl_text out = { 0 };
    bl_status rc = bl_cache_open(&cache, path, err);

    if (rc != BL_OK)
        return rc;
    bl_text_put_name(&out, path);
    bl_text_printf(&out, ": %" PRIu32 " shards of %zu part%s, %" PRIu32 " sequences\n",
                   bl_cache_info_of(cache)->n_shards, n_parts, n_parts == 1 ? "" : "s",
                   bl_cache_info_of(cache)->n_seqs);
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    bl_cache_close(cache);
    return rc;
}

static bl_status merge(const char *output, const char *const *part, size_t n, bool force,
                       struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (!output)
        return bl_fail(err, BL_E_USAGE, "-o CACHE is missing");
    for (size_t i = 0; i < n && rc == BL_OK; i++)
        rc = bl_cli_check_output(output, part[i], err);
    if (rc == BL_OK)
        rc = bl_cache_merge(output, part, n, force, err);
    return rc == BL_OK ? report(output, n, err) : rc;
}

int bl_cmd_distill_merge(const bl_command *command, int argc, char **argv)
{
    bl_common common = { 0 };
    const char *output = NULL;
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &output, "CACHE", "the folder for all shards" },
        BL_OPTION_FORCE(common),
        BL_OPTION_HELP(common),
        BL_OPTION_END,
    };
    static const char *path[MAX_PARTS];
    struct bl_err err = { 0 };
    size_t n;
    int early = bl_cli_parse(path, &n, 1, MAX_PARTS, command, table, &common, argc, argv);

    if (early != BL_CLI_RUN)
        return early;
    return bl_cli_finish(command, merge(output, path, n, common.force, &err), &err);
}
