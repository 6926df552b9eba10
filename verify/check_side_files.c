/*
 * check_side_files.c - see check_side_files.h. Sentences name the file by its plain name: the
 * checkpoint that it lies in heads the report.
 */
#include "verify/check_side_files.h"

#include "base/alloc.h"
#include "base/size.h"
#include "formats/hf/hf_dir.h"
#include "formats/hf/hf_index.h"
#include "formats/json/json.h"
#include "verify/check_findings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Files whose content is looked at. tokenizer.json has a reader of its own. */
typedef enum side_file {
    CONFIG,
    GENERATION,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    ADDED_TOKENS,
    INDEX,
    N_SIDE_FILES
} side_file;

static const char *const side_names[N_SIDE_FILES] = {
    [CONFIG] = BL_HF_CONFIG_NAME,
    [GENERATION] = "generation_config.json",
    [TOKENIZER_CONFIG] = "tokenizer_config.json",
    [SPECIAL_TOKENS] = "special_tokens_map.json",
    [ADDED_TOKENS] = "added_tokens.json",
    [INDEX] = BL_HF_INDEX_NAME,
};

struct sides {
    bl_check_result *result;
    const bl_ckpt *ckpt;
    uint64_t vocab_size;
    bl_json *doc[N_SIDE_FILES];   /* NULL: not there, or not JSON */
    bl_tokenizer_file *tokenizer; /* NULL: none that could be read */
    bool bad_tokenizer_config;
};

/* The ids under one key: a number or a list of them. */
struct ids {
    size_t n;
    uint64_t id[64];
};

static const bl_json_value *root_of(const struct sides *s, side_file f)
{
    return s->doc[f] ? bl_json_root(s->doc[f]) : NULL;
}

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), n_tail = strlen(tail);

    return n >= n_tail && strcmp(name + n - n_tail, tail) == 0;
}

/* model-00001-of-00002.safetensors */
static bool is_shard_name(const char *name)
{
    int end = -1;

    (void)sscanf(name, "model-%*u-of-%*u.safetensors%n", &end);
    return end > 0 && name[end] == '\0';
}

static side_file number_of(const char *name)
{
    int f = 0;

    while (f < N_SIDE_FILES && strcmp(name, side_names[f]) != 0)
        f++;
    return (side_file)f;
}

/* A *.json that no loader reads may be anything: then it is a note. */
static bl_status load_json(struct sides *s, const char *name, struct bl_err *err)
{
    side_file f = number_of(name);
    struct bl_err here = { 0 };
    bl_json *doc = NULL;
    char *text = NULL;
    size_t n = 0;
    bl_status rc = bl_ckpt_side_file(s->ckpt, name, &text, &n, &here);

    if (rc == BL_OK && text)
        rc = bl_json_parse(&doc, name, text, n, 0, &here);
    bl_free(text);
    if (rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED) {
        s->bad_tokenizer_config = s->bad_tokenizer_config || f == TOKENIZER_CONFIG;
        return bl_check_add(s->result, f < N_SIDE_FILES ? BL_FINDING_SIDE_FILE : BL_FINDING_NOTE,
                            err, "%s", here.text);
    }
    if (rc != BL_OK) {
        if (err)
            *err = here;
        return rc;
    }
    if (f < N_SIDE_FILES)
        s->doc[f] = doc;
    else
        bl_json_free(doc);
    return BL_OK;
}

static bl_status load(struct sides *s, struct bl_err *err)
{
    const bl_container *c = bl_ckpt_container(s->ckpt);
    bool has_tokenizer = false;
    bl_status rc = BL_OK;

    for (size_t i = 0; i < c->n_side_files && rc == BL_OK; i++) {
        const char *name = c->side_file_name[i];

        if (strcmp(name, "tokenizer.json") == 0)
            has_tokenizer = true;
        else if (ends_with(name, ".json"))
            rc = load_json(s, name, err);
        else if (is_shard_name(name))
            rc = bl_check_add(s->result, BL_FINDING_SIDE_FILE, err, "%s: no %s names this shard",
                              name, BL_HF_INDEX_NAME);
        else if (ends_with(name, ".safetensors"))
            rc = bl_check_add(s->result, BL_FINDING_NOTE, err, "%s: not part of this checkpoint",
                              name);
    }
    if (rc == BL_OK && has_tokenizer && !s->bad_tokenizer_config)
        rc = bl_check_read_tokenizer(&s->tokenizer, s->result, s->ckpt, err);
    return rc;
}

/* metadata.total_size is not read by any loader, and published ones are stale: a note. */
static bl_status check_index(struct sides *s, struct bl_err *err)
{
    const bl_container *c = bl_ckpt_container(s->ckpt);
    uint64_t total, sum = 0;

    if (!bl_json_u64(&total, bl_json_get(bl_json_get(root_of(s, INDEX), "metadata"), "total_size")))
        return BL_OK;
    for (size_t i = 0; i < c->n_stored; i++)
        sum += c->stored[i].n_bytes;
    if (sum == total)
        return BL_OK;
    return bl_check_add(s->result, BL_FINDING_NOTE, err,
                        "%s: total_size is %" PRIu64 ", the tensors have %" PRIu64 " bytes",
                        BL_HF_INDEX_NAME, total, sum);
}

/* The last id of the vocabulary is the one in front of vocab_size. */
static bl_status read_id(struct sides *s, struct ids *out, side_file f, const char *key,
                         const bl_json_value *value, struct bl_err *err)
{
    uint64_t id;
    int64_t negative;

    if (bl_json_i64(&negative, value) && negative < 0)
        return BL_OK; /* how older files say "none" */
    if (!bl_json_u64(&id, value))
        return bl_check_add(s->result, BL_FINDING_SIDE_FILE, err, "%s: %s is not a token id",
                            side_names[f], key);
    if (id >= s->vocab_size)
        return bl_check_add(s->result, BL_FINDING_SIDE_FILE, err,
                            "%s: %s is %" PRIu64 ", the vocabulary ends at %" PRIu64, side_names[f],
                            key, id, s->vocab_size - 1);
    if (out->n < sizeof(out->id) / sizeof(out->id[0]))
        out->id[out->n++] = id;
    return BL_OK;
}

static bl_status read_ids(struct sides *s, struct ids *out, side_file f, const char *key,
                          struct bl_err *err)
{
    const bl_json_value *value = bl_json_get(root_of(s, f), key);
    bl_status rc = BL_OK;

    *out = (struct ids){ 0 };
    if (!value || bl_json_type_of(value) == BL_JSON_NULL)
        return BL_OK;
    if (bl_json_type_of(value) != BL_JSON_ARRAY)
        return read_id(s, out, f, key, value, err);
    for (const bl_json_value *m = bl_json_first(value); m && rc == BL_OK; m = bl_json_next(m))
        rc = read_id(s, out, f, key, m, err);
    return rc;
}

static bool contains(const struct ids *ids, uint64_t id)
{
    for (size_t i = 0; i < ids->n; i++)
        if (ids->id[i] == id)
            return true;
    return false;
}

static bool share_one(const struct ids *a, const struct ids *b)
{
    for (size_t i = 0; i < a->n; i++)
        if (contains(b, a->id[i]))
            return true;
    return false;
}

/* "<file>: <key> is <id>, <other> has <other id>" */
static bl_status contradict(struct sides *s, bl_finding_kind kind, side_file f, const char *key,
                            uint64_t id, const char *other, uint64_t other_id, struct bl_err *err)
{
    return bl_check_add(s->result, kind, err, "%s: %s is %" PRIu64 ", %s has %" PRIu64,
                        side_names[f], key, id, other, other_id);
}

/* A model that ends where its tokenizer never does runs on. ends: of both configurations. */
static bl_status check_ends(struct sides *s, struct ids ends[2], struct bl_err *err)
{
    int64_t eos = s->tokenizer ? s->tokenizer->eos : -1;
    bl_status rc = read_ids(s, &ends[0], CONFIG, "eos_token_id", err);

    if (rc == BL_OK)
        rc = read_ids(s, &ends[1], GENERATION, "eos_token_id", err);
    if (rc != BL_OK)
        return rc;
    if (ends[0].n > 0 && ends[1].n > 0 && !share_one(&ends[0], &ends[1]))
        return contradict(s, BL_FINDING_SIDE_FILE, GENERATION, "eos_token_id", ends[1].id[0],
                          side_names[CONFIG], ends[0].id[0], err);
    for (int i = 0; i < 2; i++)
        if (eos >= 0 && ends[i].n > 0 && !contains(&ends[0], (uint64_t)eos) &&
            !contains(&ends[1], (uint64_t)eos))
            return contradict(s, BL_FINDING_SIDE_FILE, i ? GENERATION : CONFIG, "eos_token_id",
                              ends[i].id[0], side_names[TOKENIZER_CONFIG], (uint64_t)eos, err);
    return BL_OK;
}

/*
 * One of the configurations against the tokenizer, whose BOS is what comes in front of a text.
 * Published students keep their base model's BOS in config.json, which is its EOS.
 */
static bl_status check_bos(struct sides *s, side_file f, const struct ids ends[2],
                           struct bl_err *err)
{
    int64_t bos = s->tokenizer ? s->tokenizer->bos : -1;
    struct ids ids;
    bl_status rc = read_ids(s, &ids, f, "bos_token_id", err);
    bool is_end;

    if (rc != BL_OK || bos < 0 || ids.n == 0 || ids.id[0] == (uint64_t)bos)
        return rc;
    is_end = contains(&ends[0], ids.id[0]) || contains(&ends[1], ids.id[0]);
    return contradict(s, is_end ? BL_FINDING_NOTE : BL_FINDING_SIDE_FILE, f, "bos_token_id",
                      ids.id[0], side_names[TOKENIZER_CONFIG], (uint64_t)bos, err);
}

/* Padding is masked away: a note. */
static bl_status check_pad(struct sides *s, side_file f, struct bl_err *err)
{
    int64_t pad = s->tokenizer ? s->tokenizer->pad : -1;
    struct ids ids;
    bl_status rc = read_ids(s, &ids, f, "pad_token_id", err);

    if (rc != BL_OK || pad < 0 || ids.n == 0 || ids.id[0] == (uint64_t)pad)
        return rc;
    return contradict(s, BL_FINDING_NOTE, f, "pad_token_id", ids.id[0],
                      side_names[TOKENIZER_CONFIG], (uint64_t)pad, err);
}

static bl_status check_vocabulary(struct sides *s, struct bl_err *err)
{
    const bl_tokenizer_file *t = s->tokenizer;

    if (!t || t->n_ids <= s->vocab_size)
        return BL_OK;
    return bl_check_add(
        s->result, BL_FINDING_SIDE_FILE, err,
        "tokenizer.json: token '%s' has the id %" PRIu32 ", the vocabulary of %s ends at %" PRIu64,
        t->token[t->n_ids - 1].text, t->n_ids - 1, side_names[CONFIG], s->vocab_size - 1);
}

/* The text of a named token: itself, or an object with it as "content". */
static const char *token_text(const bl_json_value *value)
{
    return bl_json_string(value) ? bl_json_string(value)
                                 : bl_json_string(bl_json_get(value, "content"));
}

/* File f says that the added token `text` has this id; tokenizer.json is what is used. */
static bl_status check_added(struct sides *s, side_file f, const char *text, uint64_t id,
                             struct bl_err *err)
{
    const bl_tokenizer_file *t = s->tokenizer;
    const bl_vocab_token *known = id < t->n_ids ? &t->token[id] : NULL;

    if (!text)
        return bl_check_add(s->result, BL_FINDING_SIDE_FILE, err,
                            "%s: the added token %" PRIu64 " has no text", side_names[f], id);
    if (id >= s->vocab_size)
        return bl_check_add(s->result, BL_FINDING_SIDE_FILE, err,
                            "%s: the added token '%s' has the id %" PRIu64
                            ", the vocabulary ends at %" PRIu64,
                            side_names[f], text, id, s->vocab_size - 1);
    if (!known || !known->text)
        return bl_check_add(s->result, BL_FINDING_NOTE, err,
                            "%s: the added token '%s' (%" PRIu64 ") is not in tokenizer.json",
                            side_names[f], text, id);
    if (known->added >= 0 && strcmp(known->text, text) != 0)
        return bl_check_add(s->result, BL_FINDING_SIDE_FILE, err,
                            "%s: token %" PRIu64 " is '%s', tokenizer.json has '%s'", side_names[f],
                            id, text, known->text);
    return BL_OK;
}

/* {"128000": {"content": "<|x|>", ...}, ...} */
static bl_status check_added_decoder(struct sides *s, struct bl_err *err)
{
    const bl_json_value *map = bl_json_get(root_of(s, TOKENIZER_CONFIG), "added_tokens_decoder");
    bl_status rc = BL_OK;

    for (const bl_json_value *m = map ? bl_json_first(map) : NULL; m && rc == BL_OK;
         m = bl_json_next(m)) {
        const char *key = bl_json_key(m);
        char *end = NULL;
        uint64_t id = key ? strtoull(key, &end, 10) : 0;

        if (!key || end == key || *end)
            return bl_check_add(s->result, BL_FINDING_SIDE_FILE, err,
                                "%s: added_tokens_decoder is not a map of token ids",
                                side_names[TOKENIZER_CONFIG]);
        rc = check_added(s, TOKENIZER_CONFIG, token_text(m), id, err);
    }
    return rc;
}

/* {"<|x|>": 128000, ...} */
static bl_status check_added_tokens(struct sides *s, struct bl_err *err)
{
    const bl_json_value *map = root_of(s, ADDED_TOKENS);
    bl_status rc = BL_OK;

    for (const bl_json_value *m = map ? bl_json_first(map) : NULL; m && rc == BL_OK;
         m = bl_json_next(m)) {
        uint64_t id = 0;

        if (!bl_json_key(m) || !bl_json_u64(&id, m))
            return bl_check_add(s->result, BL_FINDING_SIDE_FILE, err,
                                "%s: not a map of tokens to ids", side_names[ADDED_TOKENS]);
        rc = check_added(s, ADDED_TOKENS, bl_json_key(m), id, err);
    }
    return rc;
}

static bl_status check_special_tokens(struct sides *s, struct bl_err *err)
{
    static const char *const keys[] = { "bos_token", "eos_token", "pad_token" };
    bl_status rc = BL_OK;

    for (size_t i = 0; i < 3 && rc == BL_OK; i++) {
        const char *a = token_text(bl_json_get(root_of(s, SPECIAL_TOKENS), keys[i]));
        const char *b = token_text(bl_json_get(root_of(s, TOKENIZER_CONFIG), keys[i]));

        if (a && b && strcmp(a, b) != 0)
            rc = bl_check_add(s->result, i == 2 ? BL_FINDING_NOTE : BL_FINDING_SIDE_FILE, err,
                              "%s: %s is '%s', %s has '%s'", side_names[SPECIAL_TOKENS], keys[i], a,
                              side_names[TOKENIZER_CONFIG], b);
    }
    return rc;
}

static bl_status check_tokens(struct sides *s, struct bl_err *err)
{
    struct ids ends[2];
    bl_status rc = check_ends(s, ends, err);

    if (rc == BL_OK)
        rc = check_bos(s, CONFIG, ends, err);
    if (rc == BL_OK)
        rc = check_bos(s, GENERATION, ends, err);
    if (rc == BL_OK)
        rc = check_pad(s, CONFIG, err);
    if (rc == BL_OK)
        rc = check_pad(s, GENERATION, err);
    if (rc == BL_OK)
        rc = check_vocabulary(s, err);
    if (rc == BL_OK && s->tokenizer)
        rc = check_added_decoder(s, err);
    if (rc == BL_OK && s->tokenizer)
        rc = check_added_tokens(s, err);
    if (rc == BL_OK)
        rc = check_special_tokens(s, err);
    return rc;
}

bl_status bl_check_side_files(bl_check_result *result, const bl_ckpt *ckpt, struct bl_err *err)
{
    struct sides s = { .result = result,
                       .ckpt = ckpt,
                       .vocab_size = bl_ckpt_config(ckpt)->vocab_size };
    bl_status rc = load(&s, err);

    if (rc == BL_OK)
        rc = check_index(&s, err);
    if (rc == BL_OK)
        rc = check_tokens(&s, err);
    for (size_t f = 0; f < N_SIDE_FILES; f++)
        bl_json_free(s.doc[f]);
    bl_tokenizer_file_free(s.tokenizer);
    return rc;
}
