/*
 * choice_items.h - a file of multiple-choice items, as JSON lines:
 *
 *     {"id"?: text, "group"?: text, "prompt": text, "choices": [text, ...], "answer": index}
 *
 * 2 to 26 choices, none of them empty; answer counts from 0; an id occurs once. Other members are
 * refused: a misspelt one would be ignored otherwise. Blank lines are skipped. The file is
 * untrusted: errors begin with its name and the line.
 */
#ifndef BL_VERIFY_CHOICE_ITEMS_H
#define BL_VERIFY_CHOICE_ITEMS_H

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { BL_CHOICES_MIN = 2, BL_CHOICES_MAX = 26 };

typedef struct bl_choice_item {
    const char *id; /* NULL: none */
    const char *prompt;
    const char *const *choice; /* [n_choices] */
    uint32_t n_choices, answer;
    int32_t group; /* index into group[], or -1 */
    size_t first;  /* place of its first choice among those of all items */
    size_t line;   /* from 1 */
} bl_choice_item;

typedef struct bl_choice_items {
    bl_arena arena; /* texts */
    const char *name;
    bl_choice_item *item; /* [n_items], in the file's order */
    size_t n_items, n_choices;
    const char **group; /* [n_groups], in the order of their first item */
    size_t n_groups;
} bl_choice_items;

/*
 * name: for sentences and reports, copied; the text is not kept. The caller releases *out. Fails
 * with BL_E_FORMAT (also without any item) or BL_E_NOMEM.
 */
BL_MUST_USE bl_status bl_choice_items_parse(bl_choice_items *out, const char *name,
                                            const char *text, size_t n, struct bl_err *err);
BL_MUST_USE bl_status bl_choice_items_open(bl_choice_items *out, const char *path,
                                           struct bl_err *err);
void bl_choice_items_release(bl_choice_items *items);

#endif
