/*
 * bench_bln.c - size and speed of the .bln codecs on the bytes of a file, memory to memory, checksums
 * included.
 *
 *     bench_bln FILE f8_e4m3|bf16|other THREADS [zlib]
 *
 * At most the first GiB is taken, in chunks of 1 MiB. Wall time, best of five. Prints, never fails
 * on a time; codecs.sh puts zstd and ZipNN beside it.
 */
#include "base/par.h"
#include "formats/bln/bln_codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPEATS = 5, MOST_THREADS = 64 };

static const size_t most = (size_t)1 << 30;

struct bench {
    unsigned char *in, *out, *stored, *spare;
    size_t n, n_chunks, stride;
    bl_bln_chunk *chunk;
    bl_dtype dtype;
    bl_bln_style style;
    int n_threads;
    bl_bln_encoder *encoder[MOST_THREADS];
    bl_bln_decoder *decoder[MOST_THREADS];
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const char *what)
{
    fprintf(stderr, "bench_bln: %s\n", what);
    exit(1);
}

static size_t chunk_bytes(const struct bench *b, size_t i)
{
    size_t left = b->n - i * BL_BLN_CHUNK_BYTES;

    return left < BL_BLN_CHUNK_BYTES ? left : BL_BLN_CHUNK_BYTES;
}

static bl_status code(void *context, size_t i, int i_thread, struct bl_err *err)
{
    struct bench *b = context;
    const unsigned char *coded = NULL, *in = b->in + i * BL_BLN_CHUNK_BYTES;
    unsigned char *place = b->stored + i * b->stride;
    bl_status rc = bl_bln_encode(&b->chunk[i], &coded, b->encoder[i_thread], place, in,
                                 chunk_bytes(b, i), BL_BLN_TENSOR, b->dtype, err);

    if (rc == BL_OK && coded != place)
        memcpy(place, coded, b->chunk[i].n_stored);
    return rc;
}

static bl_status decode(void *context, size_t i, int i_thread, struct bl_err *err)
{
    struct bench *b = context;

    return bl_bln_decode(b->out + i * BL_BLN_CHUNK_BYTES, b->decoder[i_thread], &b->chunk[i],
                         b->stored + i * b->stride, err);
}

/* MB a second, the best of five. */
static double speed(struct bench *b, bl_par_fn fn)
{
    double best = 0;

    for (int k = 0; k < REPEATS; k++) {
        struct bl_err err = { 0 };
        double t = now();

        if (bl_par_for(b->n_chunks, b->n_threads, fn, b, &err) != BL_OK)
            stop(err.text);
        t = (double)b->n / (now() - t) / 1e6;
        if (t > best)
            best = t;
    }
    return best;
}

static void run(struct bench *b)
{
    struct bl_err err = { 0 };
    double coding, decoding;
    size_t n_stored = 0;

    for (int t = 0; t < b->n_threads; t++)
        if (bl_bln_encoder_new(&b->encoder[t], b->style, &err) != BL_OK ||
            bl_bln_decoder_new(&b->decoder[t], &err) != BL_OK)
            stop(err.text);
    coding = speed(b, code);
    decoding = speed(b, decode);
    if (memcmp(b->in, b->out, b->n) != 0)
        stop("what was decoded is not what was coded");
    for (size_t i = 0; i < b->n_chunks; i++)
        n_stored += b->chunk[i].n_stored;
    printf("%.2f %% coding %.0f decoding %.0f MB/s\n", 100.0 * (double)n_stored / (double)b->n,
           coding, decoding);
    for (int t = 0; t < b->n_threads; t++) {
        bl_bln_encoder_free(b->encoder[t]);
        bl_bln_decoder_free(b->decoder[t]);
    }
}

static void load(struct bench *b, const char *path)
{
    FILE *f = fopen(path, "rb");

    b->in = malloc(most);
    if (!f || !b->in)
        stop("cannot read the file");
    b->n = fread(b->in, 1, most, f);
    fclose(f);
    if (b->n == 0)
        stop("the file is empty");
    b->n_chunks = (b->n + BL_BLN_CHUNK_BYTES - 1) / BL_BLN_CHUNK_BYTES;
    b->stride = bl_bln_encode_bound(BL_BLN_CHUNK_BYTES);
    b->chunk = calloc(b->n_chunks, sizeof(*b->chunk));
    b->stored = malloc(b->n_chunks * b->stride);
    b->out = malloc(b->n);
    if (!b->chunk || !b->stored || !b->out)
        stop("out of memory");
    memset(b->stored, 1, b->n_chunks * b->stride); /* pages are given now, not while it counts */
    memset(b->out, 1, b->n);
}

int main(int argc, char **argv)
{
    struct bench b = { .dtype = BL_U8, .style = BL_BLN_BEST };

    b.n_threads = argc > 3 ? atoi(argv[3]) : 0;
    if (b.n_threads < 1 || b.n_threads > MOST_THREADS)
        stop("usage: bench_bln FILE f8_e4m3|bf16|other THREADS [zlib]");
    if (strcmp(argv[2], "f8_e4m3") == 0)
        b.dtype = BL_F8_E4M3;
    else if (strcmp(argv[2], "bf16") == 0)
        b.dtype = BL_BF16;
    if (argc > 4)
        b.style = BL_BLN_PORTABLE;
    load(&b, argv[1]);
    run(&b);
    free(b.in);
    free(b.out);
    free(b.stored);
    free(b.chunk);
    return 0;
}
