/*
 * fuzz_logits.c - any bytes as a file of kept logits. A refusal must bring a sentence that names
 * the file, and free all it took; of what is accepted every row is read.
 *
 * Checksums would stop a mutated file at the door, so an input is tried as it is, and again with
 * all of them made right.
 */
#include "base/alloc.h"
#include "base/le.h"
#include "base/size.h"
#include "formats/logits/logits_reader.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

static void read_rows(const bl_logits_reader *r)
{
    float *row = malloc(r->info.hidden_size * sizeof(*row) + 1);
    bl_logits_sparse sparse;
    struct bl_err err = { 0 };
    bl_status rc = BL_OK;

    for (uint64_t i = 0; i < r->layout.n_head && rc == BL_OK; i++)
        rc = bl_logits_read_head(row, r, i, 1, &err);
    for (uint64_t i = 0; i < r->info.n_scored && rc == BL_OK; i++)
        rc = r->info.kind == BL_LOGITS_SPARSE ? bl_logits_read_sparse(&sparse, r, i, 1, &err)
                                              : bl_logits_read_hidden(row, r, i, 1, &err);
    if (rc != BL_OK)
        check_failure(rc, &err);
    free(row);
}

static void try_bytes(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    bl_logits_reader *r = NULL;
    bl_source *source = NULL;
    struct bl_err err = { 0 };
    bl_status rc;

    require(bl_source_memory(&source, "input", data, size, &err) == BL_OK);
    rc = bl_logits_open_source(&r, source, &err);
    if (rc == BL_OK)
        read_rows(r);
    else
        check_failure(rc, &err);
    bl_logits_close(r);
    require(bl_alloc_live() == live);
}

static bl_hash128 hash_of(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b)
{
    bl_hasher *hasher = NULL;
    bl_hash128 hash;

    require(bl_hasher_new(&hasher, NULL) == BL_OK);
    bl_hasher_add(hasher, a, n_a);
    bl_hasher_add(hasher, b, n_b);
    hash = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    return hash;
}

/* Hashes of the blocks of one table, at *at, which moves on. */
static void put_hashes(uint8_t **at, const uint8_t *rows, uint64_t n_rows, uint64_t row_bytes)
{
    for (uint64_t i = 0; i < n_rows; i += BL_LOGITS_BLOCK_ROWS, *at += 8)
        bl_put_u64(*at,
                   bl_hash64(rows + i * row_bytes,
                             (size_t)(bl_min_u64(BL_LOGITS_BLOCK_ROWS, n_rows - i) * row_bytes)));
}

static void repair(uint8_t *f, size_t size)
{
    bl_logits_info info;
    bl_logits_layout l;
    bl_hash128 hash;
    uint64_t unused;
    uint8_t *at;

    bl_put_u64(f + 16, size);
    bl_put_u64(f + 248, bl_hash64(f, 248));
    if (bl_logits_unpack_header(&info, &l, &unused, f, size, "input", NULL) != BL_OK)
        return;
    hash = hash_of(f + 256, (size_t)l.seqs - 256, f, 0);
    bl_put_u64(f + 72, hash.low);
    bl_put_u64(f + 80, hash.high);
    bl_put_u64(f + 104, bl_hash64(f + l.seqs, (size_t)(l.head - l.seqs)));
    bl_put_u64(f + 248, bl_hash64(f, 248));
    at = f + l.hashes;
    put_hashes(&at, f + l.head, l.n_head, l.head_bytes);
    put_hashes(&at, f + l.records, info.n_scored, l.record_bytes);
    hash = hash_of(f, 256, f + l.hashes, (size_t)l.n_blocks * 8);
    bl_put_u64(at, hash.low);
    bl_put_u64(at + 8, hash.high);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *file;

    try_bytes(data, size);
    if (size < BL_LOGITS_HEADER_BYTES)
        return 0;
    file = malloc(size);
    require(file != NULL);
    memcpy(file, data, size);
    repair(file, size);
    try_bytes(file, size);
    free(file);
    return 0;
}
