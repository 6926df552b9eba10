/*
 * gptq_matrix.h - one matrix encoded twice, by the search and by GPTQ on the search's scales, and
 * the judge between them: the tokens that were held out.
 *
 *     error = sum over held-out tokens of |(W - What) x|^2
 *
 * The codes of GPTQ are taken only where their error is smaller, so it never loses on inputs that
 * it has not seen; without held-out tokens there is no judge, and the search's stay.
 *
 * A tile of BL_GPTQ_ROWS rows is read, encoded and judged by one thread: neither W nor its decoded
 * form is ever whole in memory.
 */
#ifndef BL_QUANTIZE_GPTQ_MATRIX_H
#define BL_QUANTIZE_GPTQ_MATRIX_H

#include "formats/view/view.h"
#include "quantize/gptq.h"

#include <stdbool.h>

typedef struct bl_gptq_matrix {
    bl_rows rows; /* the weights; thread-safe */
    uint64_t n_rows;
    const bl_code_grid *grid;
    const float *importance;      /* [n_cols], or NULL: unknown */
    const bl_gptq_factor *factor; /* NULL: only the search */
    const float *held;            /* [n_held][n_cols] */
    size_t n_held;
    uint32_t n_parts; /* that depend on rows */
    uint64_t row_bytes[BL_JOB_MAX_PARTS];

    unsigned char *search[BL_JOB_MAX_PARTS], *gptq[BL_JOB_MAX_PARTS]; /* [n_rows][row_bytes] */
    double (*error)[2]; /* [n_tiles]: of the search, of GPTQ */
} bl_gptq_matrix;

/* Where one thread works, for matrices of at most max_cols columns. */
typedef struct bl_gptq_work {
    bl_gptq_tile tile;
    float *w;       /* [ROWS][max_cols]: W, then W - What */
    float *offset;  /* [SET_ROWS][max_cols] */
    float *step;    /* [SET_ROWS][max_cols] */
    float *product; /* [HELD][ROWS] */
    uint8_t *code;  /* [max_cols] */
} bl_gptq_work;

uint64_t bl_gptq_work_bytes(size_t max_cols);
BL_MUST_USE bl_status bl_gptq_work_init(bl_gptq_work *out, size_t max_cols, struct bl_err *err);
void bl_gptq_work_release(bl_gptq_work *work);

/* Make room for the encoded rows; what stands before them is set by the caller. */
BL_MUST_USE bl_status bl_gptq_matrix_init(bl_gptq_matrix *matrix, struct bl_err *err);
void bl_gptq_matrix_release(bl_gptq_matrix *matrix);

size_t bl_gptq_matrix_tiles(const bl_gptq_matrix *matrix);

/* Tile i, by any thread, once. Fails with BL_E_UNSUPPORTED when a value does not fit the type. */
BL_MUST_USE bl_status bl_gptq_matrix_run(bl_gptq_matrix *matrix, size_t i, bl_gptq_work *work,
                                         struct bl_err *err);

/* Sums over all tiles. */
typedef struct bl_gptq_verdict {
    double search_error, gptq_error; /* over held-out tokens */
    bool accepted;                   /* GPTQ's codes */
} bl_gptq_verdict;

bl_gptq_verdict bl_gptq_matrix_judge(const bl_gptq_matrix *matrix);

#endif
