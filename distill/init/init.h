/*
 * init.h - where a student comes from: random numbers, or a teacher cut down. (A student that exists already is
 * a checkpoint, and needs nothing from here.)
 *
 * What these functions open is a checkpoint in F32 of which nothing is written: conversions write it, the
 * network runs it. It is dense and has no MTP layers. It borrows from the checkpoint that it is made from,
 * which must outlive it; options are read only while opening.
 */
#ifndef BL_DISTILL_INIT_H
#define BL_DISTILL_INIT_H

#include "formats/ckpt/ckpt.h"
#include "formats/stats/stats.h"
#include "prune/criteria.h"

/* The shape of a network, as users say it. 0: the default, which all but the first six have. */
typedef struct bl_init_shape {
    const char *family; /* bl_arch_by_family() */
    uint64_t hidden, n_layers, n_heads, intermediate, max_positions;
    uint64_t n_kv_heads, head_dim;           /* grouped queries: n_heads, hidden / n_heads */
    uint64_t q_lora, kv_lora, nope, rope, v; /* latent attention; q_lora 0: none */
    double rope_theta;
    bool tied; /* the head is the embedding */
} bl_init_shape;

/*
 * Random numbers: matrices normal with deviation 0.02, those that add to the residual stream (o_proj, down_proj)
 * divided by sqrt(2 n_layers) (GPT-2); norms 1, biases 0. Vocabulary, special ids and tokenizer files are the
 * model's. BL_E_USAGE for a shape that is none.
 */
BL_MUST_USE bl_status bl_init_random_open(bl_ckpt **out, const bl_init_shape *shape, uint64_t seed,
                                          const bl_ckpt *model, struct bl_err *err);

/* By what the outputs of a kept expert e are multiplied in the dense layer. Sums over a text of n tokens. */
typedef enum bl_init_scale {
    BL_SCALE_MEAN,     /* sum g_e / n_e: its mean weight where it was chosen */
    BL_SCALE_EXPECTED, /* sum g_e / n: what it adds to a token on average */
    BL_SCALE_SHARE,    /* the same times (sum of all g) / (sum of the kept ones' g) */
    BL_SCALE_ONE,
    BL_SCALE_COUNT
} bl_init_scale;

const char *bl_init_scale_name(bl_init_scale scale);
bool bl_init_scale_by_name(bl_init_scale *out, const char *name);

/* What stays of a teacher. */
typedef struct bl_init_cut {
    const uint32_t *layer; /* [n_layers] ascending, numbers of the teacher's */
    uint32_t n_layers;
    uint32_t n_experts;            /* of each layer that has some; 0: the kept layers are dense */
    uint64_t hidden, intermediate; /* channels; 0: all */
    bl_prune_method method;        /* which experts */
    bl_init_scale scale;
    uint64_t seed;
    const bl_stats *stats; /* of the teacher; NULL: none */
    int n_threads;
} bl_init_cut;

/* What a user may want to hear of a cut. */
typedef struct bl_init_report {
    uint64_t intermediate;
    uint32_t n_padded;    /* layers whose FFN is narrower, and ends in zeros */
    bool other_precision; /* the statistics are of the same model in another precision */
} bl_init_report;

/*
 * A teacher with fewer layers, channels, and one dense FFN in the place of a layer's experts
 * (docs/distill-init.md). Fails with BL_E_USAGE for what cannot be cut like this, BL_E_FORMAT where statistics
 * do not have what is asked of them, and as reading does.
 *
 * Memory: 4 bytes for each kept channel of each layer, and while channels are chosen 8 bytes for each channel of
 * as many layers or tensors as there are; no weights but those that are read.
 */
BL_MUST_USE bl_status bl_init_cut_open(bl_ckpt **out, bl_init_report *report,
                                       const bl_ckpt *teacher, const bl_init_cut *cut,
                                       struct bl_err *err);

/*
 * n of n_layers, evenly spaced, the first and the last among them: layer[n]. "4" says how many, "0,2,5" or
 * "0-3,7" which. BL_E_USAGE. The caller frees *layer with bl_free().
 */
BL_MUST_USE bl_status bl_init_parse_layers(uint32_t **layer, uint32_t *n, const char *text,
                                           uint32_t n_layers, struct bl_err *err);

/*
 * BL_E_MISMATCH, with the first difference, when a student does not read texts as its teacher does: ids, merges,
 * split expressions, special ids.
 */
BL_MUST_USE bl_status bl_init_same_tokenizer(const bl_ckpt *student, const bl_ckpt *teacher,
                                             struct bl_err *err);

#endif
