/*
 * gptq_store.h - what GPTQ has made, a file for each layer, until the output is written.
 *
 * GPTQ meets matrices in the order of a forward pass, an output wants them in its own (a stacked
 * tensor has the experts of a layer one after the other), and a run of days must be able to go on.
 * So a finished layer lies in FOLDER/baleen-gptq-<32 hexadecimal digits>-<layer>.safetensors; the
 * digits are those of what made it (model, text, types, options: the caller's id). A file is
 * there whole or not at all, and is believed only when its table is the expected one and its
 * checksum right:
 *
 *     "run"                U64 [2]    the id
 *     "<part>#<row>"       U8 [n_rows][row_bytes]    of each item and part, in the order of items
 *     "sum"                U64 [2]    XXH3-128 of all data before
 *
 * Scratch of this program, not an interchange format. Reading is thread-safe.
 */
#ifndef BL_QUANTIZE_GPTQ_STORE_H
#define BL_QUANTIZE_GPTQ_STORE_H

#include "base/hash.h"
#include "quantize/gptq_items.h"

typedef struct bl_gptq_store bl_gptq_store;
typedef struct bl_gptq_layer bl_gptq_layer;

/* folder and items are borrowed. Nothing is opened yet. */
BL_MUST_USE bl_status bl_gptq_store_new(bl_gptq_store **out, const char *folder, bl_hash128 id,
                                        const bl_gptq_items *items, struct bl_err *err);
void bl_gptq_store_free(bl_gptq_store *store); /* the files stay; NULL is allowed */

/* Whether any layer's file is there. */
bool bl_gptq_store_exists(const bl_gptq_store *store);

/*
 * Open a finished layer and check all of it. Fails with BL_E_IO when it is not there, BL_E_FORMAT
 * when it is not what it should be.
 */
BL_MUST_USE bl_status bl_gptq_store_open(bl_gptq_store *store, uint32_t layer, struct bl_err *err);

/* Write a layer: the parts of its items, in order; then it is open. Replaces what is there. */
BL_MUST_USE bl_status bl_gptq_layer_begin(bl_gptq_layer **out, bl_gptq_store *store, uint32_t layer,
                                          struct bl_err *err);
BL_MUST_USE bl_status bl_gptq_layer_put(bl_gptq_layer *layer, const void *bytes, size_t n,
                                        struct bl_err *err);
BL_MUST_USE bl_status bl_gptq_layer_commit(bl_gptq_layer **layer, struct bl_err *err);
void bl_gptq_layer_abort(bl_gptq_layer **layer); /* NULL inside is allowed */

/*
 * Let the plan's jobs that items cover take their parts from the store, which all layers must be
 * open in. plan: the one that the items were made of.
 */
void bl_gptq_store_lend(bl_gptq_store *store, bl_plan *plan);

/* Bytes [offset, offset + n) of part k of item i. */
BL_MUST_USE bl_status bl_gptq_store_read(const bl_gptq_store *store, size_t item, uint32_t part,
                                         uint64_t offset, void *out, size_t n, struct bl_err *err);

/* Close and remove the files of all layers. */
BL_MUST_USE bl_status bl_gptq_store_remove(bl_gptq_store *store, struct bl_err *err);

#endif
