/*
 * fuzz_stats.c - any bytes as calibration statistics, ours or an imatrix. A refusal must bring a
 * sentence that names the file, and free all it took; of what is accepted every value is read.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "formats/stats/stats.h"
#include "tests/unit/formats/stats_read_all.h"

#include <stdbool.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    bl_source *source = NULL;
    bl_stats *stats = NULL;
    struct bl_err err = { 0 };
    bl_status rc;

    require(bl_source_memory(&source, "input", data, size, &err) == BL_OK);
    rc = bl_stats_open_source(&stats, source, &err);
    if (rc == BL_OK)
        rc = stats_read_all(stats, &err);
    if (rc != BL_OK) {
        require(err.status == rc && strncmp(err.text, "input", 5) == 0);
        require(rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED);
    }
    bl_stats_close(stats);
    require(bl_alloc_live() == live);
    return 0;
}
