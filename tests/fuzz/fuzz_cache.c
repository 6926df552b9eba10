/*
 * fuzz_cache.c - any bytes as a shard of a cache. A refusal must bring a sentence that names the file,
 * and free all it took; of what is accepted every sequence is read, and what is read must be what
 * formats/logits/cache.h promises.
 *
 * Checksums would stop a mutated file at the door, so an input is tried as it is, and again with
 * all of them made right.
 */
#include "base/alloc.h"
#include "formats/logits/cache_file.h"
#include "tests/unit/cache_repair.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_VALUES = 1 << 22 }; /* larger than this is slow, not wrong */

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

static void check_answer(const bl_cache_seq *s, uint32_t i, const bl_cache_info *info)
{
    uint64_t n_draws = 0;

    require(s->first[i + 1] >= s->first[i]);
    require(s->target[i] >= 0 || s->first[i + 1] == s->first[i]);
    for (uint32_t k = s->first[i]; k < s->first[i + 1]; k++) {
        require(s->id[k] < info->vocab_size && (k == s->first[i] || s->id[k] > s->id[k - 1]));
        n_draws += s->count[k];
    }
    require(info->kind != BL_CACHE_SAMPLED || s->target[i] < 0 || n_draws == info->n_draws);
}

static void read_seqs(const bl_cache_file *file, bl_source *source)
{
    const bl_cache_info *info = &file->header.info;
    bl_cache_seq seq = { 0 };
    struct bl_err err = { 0 };
    bl_status rc = BL_OK;

    if (info->vocab_size > MOST_VALUES ||
        (uint64_t)info->n_positions * (info->hidden_size + 1) > MOST_VALUES ||
        file->header.n_entries > MOST_VALUES)
        return;
    for (uint32_t i = 0; i < file->layout.n_seqs && rc == BL_OK; i++) {
        rc = bl_cache_file_read(&seq, file, source, i, &err);
        for (uint32_t k = 0; k < info->n_positions && rc == BL_OK; k++)
            check_answer(&seq, k, info);
    }
    if (rc != BL_OK)
        check_failure(rc, &err);
    bl_cache_seq_release(&seq);
}

static void try_bytes(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    bl_cache_file file = { 0 };
    bl_source *source = NULL;
    struct bl_err err = { 0 };
    bl_status rc;

    require(bl_source_memory(&source, "input", data, size, &err) == BL_OK);
    rc = bl_cache_file_open(&file, source, &err);
    if (rc == BL_OK)
        read_seqs(&file, source);
    else
        check_failure(rc, &err);
    bl_cache_file_release(&file);
    bl_source_close(source);
    require(bl_alloc_live() == live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *file;

    try_bytes(data, size);
    if (size < BL_CACHE_HEADER_BYTES)
        return 0;
    file = malloc(size);
    require(file != NULL);
    memcpy(file, data, size);
    cache_repair(file, size);
    try_bytes(file, size);
    free(file);
    return 0;
}
