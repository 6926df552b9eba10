/*
 * calibrate_layer.h - what is gathered of one layer while its tokens pass: taps on one side, the
 * layer's bytes of a statistics file on the other (formats/stats/stats_writer.h).
 *
 *     bl_layer_sums_new(&sums, config, state, n_threads, err);   with the state of the run
 *     for each layer:
 *         bl_layer_sums_begin(sums, layer, err)
 *         bl_layer_sums_see() is called by the layer's step, a tap
 *         bl_layer_sums_pack(&bytes, sums, err)
 *
 * Sums are F64. Memory: bl_layer_sums_bytes(), and two copies of every token's hidden state (before
 * the layer, before its experts), in memory or in a scratch file, as the state is. One thread
 * calls; results do not depend on the number of threads that work.
 */
#ifndef BL_QUANTIZE_CALIBRATE_LAYER_H
#define BL_QUANTIZE_CALIBRATE_LAYER_H

#include "base/text.h"
#include "formats/arch/config.h"
#include "formats/stats/stats.h"
#include "model/state.h"
#include "model/taps.h"

enum { BL_LAYER_SUMS_COPIES = 2 };

typedef struct bl_layer_sums bl_layer_sums;

/* config is borrowed. */
BL_MUST_USE bl_status bl_layer_sums_new(bl_layer_sums **out, const bl_config *config,
                                        const bl_state *state, int n_threads, struct bl_err *err);
void bl_layer_sums_free(bl_layer_sums *sums); /* NULL is allowed */

/* Which activations bl_layer_sums_see() wants: bl_taps.wanted. */
uint32_t bl_layer_sums_wanted(void);

/* Forget what was seen; `layer` is next. config->n_layers: the final norm. */
BL_MUST_USE bl_status bl_layer_sums_begin(bl_layer_sums *sums, uint32_t layer, struct bl_err *err);

/* A bl_tap_fn, with the bl_layer_sums as context. */
BL_MUST_USE bl_status bl_layer_sums_see(void *sums, const bl_activation *activation,
                                        struct bl_err *err);

/* Rows of the final norm's output, in order. */
BL_MUST_USE bl_status bl_layer_sums_see_final(bl_layer_sums *sums, const float *x, size_t n_rows,
                                              struct bl_err *err);

/* Append the layer's means, counts, saliencies and angle as they lie in the file. */
BL_MUST_USE bl_status bl_layer_sums_pack(bl_text *out, bl_layer_sums *sums, struct bl_err *err);

/* Bytes of that, and bytes held at most for so many tokens, beside the copies. */
uint64_t bl_layer_sums_packed_bytes(const bl_config *config, uint32_t layer);
uint64_t bl_layer_sums_bytes(const bl_config *config, uint64_t n_tokens, int n_threads);

#endif
