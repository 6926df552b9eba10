/* choice_items.c - see choice_items.h. */
#include "verify/choice_items.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/source.h"
#include "formats/json/json.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_FILE_BYTES = 1 << 30 };

struct parser {
    bl_choice_items *items;
    size_t item_size, group_size; /* room in their arrays */
    bl_map ids, groups;
    size_t line;
    char *where; /* "FILE:LINE", for sentences */
};

/* The array with room for one more element than its n, or NULL. It doubles: no line takes much. */
static void *reserve(void *array, size_t *room, size_t n, size_t size)
{
    size_t more = *room ? 2 * *room : 16;

    if (n < *room)
        return array;
    array = bl_realloc(array, more, size);
    if (array)
        *room = more;
    return array;
}

static bl_status copy_string(const char **out, struct parser *p, const bl_json_value *value,
                             const char *what, struct bl_err *err)
{
    const char *s = bl_json_string(value);

    if (!s)
        return bl_fail(err, BL_E_FORMAT, "%s: %s is not a string", p->where, what);
    *out = bl_arena_strdup(&p->items->arena, s);
    return *out ? BL_OK : bl_fail_nomem(err, what);
}

static bl_status read_choices(bl_choice_item *item, struct parser *p, const bl_json_value *value,
                              struct bl_err *err)
{
    size_t n = bl_json_type_of(value) == BL_JSON_ARRAY ? bl_json_size(value) : 0;
    const bl_json_value *v = n ? bl_json_first(value) : NULL;
    const char **choice;
    bl_status rc = BL_OK;

    if (n < BL_CHOICES_MIN || n > BL_CHOICES_MAX)
        return bl_fail(err, BL_E_FORMAT, "%s: \"choices\" is not a list of %d to %d texts",
                       p->where, BL_CHOICES_MIN, BL_CHOICES_MAX);
    choice = bl_arena_alloc(&p->items->arena, n, sizeof(*choice));
    if (!choice)
        return bl_fail_nomem(err, "choices");
    for (size_t i = 0; i < n && rc == BL_OK; i++, v = bl_json_next(v)) {
        rc = copy_string(&choice[i], p, v, "a choice", err);
        if (rc == BL_OK && *choice[i] == '\0')
            rc = bl_fail(err, BL_E_FORMAT, "%s: choice %zu is empty", p->where, i);
    }
    item->choice = choice;
    item->n_choices = (uint32_t)n;
    return rc;
}

static bl_status read_id(bl_choice_item *item, struct parser *p, const bl_json_value *value,
                         struct bl_err *err)
{
    bool was_there = false;
    bl_status rc = copy_string(&item->id, p, value, "\"id\"", err);

    if (rc == BL_OK)
        rc = bl_map_put(&p->ids, item->id, strlen(item->id), 0, &was_there, err);
    if (rc == BL_OK && was_there)
        rc = bl_fail(err, BL_E_FORMAT, "%s: another item has the id \"%s\"", p->where, item->id);
    return rc;
}

static bl_status read_group(bl_choice_item *item, struct parser *p, const bl_json_value *value,
                            struct bl_err *err)
{
    bl_choice_items *items = p->items;
    const char *name = NULL, **group;
    uint32_t index;
    bl_status rc = copy_string(&name, p, value, "\"group\"", err);

    if (rc != BL_OK)
        return rc;
    if (bl_map_get(&index, &p->groups, name, strlen(name))) {
        item->group = (int32_t)index;
        return BL_OK;
    }
    group = reserve(items->group, &p->group_size, items->n_groups, sizeof(*group));
    if (!group)
        return bl_fail_nomem(err, "groups");
    items->group = group;
    rc = bl_map_put(&p->groups, name, strlen(name), (uint32_t)items->n_groups, NULL, err);
    if (rc == BL_OK) {
        item->group = (int32_t)items->n_groups;
        group[items->n_groups++] = name;
    }
    return rc;
}

/* `answer` waits until the number of choices is known: members come in any order. */
static bl_status read_member(bl_choice_item *item, uint64_t *answer, struct parser *p,
                             const bl_json_value *v, struct bl_err *err)
{
    const char *key = bl_json_key(v);

    if (strcmp(key, "prompt") == 0)
        return copy_string(&item->prompt, p, v, "\"prompt\"", err);
    if (strcmp(key, "choices") == 0)
        return read_choices(item, p, v, err);
    if (strcmp(key, "id") == 0)
        return read_id(item, p, v, err);
    if (strcmp(key, "group") == 0)
        return read_group(item, p, v, err);
    if (strcmp(key, "answer") != 0)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: \"%s\" is none of id, group, prompt, choices and answer", p->where,
                       key);
    if (!bl_json_u64(answer, v))
        return bl_fail(err, BL_E_FORMAT, "%s: \"answer\" is not an index", p->where);
    return BL_OK;
}

static bl_status read_item(bl_choice_item *item, struct parser *p, const bl_json_value *root,
                           struct bl_err *err)
{
    uint64_t answer = UINT64_MAX;
    bl_status rc = BL_OK;

    if (bl_json_type_of(root) != BL_JSON_OBJECT)
        return bl_fail(err, BL_E_FORMAT, "%s: not an object", p->where);
    *item = (bl_choice_item){ .group = -1, .first = p->items->n_choices, .line = p->line };
    for (const bl_json_value *v = bl_json_first(root); v && rc == BL_OK; v = bl_json_next(v))
        rc = read_member(item, &answer, p, v, err);
    if (rc != BL_OK)
        return rc;
    if (!item->prompt || !item->choice || answer == UINT64_MAX)
        return bl_fail(err, BL_E_FORMAT, "%s: no \"%s\"", p->where,
                       !item->prompt   ? "prompt"
                       : !item->choice ? "choices"
                                       : "answer");
    if (answer >= item->n_choices)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: \"answer\" is %" PRIu64 ", but the last of %" PRIu32
                       " choices has index %" PRIu32,
                       p->where, answer, item->n_choices, item->n_choices - 1);
    item->answer = (uint32_t)answer;
    return BL_OK;
}

static bl_status read_line(struct parser *p, const char *line, size_t n, struct bl_err *err)
{
    bl_choice_items *items = p->items;
    bl_choice_item *item = reserve(items->item, &p->item_size, items->n_items, sizeof(*item));
    bl_json *json = NULL;
    bl_status rc;

    if (!item)
        return bl_fail_nomem(err, "multiple-choice items");
    items->item = item;
    bl_free(p->where);
    p->where = bl_format("%s:%zu", items->name, p->line);
    if (!p->where)
        return bl_fail_nomem(err, items->name);
    rc = bl_json_parse(&json, p->where, line, n, 0, err);
    if (rc == BL_OK)
        rc = read_item(&item[items->n_items], p, bl_json_root(json), err);
    if (rc == BL_OK)
        items->n_choices += item[items->n_items++].n_choices;
    bl_json_free(json);
    return rc;
}

static bool is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

static bl_status read_lines(struct parser *p, const char *text, size_t n, struct bl_err *err)
{
    const char *end = text + n;
    bl_status rc = BL_OK;

    while (text < end && rc == BL_OK) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline ? newline : end) - text);

        p->line++;
        if (!is_blank(text, length))
            rc = read_line(p, text, length, err);
        text = newline ? newline + 1 : end;
    }
    if (rc == BL_OK && p->items->n_items == 0)
        rc = bl_fail(err, BL_E_FORMAT, "%s: no item", p->items->name);
    return rc;
}

bl_status bl_choice_items_parse(bl_choice_items *out, const char *name, const char *text, size_t n,
                                struct bl_err *err)
{
    bl_choice_items items = { 0 };
    struct parser p = { .items = &items };
    bl_status rc;

    items.name = bl_arena_strdup(&items.arena, name);
    rc = items.name ? read_lines(&p, text, n, err) : bl_fail_nomem(err, name);
    bl_map_release(&p.ids);
    bl_map_release(&p.groups);
    bl_free(p.where);
    if (rc == BL_OK)
        *out = items;
    else
        bl_choice_items_release(&items);
    return rc;
}

bl_status bl_choice_items_open(bl_choice_items *out, const char *path, struct bl_err *err)
{
    char *text = NULL;
    size_t n = 0;
    bl_status rc = bl_source_read_file(&text, &n, path, MAX_FILE_BYTES, err);

    if (rc == BL_OK)
        rc = bl_choice_items_parse(out, path, text, n, err);
    bl_free(text);
    return rc;
}

void bl_choice_items_release(bl_choice_items *items)
{
    bl_arena_release(&items->arena);
    bl_free(items->item);
    bl_free(items->group);
    *items = (bl_choice_items){ 0 };
}
