/* summary.c - see summary.h. Sums are kept by sequence and added in their order. */
#include "distill/teach/summary.h"

#include "base/alloc.h"
#include "base/par.h"

#include <math.h>

enum { N_SIZES = BL_CACHE_MAX_KEPT + 1 };

/* Of one sequence. */
struct sums {
    uint64_t n_scored, n_entries, n_covered;
    double nll, entropy, tail;
};

struct job {
    const bl_cache *cache;
    bl_progress *progress;
    uint64_t bytes;      /* of a sequence, about */
    struct sums *sums;   /* [n_seqs] */
    bl_cache_seq *seq;   /* [n_threads] */
    uint64_t *histogram; /* [n_threads][N_SIZES] positions by number of ids */
};

static bool has_target(const bl_cache_seq *seq, uint32_t i)
{
    for (uint32_t e = seq->first[i]; e < seq->first[i + 1]; e++)
        if (seq->id[e] == (uint32_t)seq->target[i])
            return true;
    return false;
}

static bl_status sum_sequence(void *context, size_t i_seq, int i_thread, struct bl_err *err)
{
    struct job *job = context;
    bl_cache_seq *seq = &job->seq[i_thread];
    struct sums s = { 0 };
    bl_status rc = bl_cache_read(seq, job->cache, (uint32_t)i_seq, err);

    if (rc != BL_OK)
        return rc;
    for (uint32_t i = 0; i < seq->n_positions; i++) {
        uint32_t n = seq->first[i + 1] - seq->first[i];

        if (seq->target[i] < 0)
            continue;
        s.n_scored++;
        s.n_entries += n;
        s.n_covered += has_target(seq, i);
        s.nll -= (double)seq->log_p[i];
        s.entropy += (double)seq->entropy[i];
        s.tail += (double)seq->tail[i];
        job->histogram[(size_t)i_thread * N_SIZES + (n < N_SIZES ? n : N_SIZES - 1)]++;
    }
    job->sums[i_seq] = s;
    bl_progress_add(job->progress, job->bytes);
    return BL_OK;
}

/* The least number of ids that at least this share of the positions does not exceed. */
static uint32_t quantile(const uint64_t *histogram, uint64_t n, double share)
{
    const double wanted = ceil(share * (double)n);
    uint64_t below = 0;
    uint32_t size = 0;

    for (; size + 1 < N_SIZES; size++) {
        below += histogram[size];
        if ((double)below >= wanted)
            break;
    }
    return size;
}

static void conclude(bl_cache_summary *out, struct job *job, uint32_t n_seqs, int n_threads)
{
    struct sums all = { 0 };
    double n;

    for (uint32_t i = 0; i < n_seqs; i++) {
        all.n_scored += job->sums[i].n_scored;
        all.n_entries += job->sums[i].n_entries;
        all.n_covered += job->sums[i].n_covered;
        all.nll += job->sums[i].nll;
        all.entropy += job->sums[i].entropy;
        all.tail += job->sums[i].tail;
    }
    for (int t = 1; t < n_threads; t++)
        for (size_t i = 0; i < N_SIZES; i++)
            job->histogram[i] += job->histogram[(size_t)t * N_SIZES + i];
    n = all.n_scored > 0 ? (double)all.n_scored : 1;
    *out = (bl_cache_summary){ .n_scored = all.n_scored,
                               .n_entries = all.n_entries,
                               .mean_nll = all.nll / n,
                               .perplexity = exp(all.nll / n),
                               .mean_entropy = all.entropy / n,
                               .mean_tail = all.tail / n,
                               .covered = (double)all.n_covered / n,
                               .mean_ids = (double)all.n_entries / n,
                               .median_ids = quantile(job->histogram, all.n_scored, 0.5),
                               .p99_ids = quantile(job->histogram, all.n_scored, 0.99) };
}

bl_status bl_cache_summarize(bl_cache_summary *out, const bl_cache *cache, int n_threads,
                             bl_progress *progress, struct bl_err *err)
{
    const bl_cache_info *info = bl_cache_info_of(cache);
    const size_t places = (size_t)n_threads;
    struct job job = { .cache = cache,
                       .progress = progress,
                       .bytes = bl_cache_sizes_of(cache).file / info->n_seqs };
    bl_status rc;

    job.sums = bl_calloc(info->n_seqs, sizeof(*job.sums));
    job.seq = bl_calloc(places, sizeof(*job.seq));
    job.histogram = bl_calloc(places * N_SIZES, sizeof(*job.histogram));
    rc = job.sums && job.seq && job.histogram
             ? bl_par_for(info->n_seqs, n_threads, sum_sequence, &job, err)
             : bl_fail_nomem(err, "sums of a cache");
    if (rc == BL_OK)
        conclude(out, &job, info->n_seqs, n_threads);
    for (size_t i = 0; i < places && job.seq; i++)
        bl_cache_seq_release(&job.seq[i]);
    bl_free(job.sums);
    bl_free(job.seq);
    bl_free(job.histogram);
    return rc;
}
