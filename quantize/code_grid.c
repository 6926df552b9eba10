/* code_grid.c - see code_grid.h. */
#include "quantize/code_grid.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "formats/dtype/dtype.h"
#include "quantize/quant.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { RUN = 128, INT4_WORD = 8 /* elements */ };

/* A word of packed int4: formats/block/int4_group.h. */
static void put_int4(void *word, const uint8_t *code)
{
    uint8_t *to = word;

    for (size_t i = 0; i < INT4_WORD / 2; i++)
        to[i] = (uint8_t)(code[2 * i] | code[2 * i + 1] << 4);
}

/* Whether part 0 is packed int4 whose rows follow each other, each by itself. */
static bool is_packed_int4(const bl_encoder *encoder)
{
    const uint64_t dim[2] = { 8, encoder->multiple };
    bl_part part[BL_JOB_MAX_PARTS];

    if (!encoder->in_parts || encoder->in_parts->place || encoder->unit_rows > 1)
        return false;
    return encoder->in_parts->parts(part, dim, encoder->form) > 1 &&
           strcmp(part[0].suffix, ".weight_packed") == 0 && part[0].unit_bytes == dim[1] / 2;
}

bool bl_code_grid_type_of(bl_code_grid_type *out, const bl_encoder *encoder)
{
    const bl_quant *quant = bl_quant_of(encoder->dtype);

    if (is_packed_int4(encoder)) {
        *out = (bl_code_grid_type){ encoder, 16, INT4_WORD, INT4_WORD / 2, put_int4 };
        return true;
    }
    if (encoder->in_parts || !quant || !quant->put_codes)
        return false;
    *out = (bl_code_grid_type){ encoder, quant->n_levels,
                                bl_dtype_traits_of(encoder->dtype)->block_len,
                                bl_dtype_traits_of(encoder->dtype)->block_bytes, quant->put_codes };
    return true;
}

void bl_code_grid_encode(void *const part[BL_JOB_MAX_PARTS], const bl_code_grid *grid,
                         const bl_encode_rows *rows)
{
    const bl_encoder *e = grid->type->encoder;

    if (e->in_parts)
        e->in_parts->encode(part, rows, e->form);
    else
        e->encode(part, rows);
}

void bl_code_grid_decode(float *out, const bl_code_grid *grid, void *const part[BL_JOB_MAX_PARTS],
                         uint64_t n_rows, size_t n_cols)
{
    const bl_encoder *e = grid->type->encoder;

    if (e->in_parts)
        e->in_parts->decode(out, part, n_rows, n_cols, e->form);
    else if (e->decode)
        e->decode(out, part, n_rows, n_cols);
    else
        bl_dtype_traits_of(e->dtype)->to_f32(out, part[0], (size_t)n_rows * n_cols);
}

void bl_code_grid_put_row(void *part0, const bl_code_grid *grid, const uint8_t *code, size_t n_cols)
{
    unsigned char *to = part0;

    for (size_t i = 0; i < n_cols; i += grid->type->block, to += grid->type->block_bytes)
        grid->type->put_codes(to, code + i);
}

/* Every element of the row gets this code; then what it decodes to. */
static void decode_with(float *out, const bl_code_grid *grid, uint8_t code,
                        void *const part[BL_JOB_MAX_PARTS], size_t n_cols)
{
    uint8_t same[BL_CODE_GRID_MAX_LEVELS];
    unsigned char *to = part[0];

    assert(grid->type->block <= sizeof(same));
    memset(same, code, sizeof(same));
    for (size_t i = 0; i < n_cols; i += grid->type->block, to += grid->type->block_bytes)
        grid->type->put_codes(to, same);
    bl_code_grid_decode(out, grid, part, 1, n_cols);
}

void bl_code_grid_of_row(float *offset, float *step, const bl_code_grid *grid,
                         void *const part[BL_JOB_MAX_PARTS], size_t n_cols)
{
    const uint32_t last = grid->type->n_levels - 1;

    decode_with(offset, grid, grid->code[0], part, n_cols);
    decode_with(step, grid, grid->code[last], part, n_cols);
    for (size_t i = 0; i < n_cols; i++)
        step[i] = (step[i] - offset[i]) / (float)last;
}

/* Ranks by value[code]: an insertion sort, equal values in the order of their codes. */
static void sort_codes(bl_code_grid *grid, const float *value)
{
    for (uint32_t c = 0; c < grid->type->n_levels; c++) {
        uint32_t i = c;

        for (; i > 0 && value[grid->code[i - 1]] > value[c]; i--)
            grid->code[i] = grid->code[i - 1];
        grid->code[i] = (uint8_t)c;
    }
}

/* The levels from the values of all codes at one element whose scale is not zero. */
static void set_levels(bl_code_grid *grid, const float *value)
{
    const uint32_t n = grid->type->n_levels;
    float lowest, span;

    sort_codes(grid, value);
    lowest = value[grid->code[0]];
    span = value[grid->code[n - 1]] - lowest;
    grid->linear = true;
    for (uint32_t i = 0; i < n; i++) {
        float even = (float)i;

        grid->level[i] = (value[grid->code[i]] - lowest) / span * (float)(n - 1);
        grid->linear = grid->linear && grid->code[i] == i && fabsf(grid->level[i] - even) < 0.01f;
    }
    for (uint32_t i = 0; i < n && grid->linear; i++)
        grid->level[i] = (float)i;
}

bl_status bl_code_grid_init(bl_code_grid *out, const bl_code_grid_type *type, struct bl_err *err)
{
    const uint32_t n_cols = type->encoder->multiple, n = type->n_levels;
    /* one row as floats, decoded, and the bytes of its parts: no encoding takes more than F32 */
    float *row = bl_calloc(n_cols, 3 * sizeof(*row)), *decoded = row + n_cols;
    uint64_t rest[BL_JOB_MAX_PARTS][8]; /* scales and the like of one row */
    void *const part[BL_JOB_MAX_PARTS] = { decoded + n_cols, rest[1], rest[2], rest[3] };
    const bl_encode_rows ramp = { .value = row, .n_rows = 1, .n_cols = n_cols };
    bl_code_grid grid = { .type = type };
    float value[BL_CODE_GRID_MAX_LEVELS];

    if (!row)
        return bl_fail_nomem(err, "a grid");
    assert(n >= 2 && n <= BL_CODE_GRID_MAX_LEVELS && n_cols % type->block == 0);
    for (uint32_t i = 0; i < n_cols; i++)
        row[i] = (float)i * (i % 2 ? -1.0f : 0.75f); /* largest magnitude negative: scales > 0 */
    bl_code_grid_encode(part, &grid, &ramp);
    for (uint32_t c = 0; c < n; c++) {
        decode_with(decoded, &grid, (uint8_t)c, part, n_cols);
        value[c] = decoded[n_cols - 1];
    }
    if (value[0] > value[n - 1] && value[0] > value[n / 2]) /* a negative scale: mirror it */
        for (uint32_t c = 0; c < n; c++)
            value[c] = -value[c];
    set_levels(&grid, value);
    bl_free(row);
    *out = grid;
    return BL_OK;
}

BL_CLONES
static void round_linear(uint8_t *restrict code, float *restrict value, float last,
                         const float *restrict x, const float *restrict offset,
                         const float *restrict step, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float u = (x[i] - offset[i]) / step[i];
        int32_t rank;

        u = u > 0.0f ? u : 0.0f; /* also where step is 0 and u not a number */
        u = u < last ? u : last;
        rank = (int32_t)(u + 0.5f);
        code[i] = (uint8_t)rank;
        value[i] = offset[i] + step[i] * (float)rank;
    }
}

/* At most RUN elements: the level by counting the midpoints that x lies above. */
BL_CLONES
static void round_table(uint8_t *restrict code, float *restrict value, const bl_code_grid *grid,
                        const float *restrict x, const float *restrict offset,
                        const float *restrict step, size_t n)
{
    const float *level = grid->level;
    float u[RUN], nearest[RUN];
    int32_t rank[RUN];

    for (size_t i = 0; i < n; i++) {
        u[i] = (x[i] - offset[i]) / step[i];
        nearest[i] = level[0];
        rank[i] = 0;
    }
    for (uint32_t r = 1; r < grid->type->n_levels; r++) {
        const float middle = (level[r - 1] + level[r]) / 2, next = level[r];

        for (size_t i = 0; i < n; i++) {
            nearest[i] = u[i] > middle ? next : nearest[i];
            rank[i] += u[i] > middle;
        }
    }
    for (size_t i = 0; i < n; i++) {
        code[i] = grid->code[rank[i]];
        value[i] = offset[i] + step[i] * nearest[i];
    }
}

void bl_code_grid_round(uint8_t *code, float *value, const bl_code_grid *grid, const float *x,
                        const float *offset, const float *step, size_t n)
{
    if (grid->linear) {
        round_linear(code, value, (float)(grid->type->n_levels - 1), x, offset, step, n);
        return;
    }
    for (size_t i = 0; i < n; i += RUN)
        round_table(code + i, value + i, grid, x + i, offset + i, step + i,
                    n - i < RUN ? n - i : RUN);
}
