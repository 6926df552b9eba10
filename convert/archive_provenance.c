/* archive_provenance.c - see archive_provenance.h. Nothing here depends on time, place or threads. */
#include "convert/archive_provenance.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/le.h"
#include "base/par.h"
#include "base/source.h"

#include <string.h>
#include <time.h>

/* SHA-256 of each shard, then of each side file. */
struct sums {
    const bl_container *hf;
    uint8_t *sum;
};

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + 1e-9 * (double)(now.tv_nsec - start->tv_nsec);
}

/* A source file as its bytes lie: a header stands for its shard. */
static bl_status sum_file(void *context, size_t i, int i_thread, struct bl_err *err)
{
    struct sums *sums = context;
    const bl_container *hf = sums->hf;
    const char *name = i < hf->n_shards ? hf->shard_name[i] : hf->side_file_name[i - hf->n_shards];
    char *path = bl_format("%s/%s", hf->path, name);
    bl_source *source = NULL;
    bl_status rc = path ? bl_source_open(&source, path, err) : bl_fail_nomem(err, name);

    (void)i_thread;
    if (rc == BL_OK)
        rc = bl_sha256_source(sums->sum + BL_SHA256_BYTES * i, source, NULL, err);
    bl_source_close(source);
    bl_free(path);
    return rc;
}

/* SHA-256 of every source file, behind the number of its entry. */
static bl_status put_sums(bl_bln_writer *writer, const bl_container *hf,
                          const bl_archive_options *options, struct bl_err *err)
{
    size_t n = hf->n_shards + hf->n_side_files, tensor = 0;
    struct sums sums = { hf, bl_alloc(n, BL_SHA256_BYTES) };
    struct timespec start;
    bl_status rc;

    clock_gettime(CLOCK_MONOTONIC, &start);
    rc = sums.sum ? bl_par_for(n, options->n_threads, sum_file, &sums, err)
                  : bl_fail_nomem(err, hf->path);
    for (size_t i = 0; i < n && rc == BL_OK; i++) {
        unsigned char item[BL_BLN_SHA256_BYTES];

        /* entries: each shard's header, then its tensors; side files behind them all */
        bl_put_u32(item, (uint32_t)(i + (i < hf->n_shards ? tensor : hf->n_stored)));
        memcpy(item + 4, sums.sum + BL_SHA256_BYTES * i, BL_SHA256_BYTES);
        rc = bl_bln_put_info(writer, BL_BLN_INFO_SHA256, item, sizeof(item), err);
        while (tensor < hf->n_stored && hf->stored[tensor].shard == i)
            tensor++;
    }
    if (options->sha256_seconds)
        *options->sha256_seconds = seconds_since(&start);
    bl_free(sums.sum);
    return rc;
}

bl_status bl_archive_put_provenance(bl_bln_writer *writer, const bl_container *hf,
                                    const bl_archive_options *options, struct bl_err *err)
{
    const char *recipe = options->style == BL_BLN_PORTABLE
                             ? "{\"command\": \"convert\", \"codec\": \"zlib\"}"
                             : "{\"command\": \"convert\", \"codec\": \"zstd\"}";
    bl_status rc = bl_bln_put_info(writer, BL_BLN_INFO_RECIPE, recipe, strlen(recipe), err);

    return rc == BL_OK && options->sha256 ? put_sums(writer, hf, options, err) : rc;
}
