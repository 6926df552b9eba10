/*
 * tokenizer_vocab.c - the model (vocabulary and merges) and the added tokens of a tokenizer.json.
 *
 * Texts live in one block, sized beforehand; the map from text to id borrows them. Ids need not
 * be dense, but the table they index must be in proportion to the file.
 */
#include "formats/tokenizer/tokenizer_read.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <string.h>

static bl_status bad(const bl_tokenizer_file *file, struct bl_err *err, const char *what)
{
    return bl_fail(err, BL_E_FORMAT, "%s: %s", file->name, what);
}

static bl_status unsupported(const bl_tokenizer_file *file, struct bl_err *err, const char *what)
{
    return bl_fail(err, BL_E_UNSUPPORTED, "%s: %s is not supported", file->name, what);
}

/* Whether a member is there and says something: not null, false, zero or the empty string. */
static bool is_set(const bl_json_value *object, const char *key)
{
    const bl_json_value *value = bl_json_get(object, key);
    const char *text = bl_json_string(value);
    double number;
    bool flag;

    if (!value || bl_json_type_of(value) == BL_JSON_NULL)
        return false;
    if (text)
        return *text != '\0';
    if (bl_json_bool(&flag, value))
        return flag;
    if (bl_json_f64(&number, value))
        return number != 0.0;
    return true;
}

static bl_status check_model(bl_tokenizer_file *file, const bl_json_value *model,
                             struct bl_err *err)
{
    static const char *const features[] = { "dropout", "continuing_subword_prefix",
                                            "end_of_word_suffix", "byte_fallback" };
    const char *type = bl_tokenizer_type_of(model);

    if (!type || bl_json_type_of(model) != BL_JSON_OBJECT)
        return bad(file, err, "there is no 'model'");
    if (strcmp(type, "BPE") != 0 && *type) /* older files do not name it */
        return bl_fail(err, BL_E_UNSUPPORTED, "%s: a model of type '%s' is not supported, only BPE",
                       file->name, type);
    for (size_t i = 0; i < sizeof(features) / sizeof(*features); i++)
        if (is_set(model, features[i]))
            return unsupported(file, err, features[i]);
    return bl_tokenizer_flag(&file->ignore_merges, file, model, "ignore_merges", false, err);
}

/* Add a token to the map and the table. pool: where its text is copied to, advanced. */
static bl_status add_token(bl_tokenizer_file *file, bl_map *id_of, char **pool, const char *text,
                           uint32_t id, struct bl_err *err)
{
    bl_vocab_token *t = &file->token[id];
    size_t n = strlen(text);
    bool twice;
    bl_status rc;

    if (t->text)
        return bl_fail(err, BL_E_FORMAT, "%s: tokens '%s' and '%s' share id %" PRIu32, file->name,
                       t->text, text, id);
    if (n == 0)
        return bl_fail(err, BL_E_FORMAT, "%s: token %" PRIu32 " is empty", file->name, id);
    memcpy(*pool, text, n + 1);
    t->text = *pool;
    t->n_bytes = (uint32_t)n; /* a JSON text is far below 4 GiB */
    t->added = -1;
    *pool += n + 1;
    rc = bl_map_put(id_of, t->text, n, id, &twice, err);
    if (rc == BL_OK && twice)
        return bl_fail(err, BL_E_FORMAT, "%s: the token '%s' stands twice", file->name, text);
    return rc;
}

struct extent {
    uint64_t n_tokens, n_bytes, max_id;
};

static bl_status measure(struct extent *e, const bl_tokenizer_file *file, const char *text,
                         const bl_json_value *id, struct bl_err *err)
{
    uint64_t v;

    if (!text)
        return bad(file, err, "a token has no text");
    if (!bl_json_u64(&v, id) || v >= BL_TOKENIZER_MAX_IDS)
        return bl_fail(err, BL_E_FORMAT, "%s: the id of token '%s' is not an integer below %d",
                       file->name, text, BL_TOKENIZER_MAX_IDS);
    if (v > e->max_id)
        e->max_id = v;
    e->n_tokens++;
    e->n_bytes += strlen(text) + 1;
    return BL_OK;
}

/* Sizes first: the table and the block of texts are allocated once. */
static bl_status make_room(bl_tokenizer_file *file, char **pool, const bl_json_value *vocab,
                           const bl_json_value *added, struct bl_err *err)
{
    struct extent e = { 0 };
    bl_status rc = BL_OK;

    for (const bl_json_value *m = bl_json_first(vocab); m && rc == BL_OK; m = bl_json_next(m))
        rc = measure(&e, file, bl_json_key(m), m, err);
    for (const bl_json_value *m = added ? bl_json_first(added) : NULL; m && rc == BL_OK;
         m = bl_json_next(m), file->n_added++)
        rc =
            measure(&e, file, bl_json_string(bl_json_get(m, "content")), bl_json_get(m, "id"), err);
    if (rc != BL_OK)
        return rc;
    if (e.n_tokens == 0)
        return bad(file, err, "the vocabulary is empty");
    if (e.max_id > 8 * e.n_tokens + 4096)
        return bl_fail(err, BL_E_FORMAT, "%s: id %" PRIu64 " is far above the %" PRIu64 " tokens",
                       file->name, e.max_id, e.n_tokens);
    file->n_ids = (uint32_t)e.max_id + 1;
    file->token = bl_arena_alloc(&file->arena, file->n_ids, sizeof(*file->token));
    file->added = bl_arena_alloc(&file->arena, file->n_added, sizeof(*file->added));
    *pool = bl_arena_alloc(&file->arena, (size_t)e.n_bytes, 1);
    if (!file->token || !file->added || !*pool)
        return bl_fail_nomem(err, file->name);
    return BL_OK;
}

static bl_status read_model_tokens(bl_tokenizer_file *file, bl_map *id_of, char **pool,
                                   const bl_json_value *vocab, struct bl_err *err)
{
    bl_status rc = BL_OK;

    for (const bl_json_value *m = bl_json_first(vocab); m && rc == BL_OK; m = bl_json_next(m)) {
        uint64_t id = 0;

        (void)bl_json_u64(&id, m); /* measured before */
        rc = add_token(file, id_of, pool, bl_json_key(m), (uint32_t)id, err);
        if (rc == BL_OK)
            file->token[id].in_model = true;
    }
    return rc;
}

static bl_status read_added_token(bl_tokenizer_file *file, uint32_t i, bl_map *id_of, char **pool,
                                  const bl_json_value *m, struct bl_err *err)
{
    bl_added_token *a = &file->added[i];
    const char *text = bl_json_string(bl_json_get(m, "content"));
    uint64_t id = 0;
    uint32_t known;
    bl_status rc = BL_OK;

    (void)bl_json_u64(&id, bl_json_get(m, "id"));
    a->id = (uint32_t)id;
    if (!bl_map_get(&known, id_of, text, strlen(text)))
        rc = add_token(file, id_of, pool, text, a->id, err);
    else if (known != a->id)
        return bl_fail(err, BL_E_FORMAT, "%s: the token '%s' has the ids %" PRIu32 " and %" PRIu32,
                       file->name, text, known, a->id);
    else if (file->token[id].added >= 0)
        return bl_fail(err, BL_E_FORMAT, "%s: the added token '%s' stands twice", file->name, text);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->special, file, m, "special", false, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->normalized, file, m, "normalized", !a->special, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->lstrip, file, m, "lstrip", false, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->rstrip, file, m, "rstrip", false, err);
    if (rc == BL_OK)
        rc = bl_tokenizer_flag(&a->single_word, file, m, "single_word", false, err);
    if (rc == BL_OK)
        file->token[id].added = (int32_t)i;
    return rc;
}

/* The two halves of a merge: ["a", "b"], or the older "a b". False when it is neither. */
static bool halves_of(const char **left, size_t *n_left, const char **right, size_t *n_right,
                      const bl_json_value *m)
{
    const char *both = bl_json_string(m);

    if (both) {
        const char *space = strchr(both, ' ');

        if (!space || strchr(space + 1, ' '))
            return false;
        *left = both;
        *n_left = (size_t)(space - both);
        *right = space + 1;
    } else {
        const bl_json_value *first, *second;

        if (bl_json_type_of(m) != BL_JSON_ARRAY)
            return false;
        first = bl_json_first(m);
        second = first ? bl_json_next(first) : NULL;
        if (!second || bl_json_next(second))
            return false;
        *left = bl_json_string(first);
        *right = bl_json_string(second);
        if (!*left || !*right)
            return false;
        *n_left = strlen(*left);
    }
    *n_right = strlen(*right);
    return true;
}

static bl_status read_merge(bl_tokenizer_file *file, uint32_t i, const bl_map *id_of,
                            bl_text *joined, const bl_json_value *m, struct bl_err *err)
{
    bl_merge *merge = &file->merge[i];
    const char *left, *right;
    size_t n_left, n_right;
    bl_status rc;

    if (!halves_of(&left, &n_left, &right, &n_right, m))
        return bl_fail(err, BL_E_FORMAT, "%s: merge %" PRIu32 " is not a pair of tokens",
                       file->name, i);
    joined->n = 0;
    bl_text_add(joined, left, n_left);
    bl_text_add(joined, right, n_right);
    rc = bl_text_check(joined, err);
    if (rc != BL_OK)
        return rc;
    if (!bl_map_get(&merge->left, id_of, left, n_left) ||
        !bl_map_get(&merge->right, id_of, right, n_right) ||
        !bl_map_get(&merge->result, id_of, joined->bytes, joined->n))
        return bl_fail(err, BL_E_FORMAT,
                       "%s: merge %" PRIu32 " (%.*s and %s) uses a token that is not there",
                       file->name, i, (int)(n_left < 100 ? n_left : 100), left, right);
    return BL_OK;
}

/* A pair may have one rank only. */
static bl_status refuse_equal_pairs(const bl_tokenizer_file *file, struct bl_err *err)
{
    bl_map seen = { 0 };
    bl_status rc = BL_OK;

    for (uint32_t i = 0; i < file->n_merges && rc == BL_OK; i++) {
        const char *pair = (const char *)&file->merge[i]; /* left, right: the key of the map */
        bool twice;

        rc = bl_map_put(&seen, pair, 2 * sizeof(uint32_t), i, &twice, err);
        if (rc == BL_OK && twice)
            rc = bl_fail(err, BL_E_FORMAT, "%s: merge %" PRIu32 " repeats an earlier pair",
                         file->name, i);
    }
    bl_map_release(&seen);
    return rc;
}

/* Before the added tokens are read: a merge speaks of tokens of the model only. */
static bl_status read_merges(bl_tokenizer_file *file, const bl_map *id_of,
                             const bl_json_value *merges, struct bl_err *err)
{
    size_t n = bl_json_size(merges);
    bl_text joined = { 0 };
    bl_status rc = BL_OK;
    uint32_t i = 0;

    if (n > 2 * (size_t)BL_TOKENIZER_MAX_IDS)
        return bad(file, err, "there are too many merges");
    file->merge = bl_arena_alloc(&file->arena, n, sizeof(*file->merge));
    if (!file->merge)
        return bl_fail_nomem(err, file->name);
    file->n_merges = (uint32_t)n;
    for (const bl_json_value *m = bl_json_first(merges); m && rc == BL_OK; m = bl_json_next(m))
        rc = read_merge(file, i++, id_of, &joined, m, err);
    bl_text_release(&joined);
    return rc == BL_OK ? refuse_equal_pairs(file, err) : rc;
}

bl_status bl_tokenizer_read_vocab(bl_tokenizer_file *file, bl_map *id_of, const bl_json_value *root,
                                  struct bl_err *err)
{
    const bl_json_value *model = bl_json_get(root, "model");
    const bl_json_value *vocab = bl_json_get(model, "vocab");
    const bl_json_value *merges = bl_json_get(model, "merges");
    const bl_json_value *added = bl_json_get(root, "added_tokens");
    uint32_t i = 0;
    char *pool;
    bl_status rc = check_model(file, model, err);

    if (rc != BL_OK)
        return rc;
    if (!vocab || bl_json_type_of(vocab) != BL_JSON_OBJECT || !merges ||
        bl_json_type_of(merges) != BL_JSON_ARRAY)
        return bad(file, err, "the model lacks a 'vocab' object or a 'merges' list");
    if (added && bl_json_type_of(added) == BL_JSON_NULL)
        added = NULL;
    if (added && bl_json_type_of(added) != BL_JSON_ARRAY)
        return bad(file, err, "'added_tokens' is not a list");
    rc = make_room(file, &pool, vocab, added, err);
    if (rc == BL_OK)
        rc = read_model_tokens(file, id_of, &pool, vocab, err);
    if (rc == BL_OK)
        rc = read_merges(file, id_of, merges, err);
    for (const bl_json_value *m = added ? bl_json_first(added) : NULL; m && rc == BL_OK;
         m = bl_json_next(m))
        rc = read_added_token(file, i++, id_of, &pool, m, err);
    return rc;
}
