/* archive_estimate.c - what an archive will take, before it is made: bytes, seconds, memory. */
#include "convert/archive.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/bln/bln_codec.h"

#include <string.h>
#include <time.h>

enum { N_SAMPLES = 64, SAMPLE_BYTES = 256 << 10 };

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + 1e-9 * (double)(now.tv_nsec - start->tv_nsec);
}

/* Read and code one sample, at byte `at` of all tensors' data. */
static bl_status code_sample(bl_bln_chunk *chunk, bl_bln_encoder *encoder, unsigned char *buffer,
                             const bl_container *hf, uint64_t at, struct bl_err *err)
{
    const unsigned char *coded;
    size_t tensor = 0, n;
    bl_status rc;

    while (at >= hf->stored[tensor].n_bytes)
        at -= hf->stored[tensor++].n_bytes;
    at = at / 8 * 8;
    n = (size_t)bl_min_u64(SAMPLE_BYTES, hf->stored[tensor].n_bytes - at);
    rc = bl_container_read(hf, tensor, at, buffer, n, err);
    return rc == BL_OK ? bl_bln_encode(chunk, &coded, encoder, buffer + SAMPLE_BYTES, buffer, n,
                                       BL_BLN_TENSOR, hf->stored[tensor].dtype, err)
                       : rc;
}

/*
 * Samples are taken at even distances through all data. Weights of one type compress alike
 * everywhere, so a few percent on top cover the error.
 */
static bl_status sample(double *share, double *seconds, const bl_container *hf, bl_bln_style style,
                        uint64_t total, struct bl_err *err)
{
    unsigned char *buffer = bl_alloc(SAMPLE_BYTES + bl_bln_encode_bound(SAMPLE_BYTES), 1);
    uint64_t n_read = 0, n_stored = 0;
    bl_bln_encoder *encoder = NULL;
    struct timespec start;
    bl_status rc = buffer ? bl_bln_encoder_new(&encoder, style, err) : bl_fail_nomem(err, hf->path);

    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t k = 0; k < N_SAMPLES && rc == BL_OK; k++) {
        bl_bln_chunk chunk = { 0 };

        rc = code_sample(&chunk, encoder, buffer, hf, total / N_SAMPLES * k, err);
        n_read += chunk.n_decoded;
        n_stored += chunk.n_stored;
    }
    *seconds = n_read ? seconds_since(&start) / (double)n_read : 0;
    *share = n_read ? 1.03 * (double)n_stored / (double)n_read : 1;
    bl_bln_encoder_free(encoder);
    bl_free(buffer);
    return rc;
}

bl_status bl_archive_estimate(uint64_t *n_bytes, double *seconds, const bl_container *hf,
                              const bl_archive_options *options, struct bl_err *err)
{
    uint64_t total = bl_archive_bytes(hf);
    double share = 0, each = 0;
    bl_status rc = total > 0 ? sample(&share, &each, hf, options->style, total, err) : BL_OK;

    *n_bytes = (uint64_t)((double)total * share) + UINT64_C(2) * BL_BLN_ANCHOR_BYTES +
               UINT64_C(512) * hf->n_stored;
    *seconds = each * (double)total / options->n_threads;
    return rc;
}

uint64_t bl_archive_memory(const bl_container *container, int n_threads)
{
    uint64_t n_names = 0, n_chunks = bl_archive_bytes(container) / BL_BLN_CHUNK_BYTES;

    for (size_t i = 0; i < container->n_stored; i++)
        n_names += strlen(container->stored[i].name) + 1;
    /* slots, coders, what twins are compared in; the index as tables, as a whole, coded, and as the journal has it */
    return (uint64_t)n_threads * (BL_ARCHIVE_SLOTS * 2 + 5) * BL_BLN_CHUNK_BYTES +
           5 * (n_names + container->n_stored * BL_BLN_ENTRY_BYTES +
                (n_chunks + container->n_stored) * BL_BLN_CHUNK_RECORD_BYTES);
}
