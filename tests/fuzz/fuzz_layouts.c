/*
 * fuzz_layouts.c - any bytes as a folder of quantized weights (tests/unit/layout_container.h): the
 * configuration, the description, and parts of every layout. Each refusal must bring a sentence that
 * names the file, and free all that was taken; what is accepted must decode, or say which value
 * cannot be.
 */
#include "tests/unit/layout_container.h"

#include <stdbool.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void require_refusal(bl_status rc, const struct bl_err *err)
{
    require(err->status == rc && strncmp(err->text, "input", 5) == 0);
    require(rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED || rc == BL_E_USAGE);
}

/* Three rows at a time, so that blocks and words are entered in their middle. */
static void check_rows(const bl_ckpt *ckpt, const bl_tensor *t)
{
    const uint64_t step = t->n_rows < 3 ? t->n_rows : 3;
    float *rows = bl_alloc((size_t)step, (size_t)t->n_cols * sizeof(*rows));

    require(rows != NULL);
    for (uint64_t row = 0; row < t->n_rows; row += step) {
        const uint64_t n = step < t->n_rows - row ? step : t->n_rows - row;
        struct bl_err err = { 0 };
        bl_status rc = bl_ckpt_read_rows(ckpt, t, row, n, rows, &err);

        if (rc != BL_OK)
            require(err.status == rc && (rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED));
    }
    bl_free(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_status rc = layout_open(&ckpt, (const char *)data, size, &err);

    if (rc != BL_OK)
        require_refusal(rc, &err);
    require((rc == BL_OK) == (ckpt != NULL));
    for (size_t i = 0; ckpt && i < bl_ckpt_n_tensors(ckpt); i++)
        check_rows(ckpt, bl_ckpt_tensor(ckpt, i));
    bl_ckpt_close(ckpt);
    require(bl_alloc_live() == live);
    return 0;
}
