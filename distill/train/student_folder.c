/* student_folder.c - see student_folder.h. */
#include "distill/train/student_folder.h"

#include "base/alloc.h"
#include "base/size.h"
#include "base/text.h"
#include "formats/dtype/float_bits.h"
#include "formats/hf/hf_dir.h"
#include "formats/hf/hf_index.h"
#include "formats/hf/hf_writer.h"
#include "formats/hfquant/hfquant.h"
#include "formats/json/json.h"

#include <string.h>

enum { PIECE_VALUES = 1 << 16 };

static bool ends_in(const char *name, const char *suffix)
{
    const size_t n = strlen(name), s = strlen(suffix);

    return n >= s && strcmp(name + n - s, suffix) == 0;
}

/* What is written anew, or speaks of weights that are others now. */
static bool stays_behind(const char *name, const bl_student_folder *f)
{
    static const char *const other[] = { BL_HF_CONFIG_NAME,   BL_ASCEND_DESCRIPTION,
                                         "README.md",         "hf_quant_config.json",
                                         "quant_config.json", "quantize_config.json",
                                         "recipe.yaml" };

    for (size_t i = 0; i < sizeof(other) / sizeof(*other); i++)
        if (strcmp(name, other[i]) == 0)
            return true;
    for (size_t i = 0; i < f->n_side; i++)
        if (strcmp(name, f->side[i].name) == 0)
            return true;
    return ends_in(name, ".safetensors") || ends_in(name, ".safetensors.index.json");
}

bl_status bl_student_folder_check(const bl_ckpt *source, struct bl_err *err)
{
    char *config = NULL;
    size_t n;
    bl_status rc = bl_ckpt_side_file(source, BL_HF_CONFIG_NAME, &config, &n, err);

    if (rc == BL_OK && !config)
        rc = bl_fail(err, BL_E_UNSUPPORTED,
                     "%s: has no config.json; a student is a Hugging Face folder: make one with "
                     "'baleen convert'",
                     bl_ckpt_path(source));
    bl_free(config);
    return rc;
}

/* config.json with the type of the weights. */
static bl_status write_config(bl_hf_writer *w, const bl_student_folder *f, struct bl_err *err)
{
    char *source = NULL;
    bl_text config = { 0 };
    bl_json *json = NULL;
    const char *key;
    size_t n = 0;
    bl_status rc = bl_ckpt_side_file(f->source, BL_HF_CONFIG_NAME, &source, &n, err);

    if (rc == BL_OK)
        rc = bl_json_parse(&json, BL_HF_CONFIG_NAME, source ? source : "", n, 0, err);
    if (rc == BL_OK)
        bl_text_add(&config, source, n);
    /* transformers 5 spells it dtype */
    key = rc == BL_OK && bl_json_get(bl_json_root(json), "dtype") ? "dtype" : "torch_dtype";
    bl_json_free(json);
    bl_free(source);
    if (rc == BL_OK)
        rc = bl_text_check(&config, err);
    if (rc == BL_OK)
        rc = bl_json_edit_member(&config, key, f->f32 ? "\"float32\"" : "\"bfloat16\"", err);
    if (rc == BL_OK)
        rc = bl_json_edit_member(&config, "quantization_config", NULL, err);
    if (rc == BL_OK)
        rc = bl_hf_writer_side_file(w, BL_HF_CONFIG_NAME, config.bytes, config.n, err);
    bl_text_release(&config);
    return rc;
}

static bl_status copy_side_files(bl_hf_writer *w, const bl_student_folder *f, struct bl_err *err)
{
    const bl_container *c = bl_ckpt_container(f->source);
    bl_status rc = BL_OK;

    for (size_t i = 0; i < c->n_side_files && rc == BL_OK; i++) {
        char *bytes = NULL;
        size_t n;

        if (stays_behind(c->side_file_name[i], f))
            continue;
        rc = bl_ckpt_side_file(f->source, c->side_file_name[i], &bytes, &n, err);
        if (rc == BL_OK && bytes)
            rc = bl_hf_writer_side_file(w, c->side_file_name[i], bytes, n, err);
        bl_free(bytes);
    }
    for (size_t i = 0; i < f->n_side && rc == BL_OK; i++)
        rc = bl_hf_writer_side_file(w, f->side[i].name, f->side[i].bytes, f->side[i].n, err);
    return rc;
}

/* A tensor's values in the type of the output, through a block of it. */
static bl_status write_values(bl_hf_writer *w, const bl_parameter *p, bool f32, void *block,
                              struct bl_err *err)
{
    const uint64_t n = p->n_rows * p->n_cols;
    float *as_f32 = block;
    uint16_t *as_bf16 = block;
    bl_status rc = BL_OK;

    for (uint64_t at = 0; at < n && rc == BL_OK; at += PIECE_VALUES) {
        const size_t n_here = (size_t)bl_min_u64(n - at, PIECE_VALUES);

        for (size_t i = 0; i < n_here; i++) {
            if (f32)
                as_f32[i] = p->bf16 ? bl_f32_from_bf16(p->bf16[at + i]) : p->value[at + i];
            else
                as_bf16[i] = p->bf16 ? p->bf16[at + i] : bl_bf16_from_f32(p->value[at + i]);
        }
        rc = bl_hf_writer_write(w, block, n_here * (f32 ? sizeof(*as_f32) : sizeof(*as_bf16)), err);
    }
    return rc;
}

/* Names and shapes are those of the source. */
static bl_status make_plan(bl_stored **out, const bl_student_folder *f, struct bl_err *err)
{
    bl_stored *plan = bl_calloc(f->n_parameters, sizeof(*plan));
    bl_status rc = plan ? BL_OK : bl_fail_nomem(err, "a plan");

    for (size_t i = 0; i < f->n_parameters && rc == BL_OK; i++) {
        const bl_parameter *p = f->parameter[i];
        const bl_tensor *t = NULL;

        rc = bl_ckpt_expect(&t, f->source, p->name, p->n_rows, p->n_cols, err);
        if (rc != BL_OK)
            break;
        plan[i] =
            (bl_stored){ .name = p->name, .dtype = f->f32 ? BL_F32 : BL_BF16, .ndim = t->ndim };
        memcpy(plan[i].dim, t->dim, sizeof(plan[i].dim));
    }
    if (rc == BL_OK)
        *out = plan;
    else
        bl_free(plan);
    return rc;
}

static bl_status write_tensors(bl_hf_writer *w, const bl_student_folder *f, struct bl_err *err)
{
    void *block = bl_alloc(PIECE_VALUES, sizeof(float));
    bl_status rc = block ? BL_OK : bl_fail_nomem(err, "a block of weights");

    for (size_t i = 0; i < f->n_parameters && rc == BL_OK; i++)
        rc = write_values(w, f->parameter[i], f->f32, block, err);
    bl_free(block);
    return rc;
}

bl_status bl_student_folder_write(const char *path, bool force, const bl_student_folder *f,
                                  struct bl_err *err)
{
    bl_hf_writer *w = NULL;
    bl_stored *plan = NULL;
    bl_status rc = bl_student_folder_check(f->source, err);

    if (rc == BL_OK)
        rc = make_plan(&plan, f, err);
    if (rc == BL_OK)
        rc = bl_hf_writer_begin(&w, path, force, plan, f->n_parameters, f->shard_size, err);
    if (rc == BL_OK)
        rc = write_config(w, f, err);
    if (rc == BL_OK)
        rc = copy_side_files(w, f, err);
    if (rc == BL_OK)
        rc = write_tensors(w, f, err);
    if (rc == BL_OK)
        rc = bl_hf_writer_commit(&w, err);
    bl_hf_writer_abort(&w);
    bl_free(plan);
    return rc;
}
