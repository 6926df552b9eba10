/* distill_inspect.c - a cache read whole: what it is of, what it is worth, what it takes. */
#include "cli/distill_commands.h"

int bl_cmd_distill_inspect(const bl_command *command, int argc, char **argv)
{
    bl_common common = { 0 };
    const bl_option table[] = {
        BL_OPTION_JSON(common),
        BL_OPTION_HELP(common),
        BL_OPTION_END,
    };
    struct bl_err err = { 0 };
    const char *path;
    size_t n;
    int early = bl_cli_parse(&path, &n, 1, 1, command, table, &common, argc, argv);

    if (early != BL_CLI_RUN)
        return early;
    return bl_cli_finish(command, bl_fail(&err, BL_E_UNSUPPORTED, "%s: not yet", path), &err);
}
