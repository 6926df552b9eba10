/*
 * make_cache.c - write a small cache of each kind: FOLDER/sampled, top-k, mixed and hidden. Their answers
 * are made up (tests/unit/cache_maker.h). For tests/corpus/cache/make.py.
 */
#include "base/alloc.h"
#include "formats/logits/cache_writer.h"
#include "tests/unit/cache_maker.h"

#include <stdio.h>
#include <stdlib.h>

static void require(bl_status rc, const struct bl_err *err)
{
    if (rc == BL_OK)
        return;
    fprintf(stderr, "make_cache: %s\n", err->text);
    exit(1);
}

static bl_status head_rows(void *context, float *out, uint64_t row, uint64_t n, struct bl_err *err)
{
    const bl_cache_info *info = context;

    (void)err;
    for (uint64_t i = 0; i < n * info->hidden_size; i++)
        out[i] = (float)((row * info->hidden_size + i) % 251) / 8 - 9;
    return BL_OK;
}

static void write_cache(const char *folder, cache_maker maker)
{
    char *path = bl_format("%s/%s", folder, bl_cache_kind_name(maker.info.kind));
    bl_cache_info *info = &maker.info;
    bl_cache_shard *shard = NULL;
    bl_cache_seq seq = { 0 };
    struct bl_err err;

    if (!path)
        exit(1);
    for (uint32_t i = 0, next = 0; i < info->n_shards; i++) {
        require(bl_cache_shard_begin(&shard, path, info, i, true, &err), &err);
        for (; next < (uint64_t)info->n_seqs * (i + 1) / info->n_shards; next++) {
            if (!maker_seq(&maker, &seq))
                exit(1);
            require(bl_cache_shard_add(shard, &seq, &err), &err);
        }
        require(bl_cache_shard_commit(&shard, &err), &err);
    }
    if (info->kind == BL_CACHE_HIDDEN)
        require(bl_cache_write_head(path, info, true, true, head_rows, info, &err), &err);
    bl_cache_seq_release(&seq);
    bl_free(path);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: make_cache FOLDER\n", stderr);
        return 2;
    }
    for (int kind = BL_CACHE_SAMPLED; kind <= BL_CACHE_HIDDEN; kind++) {
        const bool sample = kind == BL_CACHE_SAMPLED || kind == BL_CACHE_MIXED;
        const bool top = kind == BL_CACHE_TOP_K || kind == BL_CACHE_MIXED;
        cache_maker maker = { .info = { .kind = (bl_cache_kind)kind,
                                        .vocab_size = 300,
                                        .n_positions = 24,
                                        .n_seqs = 5,
                                        .n_shards = 2,
                                        .n_draws = sample ? 12 : 0,
                                        .n_top = top ? 6 : 0,
                                        .hidden_size = kind == BL_CACHE_HIDDEN ? 4 : 0,
                                        .seed = 11,
                                        .model = { 1, 2 },
                                        .tokenizer = { 3, 4 },
                                        .text = { 5, 6 },
                                        .packing = { 7, 8 },
                                        .name = "teacher" },
                              .state = (uint64_t)kind,
                              .zipf = true,
                              .n_candidates = 30,
                              .slope = 1.2,
                              .document = 9 };

        write_cache(argv[1], maker);
    }
    return 0;
}
