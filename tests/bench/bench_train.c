/*
 * bench_train.c - the step of a student alone, without data, optimizer and files.
 *
 *     bench_train [STUDENT [sequences [positions [steps [entries [threads]]]]]]
 *
 * Random tokens; entries > 0: forward KL with so many ids a token, 0: cross-entropy. Prints tokens a
 * second of the median step after two. The comparison with torch is train.sh.
 */
#include "base/alloc.h"
#include "base/par.h"
#include "distill/train/student.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static uint32_t below(uint32_t n)
{
    static uint64_t x = 88172645463325252u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)((x >> 32) * n >> 32);
}

static size_t argument(int argc, char **argv, int i, size_t usual)
{
    return argc > i ? (size_t)strtoul(argv[i], NULL, 10) : usual;
}

int main(int argc, char **argv)
{
    const size_t n_seqs = argument(argc, argv, 2, 8), n_positions = argument(argc, argv, 3, 256);
    const size_t n_steps = argument(argc, argv, 4, 12), entries = argument(argc, argv, 5, 12);
    const size_t n = n_seqs * n_positions;
    const bl_student_options options = { .n_threads = (int)argument(
                                             argc, argv, 6, (size_t)bl_par_n_processors()) };
    const bl_distill_loss loss = { .kd = entries ? 1 : 0, .ce = entries ? 0 : 1 };
    struct bl_err err = { 0 };
    bl_ckpt *ckpt = NULL;
    bl_student *student = NULL;
    int32_t *token = bl_alloc(n, sizeof(*token)), *target = bl_alloc(n, sizeof(*target));
    uint32_t *first = bl_alloc(n + 1, sizeof(*first)), *id = bl_alloc(n * entries, sizeof(*id));
    float *weight = bl_alloc(n * entries, sizeof(*weight));
    double *seconds = bl_alloc(n_steps, sizeof(*seconds));
    bl_batch batch = { .n_seqs = (uint32_t)n_seqs,
                       .n_positions = (uint32_t)n_positions,
                       .token = token,
                       .target = target,
                       .first = first,
                       .id = id,
                       .weight = weight };

    bl_alloc_keep();
    if (bl_ckpt_open(&ckpt, argc > 1 ? argv[1] : "data/step-qwen2", &err) != BL_OK ||
        bl_student_new(&student, ckpt, &options, &err) != BL_OK) {
        fprintf(stderr, "bench_train: %s\n", err.text);
        return 1;
    }
    for (size_t step = 0; step < n_steps; step++) {
        const uint32_t vocab = bl_ckpt_config(ckpt)->vocab_size;
        bl_step_sums sums;

        for (size_t t = 0; t <= n; t++)
            first[t] = (uint32_t)(t * entries);
        for (size_t t = 0; t < n; t++) {
            token[t] = (int32_t)below(vocab);
            target[t] = (int32_t)below(vocab);
        }
        for (size_t i = 0; i < n * entries; i++) {
            id[i] = below(vocab);
            weight[i] = 1.0f / (float)entries;
        }
        bl_student_zero_gradients(student);
        seconds[step] = now();
        if (bl_student_step(&sums, student, &batch, &loss, 1.0 / (double)n, &err) != BL_OK) {
            fprintf(stderr, "bench_train: %s\n", err.text);
            return 1;
        }
        seconds[step] = now() - seconds[step];
    }
    qsort(seconds + 2, n_steps - 2, sizeof(*seconds), compare);
    printf("%.0f tokens/s (%zu x %zu tokens, %d threads, %zu entries)\n",
           (double)n / seconds[2 + (n_steps - 2) / 2], n_seqs, n_positions, options.n_threads,
           entries);
    return 0;
}
