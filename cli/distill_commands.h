/*
 * distill_commands.h - what comes behind `baleen distill`: a row of the table in cmd_distill.c and
 * a file distill_<name>.c each.
 */
#ifndef BL_CLI_DISTILL_COMMANDS_H
#define BL_CLI_DISTILL_COMMANDS_H

#include "cli/cli.h"

int bl_cmd_distill_init(const bl_command *command, int argc, char **argv);
int bl_cmd_distill_teach(const bl_command *command, int argc, char **argv);
int bl_cmd_distill_inspect(const bl_command *command, int argc, char **argv);
int bl_cmd_distill_merge(const bl_command *command, int argc, char **argv);
int bl_cmd_distill_train(const bl_command *command, int argc, char **argv);

#endif
