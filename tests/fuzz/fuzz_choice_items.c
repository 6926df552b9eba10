/*
 * fuzz_choice_items.c - any bytes as a file of multiple-choice items. A refusal must bring a
 * sentence that names the file; what is accepted keeps the promises of the header.
 */
#include "base/alloc.h"
#include "verify/choice_items.h"

#include <stdbool.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void check_items(const bl_choice_items *items)
{
    size_t n = 0;

    require(items->n_items > 0 && items->n_groups <= items->n_items);
    for (size_t i = 0; i < items->n_items; i++) {
        const bl_choice_item *item = &items->item[i];

        require(item->n_choices >= BL_CHOICES_MIN && item->n_choices <= BL_CHOICES_MAX);
        require(item->answer < item->n_choices && item->first == n && item->prompt);
        require(item->group >= -1 && item->group < (int64_t)items->n_groups);
        require(i == 0 || item->line > items->item[i - 1].line);
        for (uint32_t c = 0; c < item->n_choices; c++)
            require(*item->choice[c] != '\0');
        n += item->n_choices;
    }
    require(n == items->n_choices);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_choice_items items = { 0 };
    bl_status rc = bl_choice_items_parse(&items, "input", (const char *)data, size, &err);

    if (rc == BL_OK)
        check_items(&items);
    else
        require(rc == BL_E_FORMAT && err.status == rc && strncmp(err.text, "input:", 6) == 0);
    bl_choice_items_release(&items);
    require(bl_alloc_live() == live);
    return 0;
}
