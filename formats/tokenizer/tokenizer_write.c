/* tokenizer_write.c - see tokenizer_write.h. The layout is that of the Python package `tokenizers`. */
#include "formats/tokenizer/tokenizer_write.h"

#include "formats/json/json_writer.h"

#include <string.h>

static void put_type(bl_json_writer *w, const char *type)
{
    bl_json_begin_object(w);
    bl_json_pair_string(w, "type", type);
}

static void put_byte_level(bl_json_writer *w)
{
    put_type(w, "ByteLevel");
    bl_json_pair_bool(w, "add_prefix_space", false);
    bl_json_pair_bool(w, "trim_offsets", true);
    bl_json_pair_bool(w, "use_regex", false);
    bl_json_end_object(w);
}

static void put_added_tokens(bl_json_writer *w, const bl_tokenizer_file *file)
{
    bl_json_put_key(w, "added_tokens");
    bl_json_begin_array(w);
    for (uint32_t id = 0; id < file->n_ids; id++) { /* ascending, as readers expect */
        const bl_vocab_token *token = &file->token[id];
        const bl_added_token *added = token->added >= 0 ? &file->added[token->added] : NULL;

        if (!added)
            continue;
        bl_json_begin_object(w);
        bl_json_pair_u64(w, "id", id);
        bl_json_pair_string(w, "content", token->text);
        bl_json_pair_bool(w, "single_word", added->single_word);
        bl_json_pair_bool(w, "lstrip", added->lstrip);
        bl_json_pair_bool(w, "rstrip", added->rstrip);
        bl_json_pair_bool(w, "normalized", added->normalized);
        bl_json_pair_bool(w, "special", added->special);
        bl_json_end_object(w);
    }
    bl_json_end_array(w);
}

static void put_pre_tokenizer(bl_json_writer *w, const bl_tokenizer_file *file)
{
    bl_json_put_key(w, "pre_tokenizer");
    put_type(w, "Sequence");
    bl_json_put_key(w, "pretokenizers");
    bl_json_begin_array(w);
    for (uint32_t i = 0; i < file->n_splits; i++) {
        if (!file->split[i].pattern)
            continue;
        put_type(w, "Split");
        bl_json_put_key(w, "pattern");
        bl_json_begin_object(w);
        bl_json_pair_string(w, "Regex", file->split[i].pattern);
        bl_json_end_object(w);
        bl_json_pair_string(w, "behavior", "Isolated");
        bl_json_pair_bool(w, "invert", false);
        bl_json_end_object(w);
    }
    put_byte_level(w);
    bl_json_end_array(w);
    bl_json_end_object(w);
}

static void put_sequence(bl_json_writer *w, const char *id)
{
    bl_json_begin_object(w);
    bl_json_put_key(w, "Sequence");
    bl_json_begin_object(w);
    bl_json_pair_string(w, "id", id);
    bl_json_pair_u64(w, "type_id", 0);
    bl_json_end_object(w);
    bl_json_end_object(w);
}

static void put_special(bl_json_writer *w, const char *text)
{
    bl_json_begin_object(w);
    bl_json_put_key(w, "SpecialToken");
    bl_json_begin_object(w);
    bl_json_pair_string(w, "id", text);
    bl_json_pair_u64(w, "type_id", 0);
    bl_json_end_object(w);
    bl_json_end_object(w);
}

/* BOS in front of a text, and of both of a pair. */
static void put_template(bl_json_writer *w, const bl_tokenizer_file *file)
{
    const char *bos = file->token[file->bos].text;

    put_type(w, "TemplateProcessing");
    bl_json_put_key(w, "single");
    bl_json_begin_array(w);
    put_special(w, bos);
    put_sequence(w, "A");
    bl_json_end_array(w);
    bl_json_put_key(w, "pair");
    bl_json_begin_array(w);
    put_special(w, bos);
    put_sequence(w, "A");
    put_special(w, bos);
    put_sequence(w, "B");
    bl_json_end_array(w);
    bl_json_put_key(w, "special_tokens");
    bl_json_begin_object(w);
    bl_json_put_key(w, bos);
    bl_json_begin_object(w);
    bl_json_pair_string(w, "id", bos);
    bl_json_put_key(w, "ids");
    bl_json_begin_array(w);
    bl_json_put_u64(w, (uint64_t)file->bos);
    bl_json_end_array(w);
    bl_json_put_key(w, "tokens");
    bl_json_begin_array(w);
    bl_json_put_string(w, bos);
    bl_json_end_array(w);
    bl_json_end_object(w);
    bl_json_end_object(w);
    bl_json_end_object(w);
}

static bool has_bos(const bl_tokenizer_file *file)
{
    return file->add_bos && file->bos >= 0 && file->bos < file->n_ids &&
           file->token[file->bos].text;
}

static void put_model(bl_json_writer *w, const bl_tokenizer_file *file)
{
    bl_json_put_key(w, "model");
    put_type(w, "BPE");
    bl_json_pair_string(w, "dropout", NULL);
    bl_json_pair_string(w, "unk_token",
                        file->emits_unk && file->unk >= 0 ? file->token[file->unk].text : NULL);
    bl_json_pair_string(w, "continuing_subword_prefix", NULL);
    bl_json_pair_string(w, "end_of_word_suffix", NULL);
    bl_json_pair_bool(w, "fuse_unk", false);
    bl_json_pair_bool(w, "byte_fallback", false);
    bl_json_pair_bool(w, "ignore_merges", file->ignore_merges);
    bl_json_put_key(w, "vocab");
    bl_json_begin_object(w);
    for (uint32_t id = 0; id < file->n_ids; id++)
        if (file->token[id].text && file->token[id].in_model)
            bl_json_pair_u64(w, file->token[id].text, id);
    bl_json_end_object(w);
    bl_json_put_key(w, "merges");
    bl_json_begin_array(w);
    for (uint32_t i = 0; i < file->n_merges; i++) {
        bl_text pair = { 0 };

        bl_text_puts(&pair, file->token[file->merge[i].left].text);
        bl_text_puts(&pair, " ");
        bl_text_puts(&pair, file->token[file->merge[i].right].text);
        w->text->failed = w->text->failed || pair.failed;
        bl_json_put_string(w, pair.failed ? NULL : pair.bytes);
        bl_text_release(&pair);
    }
    bl_json_end_array(w);
    bl_json_end_object(w);
}

bl_status bl_tokenizer_write_json(bl_text *out, const bl_tokenizer_file *file, struct bl_err *err)
{
    bl_json_writer w = { .text = out };

    bl_json_begin_object(&w);
    bl_json_pair_string(&w, "version", "1.0");
    bl_json_pair_string(&w, "truncation", NULL);
    bl_json_pair_string(&w, "padding", NULL);
    put_added_tokens(&w, file);
    bl_json_put_key(&w, "normalizer");
    if (file->nfc) {
        put_type(&w, "NFC");
        bl_json_end_object(&w);
    } else {
        bl_json_put_raw(&w, "null");
    }
    put_pre_tokenizer(&w, file);
    bl_json_put_key(&w, "post_processor");
    if (has_bos(file))
        put_template(&w, file);
    else
        put_byte_level(&w);
    bl_json_put_key(&w, "decoder");
    put_byte_level(&w);
    put_model(&w, file);
    bl_json_end_object(&w);
    bl_text_puts(out, "\n");
    return bl_text_check(out, err);
}

static void pair_token(bl_json_writer *w, const char *key, const bl_tokenizer_file *file,
                       int64_t id)
{
    bl_json_pair_string(w, key, id >= 0 && id < file->n_ids ? file->token[id].text : NULL);
}

bl_status bl_tokenizer_write_config(bl_text *out, const bl_tokenizer_file *file,
                                    uint64_t model_max_length, struct bl_err *err)
{
    bl_json_writer w = { .text = out };

    bl_json_begin_object(&w);
    bl_json_pair_bool(&w, "add_bos_token", file->add_bos);
    bl_json_pair_bool(&w, "add_eos_token", file->add_eos);
    pair_token(&w, "bos_token", file, file->bos);
    if (file->chat_template)
        bl_json_pair_string(&w, "chat_template", file->chat_template);
    bl_json_pair_bool(&w, "clean_up_tokenization_spaces", false);
    pair_token(&w, "eos_token", file, file->eos);
    bl_json_pair_u64(&w, "model_max_length", model_max_length);
    pair_token(&w, "pad_token", file, file->pad);
    bl_json_pair_string(&w, "tokenizer_class", "PreTrainedTokenizerFast");
    pair_token(&w, "unk_token", file, file->unk);
    bl_json_end_object(&w);
    bl_text_puts(out, "\n");
    return bl_text_check(out, err);
}
