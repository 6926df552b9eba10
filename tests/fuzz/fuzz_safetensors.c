/*
 * fuzz_safetensors.c - any bytes as a safetensors file. A refusal must bring a sentence that
 * names the file, and free all it took; a table that is accepted must cover the data exactly, and
 * be the same after it went through the writer.
 */
#include "base/alloc.h"
#include "base/source.h"
#include "base/text.h"
#include "formats/safetensors/safetensors_reader.h"
#include "formats/safetensors/safetensors_writer.h"

#include <stdbool.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

/* Parse size bytes; a refusal is checked here. */
static bool read_bytes(bl_safetensors *st, const void *data, size_t size)
{
    struct bl_err err = { 0 };
    bl_source *source = NULL;
    bl_status rc;

    require(bl_source_memory(&source, "input", data, size, &err) == BL_OK);
    rc = bl_safetensors_read(st, source, &err);
    bl_source_close(source);
    if (rc != BL_OK) {
        require(err.status == rc && strncmp(err.text, "input: ", 7) == 0);
        require(rc == BL_E_FORMAT || rc == BL_E_UNSUPPORTED);
        require(st->stored == NULL);
    }
    return rc == BL_OK;
}

static void check_coverage(const bl_safetensors *st, uint64_t size)
{
    uint64_t end = st->data_offset;

    for (size_t i = 0; i < st->n_stored; i++) {
        require(st->stored[i].offset == end && st->stored[i].n_bytes <= size - end);
        end += st->stored[i].n_bytes;
    }
    require(end == size);
}

/* Write the table as a plan, read it again. */
static void check_round_trip(const bl_safetensors *st, const unsigned char *body)
{
    bl_safetensors again = { 0 };
    bl_text file = { 0 };
    uint64_t n_data;

    require(bl_safetensors_check_plan("again", st->stored, st->n_stored, NULL) == BL_OK);
    require(bl_safetensors_plan_header(&file, &n_data, "again", st->stored, st->n_stored, NULL) ==
            BL_OK);
    bl_text_add(&file, (const char *)body, (size_t)n_data);
    require(bl_text_check(&file, NULL) == BL_OK);
    require(read_bytes(&again, file.bytes, file.n));
    require(again.n_stored == st->n_stored);
    for (size_t i = 0; i < st->n_stored; i++) {
        const bl_stored *a = &st->stored[i], *b = &again.stored[i];

        require(strcmp(a->name, b->name) == 0 && a->dtype == b->dtype && a->ndim == b->ndim);
        require(memcmp(a->dim, b->dim, sizeof(a->dim)) == 0 && a->n_bytes == b->n_bytes);
    }
    bl_text_release(&file);
    bl_safetensors_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    bl_safetensors st = { 0 };

    if (read_bytes(&st, data, size)) {
        check_coverage(&st, size);
        check_round_trip(&st, data + st.data_offset);
    }
    bl_safetensors_release(&st);
    require(bl_alloc_live() == live);
    return 0;
}
