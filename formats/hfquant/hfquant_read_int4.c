/*
 * hfquant_read_int4.c - rows of int4 matrices. Symmetric groups in order, packed by row, go straight
 * to values. Everything else is first brought into one form, codes, scales and zero points of whole
 * rows, whatever the order in which they lie.
 */
#include "formats/hfquant/hfquant_read.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/bln/bln_reader.h"
#include "formats/block/int4_affine.h"
#include "formats/block/int4_group.h"
#include "formats/dtype/float_bits.h"

#include <inttypes.h>
#include <string.h>

enum { SYMMETRIC_ZERO = 8, BAND_BYTES = 1 << 20 };

static bl_status read_symmetric(const bl_reading *r)
{
    const uint64_t group = r->parts->block_cols, words = r->n_cols / 8,
                   n_groups = r->n_cols / group;
    float *scales = NULL;
    void *packed = NULL;
    bl_status rc = bl_reading_fetch_scales(&scales, r, r->row, r->n_rows, n_groups);

    if (rc != BL_OK)
        return rc;
    rc = bl_reading_fetch(&packed, r, r->parts->values, r->row * words * 4, r->n_rows * words * 4);
    for (uint64_t i = 0; i < r->n_rows && rc == BL_OK; i++)
        bl_int4_group_to_f32(r->out + i * r->n_cols, (const unsigned char *)packed + i * words * 4,
                             scales + i * n_groups, BL_F32, (size_t)r->n_cols, (size_t)group);
    if (rc == BL_OK && !bl_scales_are_below(scales, (size_t)(r->n_rows * n_groups), 8))
        rc = bl_reading_check_finite(r, "int4 code");
    bl_free(packed);
    bl_free(scales);
    return rc;
}

/* Rows in the one form. */
struct rows {
    const bl_reading *r;
    uint64_t n_groups;
    uint8_t *code;      /* [n_rows][n_cols] */
    float *scale;       /* [n_rows][n_groups] */
    uint8_t *zero;      /* [n_rows][n_groups] */
    uint32_t *group_of; /* [n_cols], NULL: in order */
};

/* A band of columns of a stored matrix: width bytes from `first` of each row of stride bytes. */
struct column_band {
    size_t stored;
    uint64_t stride, n_lines, first, width;
};

/*
 * Read the band to out[n_lines][width]. A chunk of a .bln is decompressed whole for every reading,
 * so there whole lines are read, as many as fit BAND_BYTES.
 */
static bl_status fetch_band(unsigned char *out, const bl_reading *r, const struct column_band *b)
{
    const bool whole = strcmp(r->container->kind, BL_BLN_KIND) == 0;
    const uint64_t n_at_once = whole ? bl_max_u64(BAND_BYTES / bl_max_u64(b->stride, 1), 1) : 1;
    bl_status rc = BL_OK;

    for (uint64_t line = 0; line < b->n_lines && rc == BL_OK; line += n_at_once) {
        uint64_t n = bl_min_u64(n_at_once, b->n_lines - line);
        void *bytes = NULL;

        if (!whole) {
            rc = bl_container_read(r->container, b->stored, line * b->stride + b->first,
                                   out + line * b->width, (size_t)b->width, r->err);
            continue;
        }
        rc = bl_reading_fetch(&bytes, r, b->stored, line * b->stride, n * b->stride);
        for (uint64_t i = 0; i < n && rc == BL_OK; i++)
            memcpy(out + (line + i) * b->width,
                   (const unsigned char *)bytes + i * b->stride + b->first, (size_t)b->width);
        bl_free(bytes);
    }
    return rc;
}

static bl_status alloc_band(unsigned char **out, const bl_reading *r, const struct column_band *b)
{
    uint64_t n;

    *out = bl_mul_u64(&n, b->n_lines, b->width) && n <= SIZE_MAX ? bl_alloc((size_t)n, 1) : NULL;
    return *out ? BL_OK : bl_fail_nomem(r->err, r->parts->name);
}

/* Eight rows to a word, as both transposed layouts and the zero points of all have it. */
static struct column_band words_of_rows(const bl_reading *r, size_t stored, uint64_t n_lines)
{
    uint64_t first = r->row / 8, last = (r->row + r->n_rows - 1) / 8;

    return (struct column_band){ .stored = stored,
                                 .stride = r->container->stored[stored].dim[1] * 4,
                                 .n_lines = n_lines,
                                 .first = first * 4,
                                 .width = (last - first + 1) * 4 };
}

/*
 * Codes in words of eight rows: those of line k, row i go to out[i * n_lines + k]. place says where
 * in a word a row lies.
 */
static bl_status unpack_rows(uint8_t *out, const bl_reading *r, size_t stored, uint64_t n_lines,
                             unsigned (*place)(unsigned))
{
    const struct column_band band = words_of_rows(r, stored, n_lines);
    unsigned char *words = NULL;
    bl_status rc = alloc_band(&words, r, &band);

    if (rc == BL_OK)
        rc = fetch_band(words, r, &band);
    for (uint64_t k = 0; k < n_lines && rc == BL_OK; k++) {
        const unsigned char *line = words + k * band.width;

        for (uint64_t i = 0; i < r->n_rows; i++) {
            uint64_t row = r->row % 8 + i;

            out[i * n_lines + k] =
                bl_int4_code(bl_load_u32(line + row / 8 * 4), place((unsigned)(row % 8)));
        }
    }
    bl_free(words);
    return rc;
}

/* GPTQ: word w of a row's column holds columns 8w to 8w + 7. */
static bl_status unpack_gptq(const struct rows *t)
{
    const bl_reading *r = t->r;
    const struct column_band band = { r->parts->values,
                                      r->container->stored[r->parts->values].dim[1] * 4,
                                      r->n_cols / 8, r->row * 4, r->n_rows * 4 };
    unsigned char *words = NULL;
    bl_status rc = alloc_band(&words, r, &band);

    if (rc == BL_OK)
        rc = fetch_band(words, r, &band);
    for (uint64_t w = 0; w < band.n_lines && rc == BL_OK; w++)
        for (uint64_t i = 0; i < r->n_rows; i++) {
            uint32_t word = bl_load_u32(words + w * band.width + i * 4);

            for (unsigned k = 0; k < 8; k++)
                t->code[i * r->n_cols + 8 * w + k] = bl_int4_code(word, bl_int4_place(k));
        }
    bl_free(words);
    return rc;
}

static bl_status unpack_by_row(const struct rows *t)
{
    const bl_reading *r = t->r;
    void *packed = NULL;
    bl_status rc = bl_reading_fetch(&packed, r, r->parts->values, r->row * r->n_cols / 2,
                                    r->n_rows * r->n_cols / 2);

    if (rc == BL_OK)
        bl_int4_unpack(t->code, packed, (size_t)(r->n_rows * r->n_cols));
    bl_free(packed);
    return rc;
}

static bl_status fill_codes(const struct rows *t)
{
    const bl_reading *r = t->r;

    if (r->parts->coding == BL_CODING_INT4_GROUP)
        return unpack_by_row(t);
    if (r->parts->coding == BL_CODING_GPTQ)
        return unpack_gptq(t);
    return unpack_rows(t->code, r, r->parts->values, r->n_cols, bl_int4_place_awq);
}

/* compressed-tensors packs zero points by column of groups, [ceil(N/8), K/g]: one line for 8 rows. */
static bl_status zeros_by_row(const struct rows *t)
{
    const bl_reading *r = t->r;
    uint64_t first = r->row / 8, n = (r->row + r->n_rows - 1) / 8 - first + 1;
    void *words = NULL;
    bl_status rc =
        bl_reading_fetch(&words, r, r->parts->zeros, first * t->n_groups * 4, n * t->n_groups * 4);

    for (uint64_t i = 0; i < r->n_rows && rc == BL_OK; i++) {
        uint64_t row = r->row % 8 + i;
        const unsigned char *line = (const unsigned char *)words + row / 8 * t->n_groups * 4;

        for (uint64_t g = 0; g < t->n_groups; g++)
            t->zero[i * t->n_groups + g] =
                bl_int4_code(bl_load_u32(line + g * 4), bl_int4_place((unsigned)(row % 8)));
    }
    bl_free(words);
    return rc;
}

static bl_status fill_zeros(const struct rows *t)
{
    const bl_reading *r = t->r;
    const bl_parts *p = r->parts;
    bl_status rc = BL_OK;

    if (p->zeros == BL_NO_PART)
        memset(t->zero, SYMMETRIC_ZERO, (size_t)(r->n_rows * t->n_groups));
    else if (p->coding == BL_CODING_INT4_GROUP)
        rc = zeros_by_row(t);
    else
        rc = unpack_rows(t->zero, r, p->zeros, t->n_groups,
                         p->coding == BL_CODING_AWQ ? bl_int4_place_awq : bl_int4_place);
    for (uint64_t k = 0; k < r->n_rows * t->n_groups && p->zero_minus_one && rc == BL_OK; k++)
        t->zero[k]++;
    return rc;
}

static bl_status scales_transposed(const struct rows *t)
{
    const bl_reading *r = t->r;
    const bl_stored *s = &r->container->stored[r->parts->scales];
    const bl_dtype_traits *traits = bl_dtype_traits_of(s->dtype);
    const uint64_t size = traits->block_bytes;
    const struct column_band band = { r->parts->scales, s->dim[1] * size, t->n_groups,
                                      r->row * size, r->n_rows * size };
    unsigned char *bytes = NULL;
    bl_status rc = alloc_band(&bytes, r, &band);

    if (rc == BL_OK)
        rc = fetch_band(bytes, r, &band);
    for (uint64_t g = 0; g < t->n_groups && rc == BL_OK; g++)
        for (uint64_t i = 0; i < r->n_rows && rc == BL_OK; i++) {
            float *scale = &t->scale[i * t->n_groups + g];

            traits->to_f32(scale, bytes + g * band.width + i * size, 1);
            if (bl_find_nonfinite(scale, 1) == 0)
                rc = bl_reading_fail(r, r->parts->scales, "scale", g, r->row + i);
        }
    bl_free(bytes);
    return rc;
}

static bl_status fill_scales(struct rows *t)
{
    const bl_reading *r = t->r;
    float *scales = NULL;
    bl_status rc;

    if (r->parts->coding != BL_CODING_INT4_GROUP)
        return scales_transposed(t);
    rc = bl_reading_fetch_scales(&scales, r, r->row, r->n_rows, t->n_groups);
    if (rc == BL_OK)
        memcpy(t->scale, scales, (size_t)(r->n_rows * t->n_groups) * sizeof(*scales));
    bl_free(scales);
    return rc;
}

/* The groups of the columns, all of them there; without activation order they are in order. */
static bl_status fill_order(struct rows *t)
{
    const bl_reading *r = t->r;
    bool in_order = true;
    void *order = NULL;
    bl_status rc;

    if (r->parts->order == BL_NO_PART)
        return BL_OK;
    rc = bl_reading_fetch(&order, r, r->parts->order, 0, r->n_cols * 4);
    if (rc != BL_OK)
        return rc;
    t->group_of = order;
    for (uint64_t j = 0; j < r->n_cols; j++) {
        if (t->group_of[j] >= t->n_groups)
            return bl_container_fail(r->err, BL_E_FORMAT, r->container, r->parts->order,
                                     "column %" PRIu64 " is of a group that is not there", j);
        in_order &= t->group_of[j] == j / r->parts->block_cols;
    }
    if (in_order) {
        bl_free(t->group_of);
        t->group_of = NULL;
    }
    return BL_OK;
}

static bl_status read_affine(const bl_reading *r)
{
    struct rows t = { .r = r, .n_groups = r->n_cols / r->parts->block_cols };
    const uint64_t n = r->n_rows * t.n_groups;
    bl_status rc = BL_OK;

    t.code = bl_alloc((size_t)r->n_rows, (size_t)r->n_cols);
    t.scale = bl_alloc((size_t)n, sizeof(*t.scale));
    t.zero = bl_alloc((size_t)n, 1);
    if (!t.code || !t.scale || !t.zero)
        rc = bl_fail_nomem(r->err, r->parts->name);
    if (rc == BL_OK)
        rc = fill_scales(&t);
    if (rc == BL_OK)
        rc = fill_zeros(&t);
    if (rc == BL_OK)
        rc = fill_order(&t);
    if (rc == BL_OK)
        rc = fill_codes(&t);
    for (uint64_t i = 0; i < r->n_rows && rc == BL_OK; i++)
        bl_int4_affine_to_f32(r->out + i * r->n_cols, t.code + i * r->n_cols,
                              t.scale + i * t.n_groups, t.zero + i * t.n_groups, t.group_of,
                              (size_t)r->n_cols, r->parts->block_cols);
    if (rc == BL_OK && !bl_scales_are_below(t.scale, (size_t)n, 16))
        rc = bl_reading_check_finite(r, "int4 code");
    bl_free(t.group_of);
    bl_free(t.zero);
    bl_free(t.scale);
    bl_free(t.code);
    return rc;
}

bl_status bl_reading_int4(const bl_reading *r)
{
    const bl_parts *p = r->parts;
    const bool plain =
        p->coding == BL_CODING_INT4_GROUP && p->zeros == BL_NO_PART && p->order == BL_NO_PART;

    return plain ? read_symmetric(r) : read_affine(r);
}
