/*
 * bench_cache.c - what a cache of a teacher costs: bytes a token, and tokens a second of one thread
 * (time of this thread) from answers to a shard and back, at a vocabulary of 129,280. Answers are made
 * up (tests/unit/cache_maker.h): uniform ids are the worst case, Zipf ids are like words. Argument: a
 * scratch folder that is not there yet. Prints, never fails on a time.
 */
#include "base/alloc.h"
#include "formats/logits/cache_reader.h"
#include "formats/logits/cache_writer.h"
#include "tests/unit/cache_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N_SEQS = 64, N_POSITIONS = 1024 };

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void require(bl_status rc, const struct bl_err *err)
{
    if (rc == BL_OK)
        return;
    fprintf(stderr, "bench_cache: %s\n", err->text);
    exit(1);
}

static double write_cache(const char *folder, const bl_cache_info *info, const bl_cache_seq *seq)
{
    const double begun = seconds_now();
    bl_cache_shard *shard = NULL;
    struct bl_err err;

    require(bl_cache_shard_begin(&shard, folder, info, 0, true, &err), &err);
    for (int i = 0; i < N_SEQS; i++)
        require(bl_cache_shard_add(shard, &seq[i], &err), &err);
    require(bl_cache_shard_commit(&shard, &err), &err);
    return seconds_now() - begun;
}

static double read_cache(bl_cache_sizes *sizes, const char *folder)
{
    const double begun = seconds_now();
    bl_cache_seq seq = { 0 };
    bl_cache *cache = NULL;
    struct bl_err err;
    double seconds;

    require(bl_cache_open(&cache, folder, &err), &err);
    for (uint32_t i = 0; i < N_SEQS; i++)
        require(bl_cache_read(&seq, cache, i, &err), &err);
    seconds = seconds_now() - begun;
    *sizes = bl_cache_sizes_of(cache);
    bl_cache_seq_release(&seq);
    bl_cache_close(cache);
    return seconds;
}

static void measure(const char *folder, const char *title, cache_maker maker)
{
    static bl_cache_seq seq[N_SEQS];
    bl_cache_sizes s;
    double n, write_seconds, read_seconds;

    for (int i = 0; i < N_SEQS; i++)
        if (!maker_seq(&maker, &seq[i]))
            exit(1);
    write_seconds = write_cache(folder, &maker.info, seq);
    read_seconds = read_cache(&s, folder);
    n = (double)s.n_scored;
    printf("%-34s %7.2f %8.2f %8.2f %8.2f %8.2f %8.2f %9.0f %9.0f\n", title,
           (double)s.n_entries / n, (double)s.entries / n, (double)s.statistics / n,
           (double)s.tokens / n, (double)s.tables / n, (double)s.file / n, n / write_seconds,
           n / read_seconds);
    for (int i = 0; i < N_SEQS; i++)
        bl_cache_seq_release(&seq[i]);
}

static cache_maker make(bl_cache_kind kind, uint32_t n_draws, uint32_t n_top, bool zipf,
                        double slope)
{
    return (cache_maker){ .info = { .kind = kind,
                                    .vocab_size = 129280,
                                    .n_positions = N_POSITIONS,
                                    .n_seqs = N_SEQS,
                                    .n_shards = 1,
                                    .n_draws = n_draws,
                                    .n_top = n_top },
                          .state = 1,
                          .zipf = zipf,
                          .n_candidates = 100,
                          .slope = slope,
                          .document = 500 };
}

int main(int argc, char **argv)
{
    const char *folder = argc == 2 ? argv[1] : NULL;

    if (!folder) {
        fputs("usage: bench_cache FOLDER, where it may write\n", stderr);
        return 0; /* `./run bench` goes on with the next */
    }
    printf("%-34s %7s %8s %8s %8s %8s %8s %9s %9s\n", "", "entries", "bytes", "stats", "tokens",
           "tables", "all", "written/s", "read/s");
    measure(folder, "50 draws, uniform ids, p ~ j^-1.73",
            make(BL_CACHE_SAMPLED, 50, 0, false, 1.73));
    measure(folder, "50 draws, uniform ids, p ~ j^-0.9", make(BL_CACHE_SAMPLED, 50, 0, false, 0.9));
    measure(folder, "50 draws, Zipf ids, p ~ j^-1.73", make(BL_CACHE_SAMPLED, 50, 0, true, 1.73));
    measure(folder, "top 64, uniform ids, p ~ 1/j", make(BL_CACHE_TOP_K, 0, 64, false, 1.0));
    measure(folder, "top 64, Zipf ids, p ~ 1/j", make(BL_CACHE_TOP_K, 0, 64, true, 1.0));
    measure(folder, "top 8 and 16 drawn, Zipf ids", make(BL_CACHE_MIXED, 16, 8, true, 1.3));
    return 0;
}
