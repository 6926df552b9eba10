/*
 * fuzz_index.c - any bytes as a model.safetensors.index.json. A refusal must bring a sentence
 * that names the file; what is accepted may only name plain files, each once and in order.
 */
#include "base/alloc.h"
#include "formats/hf/hf_index.h"

#include <stdbool.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void check_index(const bl_hf_index *index)
{
    require(index->n_tensors > 0 && index->n_shards > 0 && index->n_shards <= index->n_tensors);
    for (size_t i = 0; i < index->n_tensors; i++)
        require(*index->tensor_name[i] && index->tensor_shard[i] < index->n_shards);
    for (size_t k = 0; k < index->n_shards; k++) {
        require(bl_hf_shard_name_fault(index->shard_name[k]) == NULL);
        require(!strchr(index->shard_name[k], '/') && index->shard_name[k][0] != '.');
        require(k == 0 || strcmp(index->shard_name[k - 1], index->shard_name[k]) < 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_hf_index index = { 0 };
    bl_status rc = bl_hf_index_parse(&index, "input", (const char *)data, size, &err);

    if (rc == BL_OK)
        check_index(&index);
    else
        require(rc == BL_E_FORMAT && err.status == rc && strncmp(err.text, "input: ", 7) == 0);
    bl_hf_index_release(&index);
    require(bl_alloc_live() == live);
    return 0;
}
