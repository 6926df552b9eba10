/*
 * GPTQ of a small model from its plan to the parts that the plan's jobs then have: the same bytes
 * at any number of threads, in any memory, and in a run that was cut off and went on; nothing worse
 * than the search; nothing left in the scratch folder.
 */
#include "quantize/gptq_run.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/sink.h"
#include "convert/plan.h"
#include "formats/ckpt/ckpt.h"
#include "quantize/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../scratch.h"

#include <limits.h>

enum { SEQS = 3, POSITIONS = 256, VOCABULARY = 2048 };

static char model[PATH_MAX];
static bl_ckpt *ckpt;
static int32_t tokens[SEQS * POSITIONS];

static int enter(void **state)
{
    uint64_t seed = 7;

    if (!realpath("data/nano-r1", model) || bl_ckpt_open(&ckpt, model, NULL) != BL_OK)
        return -1;
    for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        tokens[i] = (int32_t)((seed >> 40) * (seed >> 40 & 0xff) % VOCABULARY);
    }
    return scratch_enter(state);
}

static int leave(void **state)
{
    bl_ckpt_close(ckpt);
    return scratch_leave(state);
}

static bl_gptq_options usual(void)
{
    return (bl_gptq_options){
        .token = tokens, .n_seqs = SEQS, .n_positions = POSITIONS, .n_threads = 2, .scratch = "."
    };
}

struct run {
    bl_plan plan;
    bl_gptq *gptq;
};

static bl_status start(struct run *r, const bl_gptq_options *options, struct bl_err *err)
{
    const bl_layout_options layout_options = { .type = "int4", .method = BL_METHOD_SEARCH };
    bl_folder_layout layout;
    bl_status rc = bl_layout_resolve(&layout, &layout_options, err);

    *r = (struct run){ 0 };
    if (rc == BL_OK)
        rc = bl_layout_plan(&r->plan, ckpt, &layout, err);
    if (rc == BL_OK)
        rc = bl_gptq_begin(&r->gptq, ckpt, &r->plan, options, err);
    return rc == BL_OK ? bl_gptq_run(r->gptq, err) : rc;
}

static void stop(struct run *r)
{
    bl_gptq_free(r->gptq);
    bl_plan_release(&r->plan);
}

/* Of the parts of all jobs that GPTQ made. */
static bl_hash128 hash_parts(const struct run *r)
{
    bl_hasher *hasher = NULL;
    bl_hash128 hash;
    size_t n_raw = 0;

    assert_int_equal(bl_hasher_new(&hasher, NULL), BL_OK);
    for (size_t i = 0; i < r->plan.n_jobs; i++) {
        const bl_job *job = &r->plan.job[i];

        for (uint32_t k = 0; k < job->n_parts && job->raw.read; k++) {
            size_t n = (size_t)(job->unit_bytes[k] * job->n_rows);
            unsigned char *bytes = malloc(n + 1);

            for (size_t at = 0; at < n; at += 1000) /* in pieces, as a pipeline would */
                assert_int_equal(job->raw.read(job->raw.context, job->raw.index[k], at, bytes + at,
                                               n - at < 1000 ? n - at : 1000, NULL),
                                 BL_OK);
            bl_hasher_add(hasher, bytes, n);
            free(bytes);
            n_raw++;
        }
    }
    assert_true(n_raw > 0);
    hash = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    return hash;
}

static size_t count_files(void)
{
    DIR *d = opendir(".");
    size_t n = 0;

    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static bl_hash128 bytes_with(const bl_gptq_options *options)
{
    struct bl_err err = { 0 };
    struct run r;
    bl_hash128 hash;

    if (start(&r, options, &err) != BL_OK)
        fail_msg("%s", err.text);
    hash = hash_parts(&r);
    assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
    assert_int_equal(count_files(), 0);
    stop(&r);
    return hash;
}

static void every_matrix_is_made_and_none_is_worse_than_the_search(void **state)
{
    const bl_gptq_options options = usual();
    struct bl_err err = { 0 };
    uint64_t n = 0, n_accepted = 0;
    struct run r;

    (void)state;
    if (start(&r, &options, &err) != BL_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < BL_ROLE_COUNT; i++) {
        const bl_gptq_count *c = &bl_gptq_report_of(r.gptq)->role[i];

        n += c->n_matrices;
        n_accepted += c->n_accepted;
        assert_true(c->gptq_error <= c->search_error);
        assert_int_equal(c->n_unfactored, 0);
    }
    /* 3 layers: q_a, q_b, kv_a and o that 128 divides; one dense MLP, 2 of 8 experts and shared */
    assert_int_equal(n, bl_gptq_n_matrices(r.gptq));
    assert_true(n >= 3 + 2 * 9 * 3);
    assert_true(n_accepted > n / 2);
    assert_int_equal(count_files(), 4); /* a layer each, and the state */
    for (size_t i = 0; i < r.plan.n_jobs; i++)
        if (r.plan.job[i].role == BL_ROLE_EXPERT && !r.plan.job[i].source[0]->is_mtp)
            assert_non_null(r.plan.job[i].raw.read);
        else if (r.plan.job[i].role == BL_ROLE_NORM || r.plan.job[i].role == BL_ROLE_ROUTER)
            assert_null(r.plan.job[i].raw.read);
    assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
    assert_int_equal(count_files(), 0);
    stop(&r);
}

static void the_bytes_depend_neither_on_threads_nor_on_memory(void **state)
{
    bl_gptq_options options = usual();
    bl_hash128 first = bytes_with(&options);
    bl_status rc = BL_E_USAGE;
    struct run r;

    (void)state;
    options.n_threads = 2;
    assert_true(bl_hash128_equal(bytes_with(&options), first));
    options.n_threads = 1;
    for (options.memory = 8 << 20; rc == BL_E_USAGE; options.memory += 2 << 20) {
        rc = start(&r, &options, NULL); /* the least memory that is enough */
        if (rc == BL_OK) {
            assert_true(bl_gptq_report_of(r.gptq)->room.block_seqs > 0);
            assert_true(bl_hash128_equal(hash_parts(&r), first));
            assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
        }
        stop(&r);
    }
    assert_int_equal(rc, BL_OK);
}

static void a_run_that_was_cut_off_goes_on_to_the_same_bytes(void **state)
{
    bl_gptq_options options = usual();
    bl_hash128 first;
    uint64_t begin = bl_alloc_count(), n;
    unsigned n_went_on = 0;

    (void)state;
    first = bytes_with(&options);
    n = bl_alloc_count() - begin;
    for (uint64_t cut = 1; cut < 8; cut += 3) {
        struct run r;

        options.resume = false;
        bl_alloc_fail_at(n * cut / 8);
        assert_int_equal(start(&r, &options, NULL), BL_E_NOMEM);
        bl_alloc_fail_at(0);
        stop(&r);
        options.resume = true;
        assert_int_equal(start(&r, &options, NULL), BL_OK);
        n_went_on += bl_gptq_report_of(r.gptq)->n_layers_before > 0;
        assert_true(bl_hash128_equal(hash_parts(&r), first));
        stop(&r);
        assert_int_equal(start(&r, &options, NULL), BL_OK); /* all layers are there */
        assert_int_equal(bl_gptq_report_of(r.gptq)->n_layers_before, 3);
        assert_true(bl_hash128_equal(hash_parts(&r), first));
        assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
        assert_int_equal(count_files(), 0);
        stop(&r);
    }
    assert_true(n_went_on > 0);
}

static void layers_that_are_there_are_not_thrown_away_unasked(void **state)
{
    bl_gptq_options options = usual();
    struct bl_err err = { 0 };
    struct run r;

    (void)state;
    assert_int_equal(start(&r, &options, NULL), BL_OK);
    stop(&r);
    assert_int_equal(start(&r, &options, &err), BL_E_USAGE);
    assert_non_null(strstr(err.text, "--resume"));
    stop(&r);
    options.shared_hessian = true; /* another run: other files */
    assert_int_equal(start(&r, &options, &err), BL_OK);
    assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
    stop(&r);
    options.shared_hessian = false;
    options.force = true;
    assert_int_equal(start(&r, &options, &err), BL_OK);
    assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
    stop(&r);
}

/* Change one byte of the only file whose name ends so. */
static void spoil(const char *end, long at)
{
    DIR *d = opendir(".");

    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        size_t n = strlen(e->d_name), m = strlen(end);

        if (n > m && strcmp(e->d_name + n - m, end) == 0) {
            FILE *f = fopen(e->d_name, "r+b");
            int byte;

            fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
            byte = fgetc(f);
            fseek(f, at, at < 0 ? SEEK_END : SEEK_SET);
            fputc(byte ^ 1, f);
            fclose(f);
        }
    }
    closedir(d);
}

static void a_damaged_layer_is_refused_by_name(void **state)
{
    static const long at[] = { -1, -40, -100000, 0, 40 }; /* checksum, data, table */
    bl_gptq_options options = usual();

    (void)state;
    for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
        struct bl_err err = { 0 };
        struct run r;

        options.resume = false;
        options.force = true;
        assert_int_equal(start(&r, &options, NULL), BL_OK);
        stop(&r);
        spoil("-1.safetensors", at[i]);
        options.resume = true;
        options.force = false;
        assert_int_equal(start(&r, &options, &err), BL_E_FORMAT);
        assert_non_null(strstr(err.text, "-1.safetensors"));
        stop(&r);
    }
}

static void experts_that_no_token_chose_are_left_to_the_search(void **state)
{
    bl_gptq_options options = usual();
    const bl_gptq_count *experts;
    struct run r;

    (void)state;
    options.n_seqs = 1;
    options.n_positions = 2;
    assert_int_equal(start(&r, &options, NULL), BL_OK);
    experts = &bl_gptq_report_of(r.gptq)->role[BL_ROLE_EXPERT];
    assert_int_equal(experts->n_matrices, 2 * 8 * 3);
    assert_int_equal(experts->n_unjudged, 2 * 8 * 3);
    assert_int_equal(experts->n_accepted, 0);
    assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
    stop(&r);
}

static void a_shared_hessian_gains_too(void **state)
{
    bl_gptq_options options = usual();
    const bl_gptq_count *experts;
    struct run r;

    (void)state;
    options.shared_hessian = true;
    assert_int_equal(start(&r, &options, NULL), BL_OK);
    experts = &bl_gptq_report_of(r.gptq)->role[BL_ROLE_EXPERT];
    assert_true(experts->n_accepted > experts->n_matrices / 2);
    assert_true(experts->gptq_error < experts->search_error);
    assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
    stop(&r);
}

/*
 * The second layer's inputs are then those of the first layer's quantized weights: other codes; with
 * the same bytes when it is cut off and goes on.
 */
static void sequential_runs_see_what_the_layers_before_have_become(void **state)
{
    bl_gptq_options options = usual();
    bl_hash128 original = bytes_with(&options), sequential;
    uint64_t begin = bl_alloc_count();
    const bl_gptq_count *experts;
    struct run r;

    (void)state;
    options.sequential = true;
    sequential = bytes_with(&options);
    assert_false(bl_hash128_equal(original, sequential));
    bl_alloc_fail_at((bl_alloc_count() - begin) / 2);
    assert_int_equal(start(&r, &options, NULL), BL_E_NOMEM);
    bl_alloc_fail_at(0);
    stop(&r);
    options.resume = true;
    assert_int_equal(start(&r, &options, NULL), BL_OK);
    assert_true(bl_gptq_report_of(r.gptq)->n_layers_before > 0);
    experts = &bl_gptq_report_of(r.gptq)->role[BL_ROLE_EXPERT];
    assert_true(experts->n_accepted > experts->n_matrices / 2);
    assert_true(bl_hash128_equal(hash_parts(&r), sequential));
    assert_int_equal(bl_gptq_end(r.gptq, NULL), BL_OK);
    stop(&r);
}

/* The k-th allocation, with ever larger steps; so with the calls of sinks. */
static void memory_or_disk_may_end_anywhere(void **state)
{
    bl_gptq_options options = usual();

    (void)state;
    options.n_seqs = 1;
    options.n_positions = 64;
    options.force = true;
    for (int disk = 0; disk < 2; disk++) {
        bl_status rc = BL_E_NOMEM;

        for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 3) {
            int64_t live = bl_alloc_live();
            struct run r;

            (disk ? bl_sink_fail_at : bl_alloc_fail_at)(k);
            rc = start(&r, &options, NULL);
            bl_alloc_fail_at(0);
            bl_sink_fail_at(0);
            assert_true(rc == BL_OK || rc == (disk ? BL_E_IO : BL_E_NOMEM));
            stop(&r);
            assert_true(bl_alloc_live() == live);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_matrix_is_made_and_none_is_worse_than_the_search,
                                  scratch_clear),
        cmocka_unit_test_teardown(the_bytes_depend_neither_on_threads_nor_on_memory, scratch_clear),
        cmocka_unit_test_teardown(a_run_that_was_cut_off_goes_on_to_the_same_bytes, scratch_clear),
        cmocka_unit_test_teardown(layers_that_are_there_are_not_thrown_away_unasked, scratch_clear),
        cmocka_unit_test_teardown(a_damaged_layer_is_refused_by_name, scratch_clear),
        cmocka_unit_test_teardown(experts_that_no_token_chose_are_left_to_the_search,
                                  scratch_clear),
        cmocka_unit_test_teardown(a_shared_hessian_gains_too, scratch_clear),
        cmocka_unit_test_teardown(sequential_runs_see_what_the_layers_before_have_become,
                                  scratch_clear),
        cmocka_unit_test_teardown(memory_or_disk_may_end_anywhere, scratch_clear),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
