/*
 * stats.h - calibration statistics on disk (docs/format-stats.md): a safetensors file of ours, or
 * llama.cpp's imatrix (GGUF), which has less of the same. Both are told apart by their first bytes.
 *
 * Opening reads the table and checks all of it; values are read by position when they are asked
 * for, and checked then. Nothing is held but 32 bytes for each layer and site (and of an imatrix
 * the means over a layer's experts). After open nothing changes: threads may share it.
 *
 * Tensors: "layers.{L}.{site}" F32 [channels] or [experts][channels], mean squares; with
 * ".count" I64 [1] or [experts] behind it, the tokens behind each row. "layers.{L}.saliency"
 * F64 [experts][6], "layers.{L}.angle" F64 [1], "sensitivity" F64 [rows][roles].
 */
#ifndef BL_FORMATS_STATS_H
#define BL_FORMATS_STATS_H

#include "base/hash.h"
#include "base/source.h"
#include "formats/ckpt/ckpt.h"
#include "formats/stats/stats_site.h"

enum {
    BL_STATS_VERSION = 1,
    BL_STATS_MAX_PARTS = 4096,
    BL_STATS_MAX_ROLES = 256,
    BL_STATS_MAX_LAYERS = 65536
};

/* Where the statistics come from. Of an imatrix: has_model is false, its four hashes are zero. */
typedef struct bl_stats_info {
    bool has_model;
    bl_hash128 identity;    /* of the model: formats/ckpt/identity.h */
    bl_hash128 fingerprint; /* of its container: formats/ckpt/fingerprint.h */
    bl_hash128 text;        /* XXH3-128 of the text's bytes */
    bl_hash128 token_ids;   /* and of its token ids as I32 (so: of text and tokenizer) */
    uint64_t n_tokens;      /* that passed through the model */
    uint32_t ctx;           /* tokens of a sequence; 0: an imatrix did not say */
    uint32_t n_layers;
    uint32_t n_heads; /* of attention; 0: not known */
    /* The text's sequences were dealt out to n_parts; bit i: part i (of 0 ..) is in here. */
    uint32_t n_parts; /* 1: not divided */
    unsigned char part[BL_STATS_MAX_PARTS / 8];
} bl_stats_info;

/* What pruning criteria are made of: sums over the tokens that chose an expert. */
typedef struct bl_stats_saliency {
    uint64_t n;       /* tokens */
    double gate;      /* sum of g: the router's weight as it is used, its scale included */
    double norm;      /* sum of |E(x)|_2: before the weight */
    double norm2;     /* sum of |E(x)|_2^2 */
    double gate_norm; /* sum of g |E(x)|_2 */
    /* sum of g |E(x)|_2 max(0, 1 - cos(h, h + r)): h before the experts, r the routed sum */
    double gate_norm_turn;
    double max_abs; /* the largest |E(x)_j| */
} bl_stats_saliency;

enum { BL_STATS_SALIENCY_COLS = 6 }; /* of the tensor: all but n, in this order */

typedef struct bl_stats bl_stats;

/*
 * Fails with BL_E_FORMAT (not such a file, damaged, contradicts itself), BL_E_UNSUPPORTED (a later
 * version), BL_E_IO or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_stats_open(bl_stats **out, const char *path, struct bl_err *err);
/* The same from any source, which now belongs to the statistics: it is closed on failure too. */
BL_MUST_USE bl_status bl_stats_open_source(bl_stats **out, bl_source *source, struct bl_err *err);
void bl_stats_close(bl_stats *stats); /* NULL is allowed */

const char *bl_stats_path(const bl_stats *stats);
const bl_stats_info *bl_stats_info_of(const bl_stats *stats);
uint32_t bl_stats_n_parts_in(const bl_stats_info *info); /* how many of n_parts are in it */

/* layer = n_layers for what is outside the layers. n_rows 0: the file has none. */
bl_stats_shape bl_stats_shape_of(const bl_stats *stats, bl_stats_site site, uint32_t layer);

/*
 * Mean squares of rows [row, row + n_rows) to mean[n_rows][n_cols], and the tokens behind each row
 * to count[n_rows]; either may be NULL. The rows must be there. A row without tokens is zero. Fails
 * with BL_E_FORMAT when a value is negative or not finite.
 */
BL_MUST_USE bl_status bl_stats_read(float *mean, uint64_t *count, const bl_stats *stats,
                                    bl_stats_site site, uint32_t layer, uint64_t row,
                                    uint64_t n_rows, struct bl_err *err);

/* Whether this layer has them: layers without experts, and imatrix files, have none. */
bool bl_stats_has_saliency(const bl_stats *stats, uint32_t layer);
/* out[n_experts] (the rows of BL_SITE_EXPERT_INPUT) */
BL_MUST_USE bl_status bl_stats_read_saliency(bl_stats_saliency *out, const bl_stats *stats,
                                             uint32_t layer, struct bl_err *err);

/*
 * How far the layer turns the residual stream: sum over tokens of arccos(cos(h_in, h_out)) / pi,
 * and how many tokens. *n 0: the file does not know.
 */
BL_MUST_USE bl_status bl_stats_read_angle(double *sum, uint64_t *n, const bl_stats *stats,
                                          uint32_t layer, struct bl_err *err);

/*
 * A table of measured sensitivities that another module puts into a file (stats_writer.h:
 * bl_stats_add_sensitivity): n_rows (layers, as the writer counts them) by n_roles, whose names
 * are the writer's. False when there is none.
 */
bool bl_stats_sensitivity_shape(uint64_t *n_rows, uint64_t *n_roles, const bl_stats *stats);
const char *bl_stats_sensitivity_role(const bl_stats *stats, uint64_t i);
/* out[n_rows][n_roles] */
BL_MUST_USE bl_status bl_stats_read_sensitivity(double *out, const bl_stats *stats,
                                                struct bl_err *err);

/*
 * Whether the statistics may be used for this model. The same identity and fingerprint: BL_OK; the
 * same identity in another container or precision: BL_OK with *other_precision set (a warning);
 * another identity (pruned, trained, another network): BL_E_MISMATCH. An imatrix has no identity:
 * its shapes are compared. Shapes are compared always.
 */
BL_MUST_USE bl_status bl_stats_check(bool *other_precision, const bl_stats *stats,
                                     const bl_ckpt *ckpt, struct bl_err *err);

#endif
