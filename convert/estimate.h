/*
 * estimate.h - how long a plan will take, measured on parts of it for two seconds.
 */
#ifndef BL_CONVERT_ESTIMATE_H
#define BL_CONVERT_ESTIMATE_H

#include "base/err.h"
#include "convert/pipeline.h"

/*
 * Run the pipeline on the first rows of jobs at even distances through the source, writing nothing, for
 * at most about `budget` seconds, and project: reading, decoding and encoding of all of it take
 * *seconds. What a disk adds that writes slower, or reads slower than its cache, is not in it.
 */
BL_MUST_USE bl_status bl_estimate_seconds(double *seconds, const bl_plan *plan,
                                          const bl_pipe_options *options, double budget,
                                          struct bl_err *err);

#endif
