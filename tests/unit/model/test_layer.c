/* What the layer step promises beside the right numbers: the same bits, taps, policies, statuses. */
#include "golden_run.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden_enter.h"

static float *forward(const struct golden *g, int n_threads, const bl_router_policy *policy)
{
    bl_weights weights = g->weights;
    float *logits = NULL;

    weights.n_threads = n_threads;
    assert_int_equal(
        golden_forward(&logits, g->tokens, 1, (uint32_t)g->n_tokens, &weights, policy, NULL),
        BL_OK);
    return logits;
}

static bl_state begin(const struct golden *g, uint32_t n)
{
    bl_state s;

    assert_int_equal(bl_state_init(&s, g->tokens, 1, n, g->network.config->hidden_size, NULL, NULL),
                     BL_OK);
    assert_int_equal(bl_embed(&s, &g->weights, NULL), BL_OK);
    return s;
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    const struct golden *g = *state;
    size_t n = g->n_tokens * g->network.config->vocab_size;
    float *one = forward(g, 1, NULL);

    for (int n_threads = 2; n_threads <= 5; n_threads++) {
        float *more = forward(g, n_threads, NULL);

        assert_memory_equal(one, more, n * sizeof(*one));
        bl_free(more);
    }
    bl_free(one);
}

static void a_run_that_was_saved_goes_on_with_the_same_bits(void **state)
{
    const struct golden *g = *state;
    const uint32_t n_layers = g->network.config->n_layers;
    size_t n = g->n_tokens * g->network.config->vocab_size;
    float *whole = forward(g, 2, NULL), *resumed = NULL;
    bl_state s = begin(g, (uint32_t)g->n_tokens), back = { 0 };
    bl_sink *sink = NULL;
    bl_source *source = NULL;

    assert_int_equal(golden_layers(&s, 1, &g->weights, NULL, NULL, NULL), BL_OK);
    assert_int_equal(bl_sink_begin(&sink, "state", false, NULL), BL_OK);
    assert_int_equal(bl_state_save(&s, sink, NULL), BL_OK);
    assert_int_equal(bl_sink_commit(&sink, NULL), BL_OK);
    bl_state_release(&s);
    assert_int_equal(bl_source_open(&source, "state", NULL), BL_OK);
    assert_int_equal(bl_state_load(&back, source, NULL, NULL), BL_OK);
    bl_source_close(source);
    assert_int_equal(back.n_layers_done, 1);
    assert_int_equal(golden_layers(&back, n_layers, &g->weights, NULL, NULL, NULL), BL_OK);
    assert_int_equal(golden_finish(&resumed, &back, &g->weights, NULL), BL_OK);
    assert_memory_equal(whole, resumed, n * sizeof(*whole));
    bl_state_release(&back);
    bl_free(whole);
    bl_free(resumed);
}

enum { SEQS = 12, POSITIONS = 64, TOKENS = SEQS * POSITIONS };

/* All hidden states after all layers of SEQS sequences, in blocks of so many, perhaps spilled. */
static float *in_blocks(const struct golden *g, uint32_t block_seqs, const char *scratch,
                        int n_threads)
{
    const bl_room room = { block_seqs, scratch };
    const uint32_t hidden = g->network.config->hidden_size;
    bl_weights weights = g->weights;
    float *out = bl_alloc(TOKENS, hidden * sizeof(*out));
    int32_t tokens[TOKENS];
    bl_state s;

    weights.n_threads = n_threads;
    for (size_t t = 0; t < TOKENS; t++)
        tokens[t] = g->tokens[t % g->n_tokens];
    assert_int_equal(bl_state_init(&s, tokens, SEQS, POSITIONS, hidden, &room, NULL), BL_OK);
    assert_int_equal(bl_embed(&s, &weights, NULL), BL_OK);
    assert_int_equal(golden_layers(&s, g->network.config->n_layers, &weights, NULL, NULL, NULL),
                     BL_OK);
    assert_int_equal(bl_matrix_read(out, &s.hidden, 0, TOKENS, NULL), BL_OK);
    bl_state_release(&s);
    return out;
}

static double difference(const float *a, const float *b, size_t n);

static void blocks_of_whole_tiles_and_spilling_change_no_bit(void **state)
{
    const struct golden *g = *state;
    const size_t n = (size_t)TOKENS * g->network.config->hidden_size;
    float *whole = in_blocks(g, 0, NULL, 2), *blocks = in_blocks(g, 4, NULL, 1);
    float *spilled = in_blocks(g, 8, ".", 3), *uneven = in_blocks(g, 5, ".", 2);

    assert_memory_equal(whole, blocks, n * sizeof(*whole));
    assert_memory_equal(whole, spilled, n * sizeof(*whole));
    assert_true(difference(whole, uneven, n) < 1e-3); /* hidden states reach 224 */
    bl_free(whole);
    bl_free(blocks);
    bl_free(spilled);
    bl_free(uneven);
}

/* All hidden states after all layers of one sequence; start NULL: one document. */
static float *hidden_of(const struct golden *g, const int32_t *tokens, const uint32_t *start,
                        uint32_t n)
{
    const uint32_t hidden = g->network.config->hidden_size;
    float *out = bl_alloc(n, hidden * sizeof(*out));
    bl_state s;

    assert_int_equal(bl_state_init(&s, tokens, 1, n, hidden, NULL, NULL), BL_OK);
    s.start = start;
    assert_int_equal(bl_embed(&s, &g->weights, NULL), BL_OK);
    assert_int_equal(golden_layers(&s, g->network.config->n_layers, &g->weights, NULL, NULL, NULL),
                     BL_OK);
    assert_int_equal(bl_matrix_read(out, &s.hidden, 0, n, NULL), BL_OK);
    bl_state_release(&s);
    return out;
}

/* Three documents, one across the blocks of queries, and rotary positions far from zero. */
static void documents_in_a_sequence_see_only_themselves(void **state)
{
    enum { N = 200 };
    static const uint32_t begin_at[4] = { 0, 30, 31, N };
    const struct golden *g = *state;
    const uint32_t hidden = g->network.config->hidden_size;
    int32_t tokens[N];
    uint32_t start[N];
    float *packed;

    for (uint32_t t = 0; t < N; t++) {
        tokens[t] = g->tokens[t * 7 % g->n_tokens];
        start[t] = t < 30 ? 0 : t < 31 ? 30 : 31;
    }
    packed = hidden_of(g, tokens, start, N);
    for (size_t d = 0; d < 3; d++) {
        const uint32_t from = begin_at[d], n = begin_at[d + 1] - from;
        float *alone = hidden_of(g, tokens + from, NULL, n);

        assert_true(difference(packed + from * hidden, alone, n * hidden) < 1e-3);
        bl_free(alone);
    }
    bl_free(packed);
}

static void a_spilled_run_that_was_saved_goes_on_anywhere(void **state)
{
    const struct golden *g = *state;
    const bl_room room = { 4, "." };
    bl_state s, back;
    bl_sink *sink = NULL;
    bl_source *source = NULL;
    int32_t tokens[TOKENS] = { 0 };
    float a[64], b[64];

    assert_int_equal(
        bl_state_init(&s, tokens, SEQS, POSITIONS, g->network.config->hidden_size, &room, NULL),
        BL_OK);
    assert_int_equal(bl_embed(&s, &g->weights, NULL), BL_OK);
    assert_int_equal(golden_layers(&s, 1, &g->weights, NULL, NULL, NULL), BL_OK);
    assert_int_equal(bl_sink_begin(&sink, "spilled.state", false, NULL), BL_OK);
    assert_int_equal(bl_state_save(&s, sink, NULL), BL_OK);
    assert_int_equal(bl_sink_commit(&sink, NULL), BL_OK);
    assert_int_equal(bl_source_open(&source, "spilled.state", NULL), BL_OK);
    assert_int_equal(bl_state_load(&back, source, NULL, NULL), BL_OK); /* into memory */
    bl_source_close(source);
    for (size_t row = 0; row < TOKENS; row += 97) {
        assert_true(s.hidden_size >= 64);
        memcpy(b, back.hidden.values + row * s.hidden_size, sizeof(b));
        assert_int_equal(
            bl_spill_read(s.hidden.file, row * s.hidden_size * sizeof(float), a, sizeof(a), NULL),
            BL_OK);
        assert_memory_equal(a, b, sizeof(a));
    }
    bl_state_release(&s);
    bl_state_release(&back);
}

static void a_scratch_folder_that_is_full_or_missing_is_named(void **state)
{
    const struct golden *g = *state;
    const bl_room room = { 4, "." }, missing = { 4, "no-such-folder" };
    const uint32_t hidden = g->network.config->hidden_size;
    int32_t tokens[TOKENS] = { 0 };
    struct bl_err err = { 0 };
    bl_status rc = BL_E_IO;
    bl_state s = { 0 };

    assert_int_equal(bl_state_init(&s, tokens, SEQS, POSITIONS, hidden, &missing, &err), BL_E_IO);
    assert_non_null(strstr(err.text, "no-such-folder"));
    for (uint64_t k = 1; rc != BL_OK; k += 1 + k / 4) {
        bl_sink_fail_at(k);
        rc = bl_state_init(&s, tokens, SEQS, POSITIONS, hidden, &room, &err);
        if (rc == BL_OK)
            rc = bl_embed(&s, &g->weights, &err);
        if (rc == BL_OK)
            rc = golden_layers(&s, 2, &g->weights, NULL, NULL, &err);
        bl_sink_fail_at(0);
        assert_true(rc == BL_OK || (rc == BL_E_IO && strstr(err.text, "scratch file")));
        bl_state_release(&s);
    }
}

static double difference(const float *a, const float *b, size_t n)
{
    double worst = 0;

    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

/* The same 64 tokens twice, side by side, and at the start of the long sequence. */
static void sequences_do_not_see_each_other_nor_what_follows(void **state)
{
    const struct golden *g = *state;
    size_t vocab = g->network.config->vocab_size, n = 64;
    float *whole = forward(g, 1, NULL), *twice = NULL;
    int32_t tokens[128];

    memcpy(tokens, g->tokens, n * sizeof(*tokens));
    memcpy(tokens + n, g->tokens, n * sizeof(*tokens));
    assert_int_equal(golden_forward(&twice, tokens, 2, 64, &g->weights, NULL, NULL), BL_OK);
    assert_true(difference(twice, twice + n * vocab, n * vocab) < 1e-4);
    assert_true(difference(twice, whole, n * vocab) < 1e-4);
    bl_free(whole);
    bl_free(twice);
}

/* What the taps showed of one layer. */
struct seen {
    const struct golden *g;
    uint32_t n[BL_TAP_COUNT];
    size_t expert_rows;
    int32_t last_expert;
    float *ffn_input;
    float *residual; /* before the experts, and what the routed ones added since */
};

/* The routed experts' answers by their weights are what the residual stream has gained. */
static void check_residual(struct seen *seen, const bl_activation *a)
{
    const size_t n = a->n_rows * a->n_cols;

    if (a->tap == BL_TAP_MOE_RESIDUAL)
        seen->residual = memcpy(bl_alloc(n, sizeof(float)), a->value, n * sizeof(float));
    if (a->tap == BL_TAP_EXPERT_OUTPUT)
        for (size_t r = 0; r < a->n_rows; r++)
            for (size_t i = 0; i < a->n_cols; i++)
                seen->residual[a->token[r] * a->n_cols + i] +=
                    a->weight[r] * a->value[r * a->ld + i];
    if (a->tap == BL_TAP_MOE_ROUTED)
        assert_memory_equal(seen->residual, a->value, n * sizeof(float));
}

static bl_status look(void *context, const bl_activation *a, struct bl_err *err)
{
    struct seen *seen = context;
    const bl_config *c = seen->g->network.config;
    const size_t cols[BL_TAP_COUNT] = {
        [BL_TAP_LAYER_INPUT] = c->hidden_size,
        [BL_TAP_ATTENTION_INPUT] = c->hidden_size,
        [BL_TAP_QUERY_LATENT] = c->q_lora_rank,
        [BL_TAP_KEY_LATENT] = c->kv_lora_rank,
        [BL_TAP_QUERY_HEADS] = c->n_heads * (c->qk_nope_head_dim + c->qk_rope_head_dim),
        [BL_TAP_VALUE_LATENT] = c->kv_lora_rank,
        [BL_TAP_ATTENTION_HEADS] = c->n_heads * c->v_head_dim,
        [BL_TAP_MOE_RESIDUAL] = c->hidden_size,
        [BL_TAP_MOE_ROUTED] = c->hidden_size,
        [BL_TAP_FFN_INPUT] = c->hidden_size,
        [BL_TAP_ROUTER_LOGITS] = c->n_experts,
        [BL_TAP_ROUTER_CHOICE] = c->n_experts_used,
        [BL_TAP_EXPERT_INPUT] = c->hidden_size,
        [BL_TAP_FFN_INNER] = c->moe_intermediate_size,
        [BL_TAP_EXPERT_OUTPUT] = c->hidden_size,
        [BL_TAP_HIDDEN] = c->hidden_size,
    };

    (void)err;
    assert_int_equal(a->n_cols, cols[a->tap]);
    assert_int_equal(a->layer, 1);
    assert_true(a->ld >= a->n_cols);
    seen->n[a->tap]++;
    check_residual(seen, a);
    if (a->tap == BL_TAP_FFN_INPUT)
        seen->ffn_input = memcpy(bl_alloc(a->n_rows * a->n_cols, sizeof(float)), a->value,
                                 a->n_rows * a->n_cols * sizeof(float));
    if (a->expert < 0) {
        assert_int_equal(a->n_rows, seen->g->n_tokens);
        return BL_OK;
    }
    if (a->tap == BL_TAP_EXPERT_INPUT) {
        assert_true(a->expert > seen->last_expert); /* ascending */
        seen->last_expert = a->expert;
        seen->expert_rows += a->n_rows;
        for (size_t r = 0; r < a->n_rows; r++) {
            assert_true(r == 0 || a->token[r] > a->token[r - 1]);
            assert_memory_equal(a->value + r * a->ld, seen->ffn_input + a->token[r] * a->n_cols,
                                a->n_cols * sizeof(float));
        }
    }
    assert_int_equal(a->expert, seen->last_expert);
    return BL_OK;
}

static void taps_show_every_activation_in_a_fixed_order(void **state)
{
    const struct golden *g = *state;
    struct seen seen = { .g = g, .last_expert = -1 };
    const bl_taps taps = { look, &seen, UINT32_MAX };
    bl_state s = begin(g, (uint32_t)g->n_tokens);
    uint32_t n_experts;

    assert_int_equal(golden_layers(&s, 1, &g->weights, NULL, NULL, NULL), BL_OK);
    assert_int_equal(bl_layer_step(&s, 1, &g->weights, NULL, &taps, NULL), BL_OK);
    for (int tap = 0; tap < BL_TAP_COUNT; tap++)
        assert_true(seen.n[tap] > 0);
    n_experts = seen.n[BL_TAP_EXPERT_INPUT];
    assert_int_equal(seen.n[BL_TAP_EXPERT_OUTPUT], n_experts);
    assert_int_equal(seen.n[BL_TAP_FFN_INNER], n_experts + 1); /* and the shared expert */
    assert_int_equal(seen.n[BL_TAP_HIDDEN], 1);
    assert_int_equal(seen.expert_rows, g->n_tokens * g->network.config->n_experts_used);
    assert_int_equal(seen.n[BL_TAP_LAYER_INPUT], 1);
    assert_int_equal(seen.n[BL_TAP_MOE_ROUTED], 1);
    bl_free(seen.ffn_input);
    bl_free(seen.residual);
    bl_state_release(&s);
}

static bl_status fail_at_once(void *context, const bl_activation *a, struct bl_err *err)
{
    (void)context, (void)a;
    return bl_fail(err, BL_E_IO, "the tap has had enough");
}

static void a_tap_that_fails_ends_the_step(void **state)
{
    const struct golden *g = *state;
    int64_t live = bl_alloc_live();

    for (unsigned tap = 0; tap < BL_TAP_COUNT; tap++) {
        const bl_taps taps = { fail_at_once, NULL, 1u << tap };
        bl_state s = begin(g, 8);
        struct bl_err err = { 0 };

        assert_int_equal(golden_layers(&s, 2, &g->weights, NULL, &taps, &err), BL_E_IO);
        assert_string_equal(err.text, "the tap has had enough");
        bl_state_release(&s);
    }
    assert_int_equal(bl_alloc_live(), live);
}

static bl_status count_choice(void *context, const bl_activation *a, struct bl_err *err)
{
    size_t *n = context;

    (void)err;
    for (size_t i = 0; i < a->n_rows * a->n_cols; i++)
        if (a->choice[i] != BL_ROUTER_NONE)
            n[a->choice[i]]++;
    return BL_OK;
}

static void a_policy_changes_which_experts_run(void **state)
{
    const struct golden *g = *state;
    const bool disabled[8] = { false, true, false, false, false, false, true, false };
    const bl_router_policy policy = { .experts_per_token = 1, .disabled = disabled };
    const bl_router_policy too_many = { .experts_per_token = 9 };
    size_t n[8] = { 0 }, sum = 0;
    const bl_taps taps = { count_choice, n, 1u << BL_TAP_ROUTER_CHOICE };
    bl_state s = begin(g, (uint32_t)g->n_tokens);

    assert_int_equal(g->network.config->n_experts, 8);
    assert_int_equal(golden_layers(&s, 2, &g->weights, &policy, &taps, NULL), BL_OK);
    for (size_t e = 0; e < 8; e++)
        sum += n[e];
    assert_int_equal(sum, g->n_tokens);
    assert_int_equal(n[1] + n[6], 0);
    assert_int_equal(bl_layer_step(&s, 2, &g->weights, &too_many, NULL, NULL), BL_E_USAGE);
    bl_state_release(&s);
}

static void hidden_states_that_overflow_are_named(void **state)
{
    const struct golden *g = *state;
    bl_state s = begin(g, 4);
    struct bl_err err = { 0 };

    s.hidden.values[2 * s.hidden_size + 5] = INFINITY;
    assert_int_equal(bl_layer_step(&s, 0, &g->weights, NULL, NULL, &err), BL_E_MISMATCH);
    assert_non_null(strstr(err.text, "layer 0: the hidden state of token"));
    bl_state_release(&s);
}

static void a_token_past_the_vocabulary_is_refused(void **state)
{
    const struct golden *g = *state;
    const int32_t tokens[3] = { 1, 2048, 2 };
    struct bl_err err = { 0 };
    float *logits = NULL;

    assert_int_equal(golden_forward(&logits, tokens, 1, 3, &g->weights, NULL, &err), BL_E_USAGE);
    assert_string_equal(err.text, "token id 2048, but model.embed_tokens.weight has 2048 rows");
}

/* MTP included: every allocation of a run over a few tokens fails once. */
static bl_status run_all(const struct golden *g)
{
    const bl_config *c = g->network.config;
    bl_state s = { 0 }, mtp = { 0 };
    float *logits = NULL;
    bl_status rc = bl_state_init(&s, g->tokens, 1, 5, c->hidden_size, NULL, NULL);

    if (rc == BL_OK)
        rc = bl_embed(&s, &g->weights, NULL);
    if (rc == BL_OK)
        rc = golden_layers(&s, c->n_layers, &g->weights, NULL, NULL, NULL);
    if (rc == BL_OK)
        rc = golden_finish(&logits, &s, &g->weights, NULL);
    if (rc == BL_OK)
        rc = bl_mtp_begin(&mtp, &s, &g->weights, NULL);
    if (rc == BL_OK)
        rc = golden_layers(&mtp, c->n_layers + 1, &g->weights, NULL, NULL, NULL);
    bl_free(logits);
    bl_state_release(&s);
    bl_state_release(&mtp);
    return rc;
}

static void memory_that_fails_is_a_status_everywhere(void **state)
{
    const struct golden *g = *state;
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_alloc_fail_at(k);
        rc = run_all(g);
        bl_alloc_fail_at(0);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_run_that_was_saved_goes_on_with_the_same_bits),
        cmocka_unit_test(blocks_of_whole_tiles_and_spilling_change_no_bit),
        cmocka_unit_test(documents_in_a_sequence_see_only_themselves),
        cmocka_unit_test(a_spilled_run_that_was_saved_goes_on_anywhere),
        cmocka_unit_test(a_scratch_folder_that_is_full_or_missing_is_named),
        cmocka_unit_test(sequences_do_not_see_each_other_nor_what_follows),
        cmocka_unit_test(taps_show_every_activation_in_a_fixed_order),
        cmocka_unit_test(a_tap_that_fails_ends_the_step),
        cmocka_unit_test(a_policy_changes_which_experts_run),
        cmocka_unit_test(hidden_states_that_overflow_are_named),
        cmocka_unit_test(a_token_past_the_vocabulary_is_refused),
        cmocka_unit_test(memory_that_fails_is_a_status_everywhere),
    };

    return cmocka_run_group_tests(tests, golden_enter, golden_leave);
}
