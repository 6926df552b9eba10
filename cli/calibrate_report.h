/*
 * calibrate_report.h - what a file of statistics holds, and how well the text covered the experts,
 * for people and as JSON.
 */
#ifndef BL_CLI_CALIBRATE_REPORT_H
#define BL_CLI_CALIBRATE_REPORT_H

#include "base/text.h"
#include "quantize/coverage.h"

void bl_cli_put_calibration(bl_text *out, const char *path, const bl_stats_info *info,
                            const bl_coverage *coverage, bool json);

#endif
