/*
 * Policies side by side in one state: each variant has the hidden states of a run of its own, a
 * layer that is skipped leaves them, and what cannot be shared out is refused.
 */
#include "formats/ckpt/fingerprint.h"
#include "golden_run.h"
#include "model/kept_state.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden_enter.h"

enum { EACH = 4, POSITIONS = 64, SHARE = EACH * POSITIONS /* tokens: a whole tile */ };
enum { BASE, PRUNED, ONE, UNGROUPED, MORE, N_VARIANTS, N_LAYERS = 3 };

static const bool disabled[8] = { false, true, false, false, true, false, true, false };
static const bl_router_policy variants[N_VARIANTS] = {
    [PRUNED] = { .disabled = disabled },
    [ONE] = { .experts_per_token = 1 },
    [UNGROUPED] = { .ungrouped = true },
    [MORE] = { .experts_per_token = 3, .ungrouped = true, .disabled = disabled },
};
static const bl_router_policy all = { .variant = variants, .n_variants = N_VARIANTS };

/* The same sequences `n` times, embedded. */
static bl_state begin(const struct golden *g, uint32_t n, const bl_room *room)
{
    int32_t tokens[N_VARIANTS * SHARE];
    bl_state s;

    assert_true(n <= N_VARIANTS);
    for (size_t t = 0; t < (size_t)n * SHARE; t++)
        tokens[t] = g->tokens[t % SHARE % g->n_tokens];
    assert_int_equal(
        bl_state_init(&s, tokens, n * EACH, POSITIONS, g->network.config->hidden_size, room, NULL),
        BL_OK);
    assert_int_equal(bl_embed(&s, &g->weights, NULL), BL_OK);
    return s;
}

/* All hidden states, and no more of the state. */
static float *finish(bl_state *s)
{
    float *out = bl_alloc(s->n_tokens, s->hidden_size * sizeof(*out));

    assert_int_equal(bl_matrix_read(out, &s->hidden, 0, s->n_tokens, NULL), BL_OK);
    bl_state_release(s);
    return out;
}

/* The hidden states of n shares after all layers, each of which has the policy. */
static float *run(const struct golden *g, uint32_t n, const bl_router_policy *policy,
                  const bl_room *room, int n_threads)
{
    bl_weights weights = g->weights;
    bl_state s = begin(g, n, room);

    weights.n_threads = n_threads;
    assert_int_equal(golden_layers(&s, N_LAYERS, &weights, policy, NULL, NULL), BL_OK);
    return finish(&s);
}

static size_t share_values(const struct golden *g)
{
    return (size_t)SHARE * g->network.config->hidden_size;
}

/* Largest difference by the largest value. */
static double difference(const float *a, const float *b, size_t n)
{
    double worst = 0, most = 0;

    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        most = fmax(most, fabs((double)a[i]));
    }
    return worst / most;
}

static void side_by_side_is_each_of_them_alone(void **state)
{
    const struct golden *g = *state;
    const size_t n = share_values(g);
    float *together = run(g, N_VARIANTS, &all, NULL, 2);

    for (size_t v = 0; v < N_VARIANTS; v++) {
        float *alone = run(g, 1, &variants[v], NULL, 2);

        /* an expert's tokens of all variants share its tiles: rounding may differ */
        assert_true(difference(alone, together + v * n, n) < 1e-6);
        if (v != BASE)
            assert_true(difference(alone, together, n) > 1e-2);
        bl_free(alone);
    }
    bl_free(together);
}

static void blocks_scratch_and_threads_change_no_bit(void **state)
{
    const struct golden *g = *state;
    const bl_room blocks = { EACH, NULL }, across = { 2 * EACH, "." }, uneven = { 3, "." };
    const size_t n = N_VARIANTS * share_values(g);
    float *whole = run(g, N_VARIANTS, &all, NULL, 2);
    float *blocked = run(g, N_VARIANTS, &all, &blocks, 1);
    float *spilled = run(g, N_VARIANTS, &all, &across, 3);
    float *uneven_blocks = run(g, N_VARIANTS, &all, &uneven, 2);

    assert_memory_equal(whole, blocked, n * sizeof(*whole));
    assert_memory_equal(whole, spilled, n * sizeof(*whole));
    assert_true(difference(whole, uneven_blocks, n) < 1e-5);
    bl_free(whole);
    bl_free(blocked);
    bl_free(spilled);
    bl_free(uneven_blocks);
}

static void one_variant_or_equal_ones_are_the_policy_itself(void **state)
{
    const struct golden *g = *state;
    const bl_router_policy equal[3] = { variants[MORE], variants[MORE], variants[MORE] };
    const bl_router_policy none = { 0 }, one = { .variant = equal, .n_variants = 1 };
    const bl_router_policy three = { .variant = equal, .n_variants = 3 };
    const size_t n = 3 * share_values(g) * sizeof(float);
    float *plain = run(g, 3, &equal[0], NULL, 2), *base = run(g, 3, NULL, NULL, 2);
    float *with[3] = { run(g, 3, &one, NULL, 2), run(g, 3, &three, NULL, 2),
                       run(g, 3, &none, NULL, 2) };

    assert_memory_equal(plain, with[0], n);
    assert_memory_equal(plain, with[1], n);
    assert_memory_equal(base, with[2], n);
    for (size_t i = 0; i < 3; i++)
        bl_free(with[i]);
    bl_free(plain);
    bl_free(base);
}

static bl_status check_slots(void *context, const bl_activation *a, struct bl_err *err)
{
    static const size_t used[N_VARIANTS] = { 2, 2, 1, 2, 3 };
    size_t *n_seen = context;

    (void)err;
    assert_int_equal(a->n_cols, 3);
    for (size_t r = 0; r < a->n_rows; r++, (*n_seen)++) {
        size_t n_used = used[(a->first + r) / SHARE];
        bool pruned = (a->first + r) / SHARE == PRUNED || (a->first + r) / SHARE == MORE;

        for (size_t k = 0; k < 3; k++) {
            uint32_t expert = a->choice[r * a->ld + k];

            if (k >= n_used) {
                assert_int_equal(expert, BL_ROUTER_NONE);
                assert_true(a->value[r * a->ld + k] == 0);
            } else if (pruned && expert != BL_ROUTER_NONE) {
                assert_false(disabled[expert]);
            }
        }
    }
    return BL_OK;
}

static void slots_that_a_variant_does_not_use_are_empty(void **state)
{
    const struct golden *g = *state;
    const bl_room rooms[2] = { { 0, NULL }, { 3, "." } };

    for (size_t i = 0; i < 2; i++) {
        size_t n_seen = 0;
        const bl_taps taps = { check_slots, &n_seen, 1u << BL_TAP_ROUTER_CHOICE };
        bl_state s = begin(g, N_VARIANTS, &rooms[i]);

        assert_int_equal(golden_layers(&s, N_LAYERS, &g->weights, &all, &taps, NULL), BL_OK);
        assert_int_equal(n_seen, 2 * N_VARIANTS * SHARE); /* layer 0 is dense */
        bl_state_release(&s);
    }
}

static bl_status refuse_all(void *context, const bl_activation *a, struct bl_err *err)
{
    (void)context, (void)a;
    return bl_fail(err, BL_E_IO, "nothing was to be seen");
}

static void a_skipped_layer_leaves_the_residual_stream(void **state)
{
    const struct golden *g = *state;
    const bl_router_policy skip = { .skipped = true }, two[2] = { skip, skip };
    const bl_router_policy both = { .variant = two, .n_variants = 2 };
    const bl_taps taps = { refuse_all, NULL, UINT32_MAX };
    const bl_room spilled = { 3, "." };
    const size_t n = 2 * share_values(g) * sizeof(float);

    for (int i = 0; i < 4; i++) {
        const bl_room *room = i & 1 ? &spilled : NULL;
        bl_state before = begin(g, 2, room), s = begin(g, 2, room);
        float *want = finish(&before), *got;

        assert_int_equal(
            golden_layers(&s, N_LAYERS, &g->weights, i & 2 ? &both : &skip, &taps, NULL), BL_OK);
        assert_int_equal(s.n_layers_done, N_LAYERS);
        got = finish(&s);
        assert_memory_equal(want, got, n);
        bl_free(want);
        bl_free(got);
    }
}

/* What the taps may see: tokens of the shares that run the layer. */
static bl_status check_tokens(void *context, const bl_activation *a, struct bl_err *err)
{
    const size_t *n_tokens = context;

    (void)err;
    for (size_t r = 0; r < a->n_rows; r++)
        assert_true((a->token ? a->token[r] : a->first + r) < *n_tokens);
    return BL_OK;
}

/* Layers 0 (dense) and 1 (experts): the last share skips them, the others are as without it. */
static void the_last_variants_may_skip_a_layer(void **state)
{
    const struct golden *g = *state;
    const bl_router_policy three[3] = { variants[ONE], variants[MORE], { .skipped = true } };
    const bl_router_policy last = { .variant = three, .n_variants = 3 };
    const bl_router_policy rest = { .variant = three, .n_variants = 2 };
    const bl_room rooms[3] = { { 0, NULL }, { EACH, "." }, { 2 * EACH, NULL } };
    const size_t n = share_values(g);

    for (size_t i = 0; i < 3; i++) {
        size_t n_tokens = 2 * SHARE;
        const bl_taps taps = { check_tokens, &n_tokens, UINT32_MAX };
        bl_state s = begin(g, 3, &rooms[i]), two = begin(g, 2, NULL), embedded = begin(g, 1, NULL);
        float *got, *want, *unchanged = finish(&embedded);

        assert_int_equal(golden_layers(&s, 2, &g->weights, &last, &taps, NULL), BL_OK);
        assert_int_equal(s.n_layers_done, 2);
        assert_int_equal(s.n_seqs, 3 * EACH);
        assert_int_equal(s.hidden.n_rows, 3 * SHARE);
        assert_int_equal(golden_layers(&two, 2, &g->weights, &rest, NULL, NULL), BL_OK);
        got = finish(&s);
        want = finish(&two);
        assert_memory_equal(got, want, 2 * n * sizeof(*got));
        assert_memory_equal(got + 2 * n, unchanged, n * sizeof(*got));
        bl_free(got);
        bl_free(want);
        bl_free(unchanged);
    }
}

/* One layer is refused with this sentence, and nothing has changed. */
static void assert_refused(const struct golden *g, uint32_t layer, const bl_router_policy *policy,
                           const char *text)
{
    bl_state before = begin(g, 3, NULL), s = begin(g, 3, NULL);
    struct bl_err err = { 0 };
    float *want = finish(&before), *got;

    s.n_layers_done = layer;
    assert_int_equal(bl_layer_step(&s, layer, &g->weights, policy, NULL, &err), BL_E_USAGE);
    assert_string_equal(err.text, text);
    assert_int_equal(s.n_layers_done, layer);
    got = finish(&s);
    assert_memory_equal(want, got, 3 * share_values(g) * sizeof(*want));
    bl_free(want);
    bl_free(got);
}

static void what_cannot_be_shared_out_is_refused(void **state)
{
    const struct golden *g = *state;
    const bl_router_policy order[3] = { { 0 }, { .skipped = true }, { 0 } };
    const bl_router_policy wrong_order = { .variant = order, .n_variants = 3 };
    const bl_router_policy uneven = { .variant = variants, .n_variants = N_VARIANTS };
    const bl_router_policy empty = { .variant = variants };

    for (uint32_t layer = 0; layer < 2; layer++) {
        char text[2][192];

        snprintf(text[0], sizeof(text[0]),
                 "layer %u: 12 sequences cannot be shared evenly by 5 routing policies", layer);
        snprintf(text[1], sizeof(text[1]),
                 "layer %u: routing policy 1 skips it and policy 2, which comes later, does not: "
                 "those that skip a layer must be the last ones",
                 layer);
        assert_refused(g, layer, &uneven, text[0]);
        assert_refused(g, layer, &wrong_order, text[1]);
    }
    assert_refused(g, 0, &empty,
                   "layer 0: 12 sequences cannot be shared evenly by 0 routing policies");
}

static void a_variant_that_asks_for_too_many_experts_is_refused(void **state)
{
    const struct golden *g = *state;
    const bl_router_policy six[3] = { { 0 }, { .experts_per_token = 6, .disabled = disabled } };
    const bl_router_policy nine[3] = { { 0 }, { 0 }, { .experts_per_token = 9 } };
    const bl_router_policy policy[2] = { { .variant = six, .n_variants = 3 },
                                         { .variant = nine, .n_variants = 3 } };
    static const char *const text[2] = { "6 experts per token, 5 of 8 are left enabled",
                                         "9 experts per token, the model has 8" };

    for (size_t i = 0; i < 2; i++) {
        bl_state s = begin(g, 3, NULL);
        struct bl_err err = { 0 };

        assert_int_equal(golden_layers(&s, 2, &g->weights, &policy[i], NULL, &err), BL_E_USAGE);
        assert_string_equal(err.text, text[i]);
        bl_state_release(&s);
    }
}

static bl_hash128 run_id(const struct golden *g, const bl_router_policy *policy)
{
    bl_hash128 id = { 0 };

    assert_int_equal(bl_run_id(&id, &g->weights, policy, NULL), BL_OK);
    return id;
}

/* As ids were made before there were variants: kept states are found by them. */
static bl_hash128 old_id(const struct golden *g, const bl_router_policy *policy)
{
    bl_hash128 model, id;
    bl_hasher *hasher = NULL;

    assert_int_equal(bl_container_fingerprint(&model, bl_ckpt_container(g->ckpt), NULL), BL_OK);
    assert_int_equal(bl_hasher_new(&hasher, NULL), BL_OK);
    bl_hasher_add(hasher, (uint64_t[2]){ model.low, model.high }, 16);
    for (size_t layer = 0; policy && layer < N_LAYERS; layer++) {
        bl_hasher_add(hasher, &policy[layer].experts_per_token, sizeof(uint32_t));
        if (policy[layer].disabled)
            bl_hasher_add(hasher, policy[layer].disabled, sizeof(disabled));
    }
    id = bl_hasher_digest(hasher);
    bl_hasher_free(hasher);
    return id;
}

static void every_field_of_every_variant_makes_another_run(void **state)
{
    const struct golden *g = *state;
    const bool others[8] = { true };
    const bl_router_policy v[6][2] = { { { 0 }, variants[PRUNED] },
                                       { { 0 }, { .disabled = others } },
                                       { variants[PRUNED], { 0 } },
                                       { { 0 }, { .skipped = true } },
                                       { { 0 }, { 0 } },
                                       { { 0 }, variants[ONE] } };
    const bl_router_policy runs[][N_LAYERS] = {
        { { 0 } },
        { [1] = { .experts_per_token = 1 }, [2] = { .disabled = disabled } },
        { [1] = { .ungrouped = true } },
        { [2] = { .ungrouped = true } },
        { [1] = { .skipped = true } },
        { [1] = { .experts_per_token = 1, .ungrouped = true } },
        { [1] = { .variant = v[0], .n_variants = 1 } },
        { [1] = { .variant = v[0], .n_variants = 2 } },
        { [1] = { .variant = v[1], .n_variants = 2 } },
        { [1] = { .variant = v[2], .n_variants = 2 } },
        { [1] = { .variant = v[3], .n_variants = 2 } },
        { [2] = { .variant = v[3], .n_variants = 2 } },
        { [1] = { .variant = v[4], .n_variants = 2 } },
        { [1] = { .variant = v[5], .n_variants = 2 } },
    };
    const size_t n = sizeof(runs) / sizeof(*runs);

    assert_true(bl_hash128_equal(run_id(g, NULL), old_id(g, NULL)));
    for (size_t i = 0; i < 2; i++)
        assert_true(bl_hash128_equal(run_id(g, runs[i]), old_id(g, runs[i])));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_false(bl_hash128_equal(run_id(g, runs[i]), run_id(g, runs[j])));
}

static void memory_that_fails_is_a_status(void **state)
{
    const struct golden *g = *state;
    const bl_router_policy three[3] = { { 0 }, variants[MORE], { .skipped = true } };
    const bl_router_policy policy = { .variant = three, .n_variants = 3 };
    const int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_state s = { 0 };

        rc = bl_state_init(&s, g->tokens, 6, 2, g->network.config->hidden_size, NULL, NULL);
        if (rc == BL_OK)
            rc = bl_embed(&s, &g->weights, NULL);
        bl_alloc_fail_at(k);
        if (rc == BL_OK)
            rc = golden_layers(&s, 2, &g->weights, &policy, NULL, NULL);
        bl_alloc_fail_at(0);
        bl_state_release(&s);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(side_by_side_is_each_of_them_alone),
        cmocka_unit_test(blocks_scratch_and_threads_change_no_bit),
        cmocka_unit_test(one_variant_or_equal_ones_are_the_policy_itself),
        cmocka_unit_test(slots_that_a_variant_does_not_use_are_empty),
        cmocka_unit_test(a_skipped_layer_leaves_the_residual_stream),
        cmocka_unit_test(the_last_variants_may_skip_a_layer),
        cmocka_unit_test(what_cannot_be_shared_out_is_refused),
        cmocka_unit_test(a_variant_that_asks_for_too_many_experts_is_refused),
        cmocka_unit_test(every_field_of_every_variant_makes_another_run),
        cmocka_unit_test(memory_that_fails_is_a_status),
    };

    return cmocka_run_group_tests(tests, golden_enter, golden_leave);
}
