/* distill_merge.c - the shards of several parts in one folder. */
#include "cli/distill_commands.h"

enum { MAX_PARTS = BL_OPTION_LIST_MAX };

int bl_cmd_distill_merge(const bl_command *command, int argc, char **argv)
{
    bl_common common = { 0 };
    const char *output = NULL;
    const bl_option table[] = {
        { "--output", 'o', BL_OPTION_STRING, &output, "CACHE", "the folder for all shards" },
        BL_OPTION_FORCE(common),
        BL_OPTION_QUIET(common),
        BL_OPTION_HELP(common),
        BL_OPTION_END,
    };
    static const char *path[MAX_PARTS];
    struct bl_err err = { 0 };
    size_t n;
    int early = bl_cli_parse(path, &n, 1, MAX_PARTS, command, table, &common, argc, argv);

    if (early != BL_CLI_RUN)
        return early;
    if (!output)
        return bl_cli_finish(command, bl_fail(&err, BL_E_USAGE, "-o CACHE is missing"), &err);
    return bl_cli_finish(command, bl_fail(&err, BL_E_UNSUPPORTED, "%s: not yet", path[0]), &err);
}
