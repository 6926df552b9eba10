/*
 * fuzz_bln.c - any bytes as a .bln file. A refusal must bring a sentence that names the file, and
 * free all it took; what is accepted is read in every way, whole and in pieces, which must agree.
 *
 * Checksums would stop a mutated file at the door, so an input is tried as it is, and again with
 * the checksums of superblock, trailer and index made right. Inputs that begin with "IDX" are
 * short: 2 bytes for the size of a payload, the payload, and a raw index; a file is built around.
 */
#include "base/alloc.h"
#include "formats/bln/bln_layout.h"
#include "formats/bln/bln_reader.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_READ = 4 << 20 }; /* const chunks make large tensors from small files */

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void check_failure(bl_status rc, const struct bl_err *err)
{
    require(err->status == rc && strncmp(err->text, "input: ", 7) == 0);
    require(rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED || rc == BL_E_MISMATCH);
}

/* A tensor read at once and in two pieces. */
static void read_tensor(const bl_container *bln, size_t i)
{
    uint64_t n_bytes = bln->stored[i].n_bytes;
    size_t n = n_bytes < MAX_READ ? (size_t)n_bytes : MAX_READ, half = n / 3;
    unsigned char *whole = malloc(n + 1), *pieces = malloc(n + 1);
    struct bl_err err = { 0 };
    bl_status rc = bl_container_read(bln, i, 0, whole, n, &err);

    if (rc != BL_OK) {
        check_failure(rc, &err);
    } else {
        require(bl_container_read(bln, i, 0, pieces, half, NULL) == BL_OK);
        require(bl_container_read(bln, i, half, pieces + half, n - half, NULL) == BL_OK);
        require(memcmp(whole, pieces, n) == 0);
    }
    free(whole);
    free(pieces);
}

static void read_files(const bl_container *bln)
{
    for (size_t i = 0; i < bln->n_side_files + bl_bln_n_shards(bln); i++) {
        struct bl_err err = { 0 };
        char *bytes = NULL;
        size_t n = 0, first, n_tensors;
        bl_status rc;

        if (i < bln->n_side_files) {
            rc = bl_container_side_file(bln, bln->side_file_name[i], &bytes, &n, &err);
        } else {
            rc = bl_bln_shard_header(bln, i - bln->n_side_files, &bytes, &n, &err);
            bl_bln_shard_tensors(&first, &n_tensors, bln, i - bln->n_side_files);
            require(first + n_tensors <= bln->n_stored);
        }
        if (rc != BL_OK)
            check_failure(rc, &err);
        bl_free(bytes);
    }
}

static void try_bytes(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_container *bln = NULL;
    bl_source *source = NULL;
    uint64_t total = 0;
    bl_status rc;

    require(bl_source_memory(&source, "input", data, size, &err) == BL_OK);
    rc = bl_bln_open_source(&bln, source, &err);
    if (rc != BL_OK) {
        check_failure(rc, &err);
        require(bln == NULL);
    } else {
        for (size_t i = 0; i < bln->n_stored && total < MAX_READ; i++) {
            read_tensor(bln, i);
            total += bln->stored[i].n_bytes;
        }
        read_files(bln);
        rc = total < MAX_READ ? bl_bln_verify(bln, 1, NULL, NULL, NULL, &err) : BL_OK;
        if (rc != BL_OK)
            check_failure(rc, &err);
    }
    bl_container_close(bln);
    require(bl_alloc_live() == live);
}

/* Superblock and trailer around an index of n bytes that stands raw in the file. */
static void put_anchors(uint8_t *file, size_t size, bl_bln_anchor *a)
{
    const bool raw = a->index_codec == BL_BLN_RAW && a->index_offset <= size &&
                     a->index_stored <= size - a->index_offset;

    a->file_bytes = size;
    if (raw)
        a->index_hash = bl_hash64(file + a->index_offset, (size_t)a->index_stored);
    bl_bln_pack_anchor(file, a, BL_BLN_SUPERBLOCK);
    bl_bln_pack_anchor(file + size - BL_BLN_ANCHOR_BYTES, a, BL_BLN_TRAILER);
}

static void try_repaired(const uint8_t *data, size_t size)
{
    bl_bln_anchor anchor;
    uint8_t *file;

    if (size < 2 * BL_BLN_ANCHOR_BYTES)
        return;
    file = malloc(size);
    require(file != NULL);
    memcpy(file, data, size);
    bl_bln_unpack_anchor(&anchor, file);
    put_anchors(file, size, &anchor);
    try_bytes(file, size);
    free(file);
}

static void try_index(const uint8_t *data, size_t size)
{
    size_t n_payload = size < 2 ? 0 : (size_t)(data[0] | data[1] << 8), padded, n_index, total;
    bl_bln_anchor anchor = { .major = BL_BLN_MAJOR, .state = BL_BLN_COMPLETE, .n_parts = 1 };
    uint8_t *file;

    if (size < 2 || n_payload > size - 2)
        return;
    n_index = size - 2 - n_payload;
    padded = (n_payload + BL_BLN_ALIGN - 1) / BL_BLN_ALIGN * BL_BLN_ALIGN;
    total = (size_t)2 * BL_BLN_ANCHOR_BYTES + padded +
            (n_index + BL_BLN_ALIGN - 1) / BL_BLN_ALIGN * BL_BLN_ALIGN;
    file = calloc(1, total);
    require(file != NULL);
    memcpy(file + BL_BLN_ANCHOR_BYTES, data + 2, n_payload);
    memcpy(file + BL_BLN_ANCHOR_BYTES + padded, data + 2 + n_payload, n_index);
    anchor.index_offset = BL_BLN_ANCHOR_BYTES + padded;
    anchor.index_stored = anchor.index_decoded = n_index;
    put_anchors(file, total, &anchor);
    try_bytes(file, total);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 3 && memcmp(data, "IDX", 3) == 0) {
        try_index(data + 3, size - 3);
        return 0;
    }
    try_bytes(data, size);
    try_repaired(data, size);
    return 0;
}
