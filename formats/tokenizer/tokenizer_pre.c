/*
 * tokenizer_pre.c - llama.cpp's names for split expressions (tokenizer.ggml.pre), both ways.
 *
 * llama.cpp has the expressions built in and is told a name. Its own converter finds the name by
 * hashing the ids of one text; here the expressions themselves decide, so a retrained vocabulary
 * or an added token changes nothing. The expressions are those of the published tokenizer.json
 * files: DeepSeek-V3, V2 and Coder, Qwen2, Llama 3, GPT-4 (dbrx), SmolLM, GPT-2; those of Qwen3.5
 * and Falcon, and what llama.cpp does without a name, are as llama.cpp has them.
 */
#include "formats/tokenizer/tokenizer_read.h"

#include <string.h>

enum { MAX_EXPRESSIONS = 6 };

struct pre {
    const char *name;   /* the one that is written */
    const char *others; /* that llama.cpp treats alike, comma-separated; or NULL */
    bool ignore_merges; /* what llama.cpp does under these names */
    bool add_bos;       /* ... unless the file says otherwise */
    const char *expression[MAX_EXPRESSIONS];
};

#define CONTRACTIONS       "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
#define SPACES_AND_SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define HAN                "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"

/* Letters of scripts that have case, as DeepSeek-LLM lists them. */
#define CASED_LETTERS                                                                              \
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293"                \
    "\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e"     \
    "-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5"        \
    "\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-"        \
    "\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-"          \
    "\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-"         \
    "\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-"          \
    "\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e"     \
    "\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-"          \
    "\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17"         \
    "\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-"              \
    "\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-"         \
    "\U0001e943"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* llama.cpp leaves out the last alternative of GPT2 everywhere: the gap is the same piece. */
static const struct pre pres[] = {
    { .name = "deepseek-v3",
      .others = "joyai-llm,hunyuan-dense,hy_v4",
      .expression = { "\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"
                      "[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|"
                      "\\s*[\r\n]+|\\s+(?!\\S)|\\s+" } },
    { .name = "qwen2",
      .others = "deepseek-r1-qwen,kormo,f2llmv2,megrez,hunyuan,solar-open,stablelm2,grok-2",
      .expression = { CONTRACTIONS "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" SPACES_AND_SYMBOLS } },
    { .name = "qwen35",
      .expression = { CONTRACTIONS
                      "[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|"
                      " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } },
    { .name = "llama-bpe",
      .others = "llama3,llama-v3,falcon3,falcon-h1,pixtral,midm-2.0,lfm2,jina-v5-nano",
      .ignore_merges = true,
      .add_bos = true,
      .expression = { CONTRACTIONS
                      "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" SPACES_AND_SYMBOLS } },
    { .name = "dbrx",
      .others = "smaug-bpe",
      .expression = { CONTRACTIONS
                      "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|" SPACES_AND_SYMBOLS } },
    { .name = "deepseek-llm",
      .expression = { "[\r\n]", "\\s?[" CASED_LETTERS "]+",
                      "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", "\\s+$",
                      HAN, "\\p{N}" } },
    { .name = "deepseek-coder",
      .expression = { "[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN, "\\p{N}" } },
    { .name = "smollm",
      .others = "starcoder,refact,command-r,codeshell,exaone,minerva-7b,mellum2",
      .expression = { "\\p{N}", GPT2 } },
    { .name = "gpt-2",
      .others = "mpt,olmo,jais,trillion,granite-docling,exaone4,phi-2,gigachat,a.x-4.0,mellum",
      .expression = { GPT2 } },
    { .name = "falcon", .expression = { "[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]" } },
    { .name = "default",
      .expression = { "[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
};

enum { N_PRES = sizeof(pres) / sizeof(*pres) };

static uint32_t n_expressions(const struct pre *pre)
{
    uint32_t n = 0;

    while (n < MAX_EXPRESSIONS && pre->expression[n])
        n++;
    return n;
}

static bool has_expressions(const bl_tokenizer_file *file, const struct pre *pre)
{
    if (file->n_splits != n_expressions(pre) || file->ignore_merges != pre->ignore_merges)
        return false;
    for (uint32_t i = 0; i < file->n_splits; i++) {
        const bl_split *split = &file->split[i];

        if (!split->pattern || split->prefix_space ||
            strcmp(split->pattern, pre->expression[i]) != 0)
            return false;
    }
    return true;
}

static const struct pre *find_by_expressions(const bl_tokenizer_file *file)
{
    for (size_t i = 0; i < N_PRES; i++)
        if (has_expressions(file, &pres[i]))
            return &pres[i];
    return NULL;
}

/* Whether name, of n bytes, is one of the comma-separated names. */
static bool is_one_of(const char *names, const char *name, size_t n)
{
    while (names && *names) {
        size_t length = strcspn(names, ",");

        if (length == n && memcmp(names, name, n) == 0)
            return true;
        names += length + (names[length] == ',');
    }
    return false;
}

const char *bl_tokenizer_gguf_pre(const bl_tokenizer_file *file)
{
    const struct pre *pre = find_by_expressions(file);

    return pre ? pre->name : NULL;
}

bool bl_tokenizer_adds_bos(const bl_tokenizer_file *file)
{
    const struct pre *pre = find_by_expressions(file);

    return pre && pre->add_bos;
}

bool bl_tokenizer_use_gguf_pre(bl_tokenizer_file *file, const char *name, size_t n)
{
    for (size_t i = 0; i < N_PRES; i++) {
        const struct pre *pre = &pres[i];

        if (!is_one_of(pre->name, name, n) && !is_one_of(pre->others, name, n))
            continue;
        file->ignore_merges = pre->ignore_merges;
        file->add_bos = pre->add_bos;
        file->n_splits = n_expressions(pre);
        for (uint32_t k = 0; k < file->n_splits; k++)
            file->split[k] = (bl_split){ .pattern = pre->expression[k] };
        return true;
    }
    return false;
}
