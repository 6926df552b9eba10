/* test_batches.c - every sequence once an epoch, in an order of its own; records end to end. */
#include "distill/train/batches.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "small_cache.h"

static bl_batches *make(const bl_batch_source *source, const bl_batches_options *options)
{
    struct bl_err err = { 0 };
    bl_batches *b = NULL;

    if (bl_batches_new(&b, source, options, &err) != BL_OK)
        fail_msg("%s", err.text);
    return b;
}

static bl_batch gather(bl_batches *b, uint64_t step, uint32_t i)
{
    struct bl_err err = { 0 };
    bl_batch batch = { 0 };

    if (bl_batches_gather(&batch, b, step, i, &err) != BL_OK)
        fail_msg("%s", err.text);
    return batch;
}

static void an_epoch_has_every_sequence_once(void **state)
{
    bl_cache_info info = small_info(BL_CACHE_SAMPLED);
    const bl_batch_source source = small_source(&info);
    const bl_batches_options options = { .batch = 1, .accumulate = 1, .seed = 1 };
    bl_batches *b = make(&source, &options);
    uint32_t order[3][SMALL_SEQS];

    (void)state;
    for (uint64_t e = 0; e < 3; e++) {
        unsigned seen = 0;

        for (uint64_t k = 0; k < SMALL_SEQS; k++) {
            order[e][k] = bl_batches_sequence(b, e * SMALL_SEQS + k);
            seen |= 1u << order[e][k];
        }
        assert_int_equal(seen, (1u << SMALL_SEQS) - 1);
    }
    assert_memory_not_equal(order[0], order[1], sizeof(order[0]));
    assert_memory_not_equal(order[1], order[2], sizeof(order[0]));
    bl_batches_free(b);
}

static void the_order_is_that_of_seed_and_number_alone(void **state)
{
    bl_cache_info info = small_info(BL_CACHE_SAMPLED);
    const bl_batch_source source = small_source(&info);
    const bl_batches_options options = { .batch = 1, .accumulate = 1, .seed = 1 };
    bl_batches_options other = options;
    bl_batches *a = make(&source, &options), *b = make(&source, &options), *c;
    int n_same = 0;

    (void)state;
    other.seed = 2;
    c = make(&source, &other);
    for (uint64_t k = 0; k < 40; k++) {
        const uint64_t back = 39 - k; /* in another order of asking */

        (void)bl_batches_sequence(b, back);
        assert_int_equal(bl_batches_sequence(a, k), bl_batches_sequence(b, k));
        n_same += bl_batches_sequence(a, k) == bl_batches_sequence(c, k);
    }
    assert_true(n_same < 20);
    bl_batches_free(a);
    bl_batches_free(b);
    bl_batches_free(c);
}

/* A shuffle that favours places would: 1000 epochs, where sequence 0 lies. */
static void every_place_is_as_likely(void **state)
{
    bl_cache_info info = small_info(BL_CACHE_SAMPLED);
    const bl_batch_source source = small_source(&info);
    const bl_batches_options options = { .batch = 1, .accumulate = 1, .seed = 3 };
    bl_batches *b = make(&source, &options);
    int count[SMALL_SEQS] = { 0 };

    (void)state;
    for (uint64_t k = 0; k < 1000 * SMALL_SEQS; k++)
        if (bl_batches_sequence(b, k) == 0)
            count[k % SMALL_SEQS]++;
    for (int i = 0; i < SMALL_SEQS; i++)
        assert_in_range(count[i], 100 - 48, 100 + 48); /* five deviations */
    bl_batches_free(b);
}

static void a_batch_is_its_records_end_to_end(void **state)
{
    bl_cache_info info = small_info(BL_CACHE_SAMPLED);
    const bl_batch_source source = small_source(&info);
    const bl_batches_options options = { .batch = 3, .accumulate = 2, .seed = 1 };
    bl_batches *b = make(&source, &options);
    bl_cache_seq s = { 0 };
    struct bl_err err = { 0 };

    (void)state;
    for (uint64_t step = 0; step < 4; step++) {
        for (uint32_t i = 0; i < 2; i++) {
            const bl_batch batch = gather(b, step, i);
            uint32_t n_entries = 0;

            assert_int_equal(batch.n_seqs, 3);
            assert_non_null(batch.entropy);
            assert_null(batch.tail);
            for (uint32_t q = 0; q < 3; q++) {
                const uint32_t seq = bl_batches_sequence(b, (step * 2 + i) * 3 + q);
                const size_t at = (size_t)q * SMALL_POSITIONS;

                assert_int_equal(small_read(&info, &s, seq, &err), BL_OK);
                assert_memory_equal(batch.token + at, s.token, 4 * SMALL_POSITIONS);
                assert_memory_equal(batch.start + at, s.start, 4 * SMALL_POSITIONS);
                assert_memory_equal(batch.target + at, s.target, 4 * SMALL_POSITIONS);
                assert_memory_equal(batch.entropy + at, s.entropy, 4 * SMALL_POSITIONS);
                for (uint32_t p = 0; p <= SMALL_POSITIONS; p++)
                    assert_int_equal(batch.first[at + p], n_entries + s.first[p]);
                assert_memory_equal(batch.id + n_entries, s.id, 4 * s.first[SMALL_POSITIONS]);
                assert_memory_equal(batch.weight + n_entries, s.weight,
                                    4 * s.first[SMALL_POSITIONS]);
                n_entries += s.first[SMALL_POSITIONS];
            }
        }
    }
    bl_cache_seq_release(&s);
    bl_batches_free(b);
}

static void top_k_is_renormalised_or_has_its_tail(void **state)
{
    bl_cache_info info = small_info(BL_CACHE_TOP_K);
    const bl_batch_source source = small_source(&info);
    bl_batches_options options = { .batch = 2, .accumulate = 1, .seed = 1 };

    (void)state;
    for (int bucket = 0; bucket < 2; bucket++) {
        bl_batches *b;
        bl_batch batch;

        options.bucket = bucket;
        b = make(&source, &options);
        batch = gather(b, 0, 0);
        assert_null(batch.entropy); /* that of what is kept is meant */
        assert_int_equal(batch.tail != NULL, bucket);
        for (size_t t = 0; t < 2 * SMALL_POSITIONS; t++) {
            double sum = 0;

            for (uint32_t e = batch.first[t]; e < batch.first[t + 1]; e++)
                sum += (double)batch.weight[e];
            if (batch.target[t] < 0)
                assert_int_equal(batch.first[t + 1], batch.first[t]);
            else
                assert_true(fabs(sum + (bucket ? (double)batch.tail[t] : 0) - 1) < 1e-6);
        }
        bl_batches_free(b);
    }
}

static void hidden_states_take_the_place_of_entries(void **state)
{
    bl_cache_info info = small_info(BL_CACHE_HIDDEN);
    const bl_batch_source source = small_source(&info);
    bl_batches_options options = { .batch = 2, .accumulate = 1, .seed = 1 };
    bl_batches *b = make(&source, &options);
    const bl_batch batch = gather(b, 0, 0);

    (void)state;
    assert_null(batch.first);
    assert_int_equal(batch.teacher_hidden, 3);
    for (uint32_t q = 0; q < 2; q++)
        for (uint32_t p = 0; p < SMALL_POSITIONS; p++)
            for (uint32_t k = 0; k < 3; k++)
                assert_true(batch.hidden[(q * SMALL_POSITIONS + p) * 3 + k] ==
                            (float)(bl_batches_sequence(b, q) * 100 + p * 10 + k));
    bl_batches_free(b);
    options.no_teacher = true;
    b = make(&source, &options);
    assert_null(gather(b, 0, 0).hidden);
    bl_batches_free(b);
}

static void sizes_that_make_no_sense_are_refused(void **state)
{
    bl_cache_info info = small_info(BL_CACHE_SAMPLED);
    const bl_batch_source source = small_source(&info);
    const bl_batches_options none = { .batch = 0, .accumulate = 1 };
    const bl_batches_options huge = { .batch = UINT32_MAX, .accumulate = 1 };
    struct bl_err err = { 0 };
    bl_batches *b = NULL;

    (void)state;
    assert_int_equal(bl_batches_new(&b, &source, &none, &err), BL_E_USAGE);
    assert_int_equal(bl_batches_new(&b, &source, &huge, &err), BL_E_USAGE);
    assert_null(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_has_every_sequence_once),
        cmocka_unit_test(the_order_is_that_of_seed_and_number_alone),
        cmocka_unit_test(every_place_is_as_likely),
        cmocka_unit_test(a_batch_is_its_records_end_to_end),
        cmocka_unit_test(top_k_is_renormalised_or_has_its_tail),
        cmocka_unit_test(hidden_states_take_the_place_of_entries),
        cmocka_unit_test(sizes_that_make_no_sense_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
