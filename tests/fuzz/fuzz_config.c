/*
 * fuzz_config.c - any bytes as a config.json. What is accepted must hold the promises that code
 * behind the parser relies on: no zero where it divides.
 */
#include "formats/arch/arch.h"
#include "formats/arch/config.h"

#include <stdint.h>
#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bl_err err = { 0 };
    bl_json *json = NULL;
    bl_config c;
    bl_status rc = bl_json_parse(&json, "fuzz", (const char *)data, size, 0, &err);

    if (rc == BL_OK)
        rc = bl_config_parse(&c, "fuzz", json, &err);
    bl_json_free(json);
    if (rc != BL_OK && err.text[0] == '\0')
        __builtin_trap();
    if (rc != BL_OK)
        return 0;
    for (size_t i = 0; i < c.arch->n_rows; i++)
        if (bl_arch_row_applies(&c.arch->row[i], &c, c.n_layers - 1) &&
            (bl_arch_dim(&c, c.arch->row[i].rows) == 0 ||
             bl_arch_dim(&c, c.arch->row[i].cols) == 0))
            __builtin_trap();
    if (c.n_heads == 0 || c.n_kv_heads == 0 ||
        (c.n_experts > 0 && (c.n_group == 0 || c.moe_layer_freq == 0 || c.n_experts_used == 0)))
        __builtin_trap();
    return 0;
}
