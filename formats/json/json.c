/*
 * json.c - the only file that includes cJSON.h. Text is checked by json_check.c first; what is
 * left for here is what only the tree can show: duplicate keys, and numbers past 2^53.
 */
#include "formats/json/json.h"

#include "base/alloc.h"
#include "base/map.h"
#include "formats/json/json_check.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

struct bl_json {
    cJSON *root;
};

static void *allocate(size_t n)
{
    return bl_alloc(n, 1);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void route_memory(void)
{
    cJSON_Hooks hooks = { allocate, bl_free };

    cJSON_InitHooks(&hooks);
}

static bl_status refuse_duplicates_in(const char *name, const cJSON *object, struct bl_err *err)
{
    bl_map seen = { 0 };
    bl_status rc = BL_OK;

    for (const cJSON *m = object->child; m && rc == BL_OK; m = m->next) {
        bool twice;

        rc = bl_map_put(&seen, m->string, strlen(m->string), 0, &twice, err);
        if (rc == BL_OK && twice)
            rc = bl_fail(err, BL_E_FORMAT, "%s: the key '%s' stands twice in one object", name,
                         m->string);
    }
    bl_map_release(&seen);
    return rc;
}

/* Depth is bounded by the check of the text. */
static bl_status refuse_duplicates(const char *name, const cJSON *value, struct bl_err *err)
{
    bl_status rc = BL_OK;

    if (cJSON_IsObject(value))
        rc = refuse_duplicates_in(name, value, err);
    for (const cJSON *m = value->child; m && rc == BL_OK; m = m->next)
        if (m->child)
            rc = refuse_duplicates(name, m, err);
    return rc;
}

bl_status bl_json_parse(bl_json **out, const char *name, const char *text, size_t n, unsigned flags,
                        struct bl_err *err)
{
    bl_status rc = bl_json_check(name, text, n, flags, err);
    bl_json *json;

    if (rc != BL_OK)
        return rc;
    pthread_once(&once, route_memory);
    json = bl_calloc(1, sizeof(*json));
    if (json)
        json->root = cJSON_ParseWithLength(text, n);
    if (!json || !json->root) {
        bl_json_free(json);
        return bl_fail_nomem(err, name); /* the text is good, so nothing else is left */
    }
    rc = refuse_duplicates(name, json->root, err);
    if (rc != BL_OK) {
        bl_json_free(json);
        return rc;
    }
    *out = json;
    return BL_OK;
}

void bl_json_free(bl_json *json)
{
    if (!json)
        return;
    cJSON_Delete(json->root);
    bl_free(json);
}

const bl_json_value *bl_json_root(const bl_json *json)
{
    return json->root;
}

bl_json_type bl_json_type_of(const bl_json_value *v)
{
    if (cJSON_IsObject(v))
        return BL_JSON_OBJECT;
    if (cJSON_IsArray(v))
        return BL_JSON_ARRAY;
    if (cJSON_IsString(v))
        return BL_JSON_STRING;
    if (cJSON_IsNumber(v))
        return BL_JSON_NUMBER;
    return cJSON_IsBool(v) ? BL_JSON_BOOL : BL_JSON_NULL;
}

size_t bl_json_size(const bl_json_value *value)
{
    size_t n = 0;

    for (const cJSON *m = value->child; m; m = m->next)
        n++;
    return n;
}

const bl_json_value *bl_json_first(const bl_json_value *value)
{
    return value->child;
}

const bl_json_value *bl_json_next(const bl_json_value *member)
{
    return member->next;
}

const char *bl_json_key(const bl_json_value *member)
{
    return member->string;
}

const bl_json_value *bl_json_get(const bl_json_value *object, const char *key)
{
    if (!object || !cJSON_IsObject(object))
        return NULL;
    for (const cJSON *m = object->child; m; m = m->next)
        if (strcmp(m->string, key) == 0)
            return m;
    return NULL;
}

bool bl_json_i64(int64_t *out, const bl_json_value *value)
{
    const double limit = 9007199254740991.0; /* 2^53 - 1: the last integer that is exact for sure */
    double v;

    if (!value || !cJSON_IsNumber(value))
        return false;
    v = value->valuedouble;
    if (!(v >= -limit && v <= limit) || v != trunc(v))
        return false;
    *out = (int64_t)v;
    return true;
}

bool bl_json_u64(uint64_t *out, const bl_json_value *value)
{
    int64_t v;

    if (!bl_json_i64(&v, value) || signbit(value->valuedouble)) /* -0 is no count either */
        return false;
    *out = (uint64_t)v;
    return true;
}

bool bl_json_f64(double *out, const bl_json_value *value)
{
    if (!value || !cJSON_IsNumber(value) || !isfinite(value->valuedouble))
        return false;
    *out = value->valuedouble;
    return true;
}

bool bl_json_bool(bool *out, const bl_json_value *value)
{
    if (!value || !cJSON_IsBool(value))
        return false;
    *out = cJSON_IsTrue(value);
    return true;
}

const char *bl_json_string(const bl_json_value *value)
{
    return value && cJSON_IsString(value) ? value->valuestring : NULL;
}
