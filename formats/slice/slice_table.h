/*
 * slice_table.h - which stored tensors of a source a slice has, under which names, and which part of each.
 * Internal to formats/slice.
 */
#ifndef BL_FORMATS_SLICE_TABLE_H
#define BL_FORMATS_SLICE_TABLE_H

#include "base/arena.h"
#include "formats/json/json.h"
#include "formats/slice/slice.h"

/* A stored tensor of the slice: all of one of the source, or some of its outermost indices. */
typedef struct bl_slice_part {
    size_t source;        /* number in the source's container */
    const uint32_t *unit; /* [stored.dim[0]] outermost indices that stay; NULL: all */
    uint64_t unit_bytes;  /* of one of them */
} bl_slice_part;

typedef struct bl_slice_table {
    const bl_container *source;
    size_t n;
    bl_stored *stored;   /* [n] names and shapes of the slice; shard and offset are the source's */
    bl_slice_part *part; /* [n] */
    uint32_t *layer_to;  /* [n_source_layers] number in the slice; UINT32_MAX: dropped */
    uint32_t *expert_to; /* [n_source_layers][source's n_experts], the same; all in dense layers */
    uint32_t n_source_layers, n_source_experts; /* MTP layers are counted */
    bl_arena arena;                             /* holds everything here */
} bl_slice_table;

BL_MUST_USE bl_status bl_slice_table_make(bl_slice_table *out, const bl_ckpt *source,
                                          const bl_slice *slice, struct bl_err *err);
void bl_slice_table_release(bl_slice_table *table); /* zeroed is allowed */

/*
 * The name of a tensor or module in the slice, appended; false and nothing appended when it is not there any
 * more. Names without a layer, or with one that the source has not, stay.
 */
bool bl_slice_rename(bl_text *out, const bl_slice_table *table, const char *name);

/* Bytes [offset, offset + n) of tensor i of the slice. */
BL_MUST_USE bl_status bl_slice_read(const bl_slice_table *table, size_t i, uint64_t offset,
                                    void *out, size_t n, struct bl_err *err);
void bl_slice_prefetch(const bl_slice_table *table, size_t i, uint64_t offset, uint64_t n);

/* What a source says of itself; one that was never pruned is its own original. The caller releases it. */
BL_MUST_USE bl_status bl_slice_source_record(bl_pruning *out, const bl_ckpt *source,
                                             struct bl_err *err);

/* Append the record that the slice carries, as text. */
BL_MUST_USE bl_status bl_slice_record(bl_text *out, const bl_ckpt *source, const bl_slice *slice,
                                      struct bl_err *err);

/* The numbers of the configuration that change. */
typedef struct bl_slice_numbers {
    uint32_t n_layers, n_mtp_layers, first_k_dense, n_experts, n_experts_used, n_group, topk_group;
} bl_slice_numbers;

bl_slice_numbers bl_slice_numbers_of(const bl_config *config, const bl_slice *slice);

/* Append a JSON value with the names of tensors and modules in it renamed; those not there are left out. */
BL_MUST_USE bl_status bl_slice_json(bl_text *out, const bl_json_value *value,
                                    const bl_slice_table *table, struct bl_err *err);

/* config.json of the slice, out of the source's. */
BL_MUST_USE bl_status bl_slice_config(bl_text *out, const bl_ckpt *source, const bl_slice *slice,
                                      const bl_slice_table *table, struct bl_err *err);

/* Either takes the table over, also on failure. */
BL_MUST_USE bl_status bl_slice_folder(bl_container **out, const bl_ckpt *source,
                                      const bl_slice *slice, bl_slice_table *table,
                                      struct bl_err *err);
BL_MUST_USE bl_status bl_slice_gguf(bl_container **out, const bl_ckpt *source,
                                    const bl_slice *slice, bl_slice_table *table,
                                    struct bl_err *err);

#endif
