/*
 * ckpt.h - "open anything": a checkpoint is a table of canonical tensors, whatever file it lies in.
 *
 * A canonical tensor has the name, shape and row order of the family's Hugging Face checkpoint
 * (formats/arch); it may be stored in parts (FP8 codes and scales, packed int4 and scales), across
 * shards, or inside a stacked or transposed GGUF tensor. Readers see rows of F32.
 *
 * The matrix of a tensor: its last dimension is a row; all others together count rows. A
 * one-dimensional tensor is one row, a scalar one row of one value.
 *
 * After open a checkpoint does not change: threads may read it at the same time.
 */
#ifndef BL_FORMATS_CKPT_H
#define BL_FORMATS_CKPT_H

#include "base/err.h"
#include "formats/arch/arch.h"
#include "formats/arch/config.h"
#include "formats/ckpt/container.h"
#include "formats/dtype/dtype.h"
#include "formats/hfquant/hfquant.h"
#include "formats/tokenizer/tokenizer_file.h"

typedef struct bl_ckpt bl_ckpt;

typedef struct bl_tensor {
    const char *name;      /* canonical; owned by the checkpoint */
    const char *type_name; /* how it is stored, for people: "F8_E4M3 128x128", "Q4_0" */
    bl_dtype dtype;        /* of the values, or of their codes */
    uint32_t ndim;
    uint64_t dim[BL_MAX_DIMS]; /* elements, outermost first */
    uint64_t n_values;
    uint64_t n_bytes;        /* stored, all parts together */
    uint64_t n_rows, n_cols; /* the matrix of the tensor */
    uint64_t row_unit;       /* reading whole multiples of this many rows wastes nothing */
    bl_role role;
    int32_t layer, expert; /* -1 = none */
    bool is_mtp;
} bl_tensor;

/*
 * Open a Hugging Face directory, a .safetensors file, a .bln or a .gguf. Every part of every
 * tensor is found and its shape checked; no weight is read. The caller closes it.
 */
BL_MUST_USE bl_status bl_ckpt_open(bl_ckpt **out, const char *path, struct bl_err *err);

/* The same from a container, which is taken over: closed with the checkpoint, or on failure. */
BL_MUST_USE bl_status bl_ckpt_of(bl_ckpt **out, bl_container *container, struct bl_err *err);
void bl_ckpt_close(bl_ckpt *ckpt);

const char *bl_ckpt_path(const bl_ckpt *ckpt);
const bl_container *bl_ckpt_container(const bl_ckpt *ckpt);
const bl_config *bl_ckpt_config(const bl_ckpt *ckpt);
/* False for a lone .safetensors file without config.json: tensors are then listed as stored. */
bool bl_ckpt_has_config(const bl_ckpt *ckpt);

/* Canonical tensors in the order of the file. */
size_t bl_ckpt_n_tensors(const bl_ckpt *ckpt);
const bl_tensor *bl_ckpt_tensor(const bl_ckpt *ckpt, size_t i);
const bl_tensor *bl_ckpt_find(const bl_ckpt *ckpt, const char *name); /* NULL: not there */

/*
 * Decode rows [row, row + n_rows) to out[n_rows][n_cols]. Thread-safe. Fails with BL_E_FORMAT when a
 * value is not finite (a NaN code, a scale that is not a number), naming file and tensor.
 */
BL_MUST_USE bl_status bl_ckpt_read_rows(const bl_ckpt *ckpt, const bl_tensor *tensor, uint64_t row,
                                        uint64_t n_rows, float *out, struct bl_err *err);

/* How the tensor lies in the container's stored tensors; NULL in a GGUF file. */
const bl_parts *bl_ckpt_parts(const bl_ckpt *ckpt, const bl_tensor *tensor);

/* Begin to read the tensor's bytes from the disk and come back at once: a hint. */
void bl_ckpt_prefetch(const bl_ckpt *ckpt, const bl_tensor *tensor);

/* The same for some rows, as near as the encoding allows. */
void bl_ckpt_prefetch_rows(const bl_ckpt *ckpt, const bl_tensor *tensor, uint64_t row,
                           uint64_t n_rows);

/* The same for a tensor that must exist with n_rows x n_cols in all. */
BL_MUST_USE bl_status bl_ckpt_expect(const bl_tensor **out, const bl_ckpt *ckpt, const char *name,
                                     uint64_t n_rows, uint64_t n_cols, struct bl_err *err);

/* A side file of the checkpoint, as in container.h. */
BL_MUST_USE bl_status bl_ckpt_side_file(const bl_ckpt *ckpt, const char *name, char **out,
                                        size_t *n_bytes, struct bl_err *err);

/*
 * The tokenizer's tables, from tokenizer.json and tokenizer_config.json beside the weights, or from
 * the metadata of a GGUF file. The caller frees them. BL_E_UNSUPPORTED when there is no tokenizer.
 */
BL_MUST_USE bl_status bl_ckpt_tokenizer_file(bl_tokenizer_file **out, const bl_ckpt *ckpt,
                                             struct bl_err *err);

/*
 * The same from a path, without a look at the network: a folder needs nothing but its
 * tokenizer.json, and of a GGUF file only the metadata are read.
 */
BL_MUST_USE bl_status bl_ckpt_open_tokenizer(bl_tokenizer_file **out, const char *path,
                                             struct bl_err *err);

#endif
