/* stats_info.c - what a file of statistics says of itself: strings in the safetensors metadata. */
#include "formats/stats/stats_internal.h"

#include <inttypes.h>
#include <string.h>

static const char format_name[] = "baleen.stats";

/* Keys of the metadata, in the order of the file. */
enum {
    FORMAT,
    VERSION,
    IDENTITY, /* these four: all or none */
    FINGERPRINT,
    TEXT,
    TOKEN_IDS,
    TOKENS,
    CTX,
    LAYERS,
    HEADS,
    PARTS,
    SENSITIVITY_ROLES,
    N_KEYS
};

static const char *const keys[N_KEYS] = {
    "format", "version", "identity", "fingerprint", "text",  "token_ids",
    "tokens", "ctx",     "layers",   "heads",       "parts", "sensitivity_roles",
};

/* A decimal number without sign and leading zeros, up to max, at *s, which moves behind it. */
static bool scan(uint64_t *out, const char **s, uint64_t max)
{
    const char *p = *s;
    uint64_t v = 0;

    if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9'))
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (v > max / 10 || v * 10 > max - (uint64_t)(*p - '0'))
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    *s = p;
    *out = v;
    return true;
}

static bool parse_number(uint64_t *out, const char *s, uint64_t max)
{
    return scan(out, &s, max) && *s == '\0';
}

/* 32 lower-case hexadecimal digits, the high half first. */
static bool parse_hash(bl_hash128 *out, const char *s)
{
    uint64_t half[2] = { 0 };

    for (int i = 0; i < 32; i++) {
        int digit = s[i] >= 'A' && s[i] <= 'F' ? -1 : bl_hex_digit(s[i]);

        if (digit < 0)
            return false;
        half[i / 16] = half[i / 16] << 4 | (unsigned)digit;
    }
    *out = (bl_hash128){ .high = half[0], .low = half[1] };
    return s[32] == '\0';
}

/* "1,3/4": ascending parts, and of how many. */
static bool parse_parts(bl_stats_info *info, const char *s)
{
    uint64_t last = 0, n;

    do {
        if (!scan(&n, &s, BL_STATS_MAX_PARTS) || n <= last)
            return false;
        last = n;
        info->part[(n - 1) / 8] |= (unsigned char)(1u << (n - 1) % 8);
    } while (*s++ == ',');
    if (s[-1] != '/' || !parse_number(&n, s, BL_STATS_MAX_PARTS) || n < last)
        return false;
    info->n_parts = (uint32_t)n;
    return true;
}

/* Names between commas, none empty. */
static bl_status parse_roles(struct bl_stats *stats, const char *s, struct bl_err *err)
{
    uint64_t n = 1;

    for (const char *p = s; *p; p++)
        n += *p == ',';
    if (n > BL_STATS_MAX_ROLES)
        return bl_fail(err, BL_E_FORMAT, "%s: %" PRIu64 " roles of sensitivities", stats->path, n);
    stats->role = bl_arena_alloc(&stats->arena, (size_t)n, sizeof(*stats->role));
    if (!stats->role)
        return bl_fail_nomem(err, stats->path);
    for (; stats->n_roles < n; stats->n_roles++) {
        size_t length = strcspn(s, ",");

        if (length == 0)
            return bl_fail(err, BL_E_FORMAT, "%s: a role of sensitivities has no name",
                           stats->path);
        stats->role[stats->n_roles] = bl_arena_strndup(&stats->arena, s, length);
        if (!stats->role[stats->n_roles])
            return bl_fail_nomem(err, stats->path);
        s += length + (s[length] == ',');
    }
    return BL_OK;
}

static bl_status collect(const char *value[N_KEYS], const struct bl_stats *stats,
                         const bl_safetensors *st, struct bl_err *err)
{
    uint64_t version;

    memset(value, 0, N_KEYS * sizeof(*value));
    for (size_t i = 0; i < st->n_metadata; i++)
        for (int k = 0; k < N_KEYS; k++)
            if (strcmp(st->metadata[i].key, keys[k]) == 0)
                value[k] = st->metadata[i].value;
    if (!value[FORMAT] || strcmp(value[FORMAT], format_name) != 0)
        return bl_fail(err, BL_E_FORMAT,
                       "%s: no calibration statistics: its metadata do not say format %s",
                       stats->path, format_name);
    if (!value[VERSION] || !parse_number(&version, value[VERSION], UINT32_MAX) || version == 0)
        return bl_fail(err, BL_E_FORMAT, "%s: metadata: no version", stats->path);
    if (version > BL_STATS_VERSION)
        return bl_fail(err, BL_E_UNSUPPORTED,
                       "%s: statistics of version %" PRIu64 ", this program knows %d", stats->path,
                       version, BL_STATS_VERSION);
    for (size_t i = 0; i < st->n_metadata; i++) {
        bool known = false;

        for (int k = 0; k < N_KEYS; k++)
            known = known || strcmp(st->metadata[i].key, keys[k]) == 0;
        if (!known)
            return bl_fail(err, BL_E_FORMAT, "%s: metadata: unknown key '%s'", stats->path,
                           st->metadata[i].key);
    }
    return BL_OK;
}

static bl_status parse_hashes(bl_stats_info *info, const char *const value[N_KEYS],
                              const char *path, struct bl_err *err)
{
    bl_hash128 *const out[] = { &info->identity, &info->fingerprint, &info->text,
                                &info->token_ids };

    info->has_model = value[IDENTITY] != NULL;
    for (int i = 0; i < 4; i++) {
        const char *s = value[IDENTITY + i];

        if ((s != NULL) != info->has_model || (s && !parse_hash(out[i], s)))
            return bl_fail(err, BL_E_FORMAT, "%s: metadata: '%s' is not 32 hexadecimal digits",
                           path, keys[IDENTITY + i]);
    }
    return BL_OK;
}

bl_status bl_stats_parse_info(struct bl_stats *stats, const bl_safetensors *st, struct bl_err *err)
{
    static const struct {
        int key;
        uint64_t least, most;
    } number[] = { { TOKENS, 0, INT64_MAX },
                   { CTX, 0, INT32_MAX },
                   { LAYERS, 1, BL_STATS_MAX_LAYERS },
                   { HEADS, 0, 65536 } };
    bl_stats_info *info = &stats->info;
    const char *value[N_KEYS];
    uint64_t v[4];
    bl_status rc = collect(value, stats, st, err);

    if (rc == BL_OK)
        rc = parse_hashes(info, value, stats->path, err);
    for (int i = 0; i < 4 && rc == BL_OK; i++) {
        const char *s = value[number[i].key];

        if (!s || !parse_number(&v[i], s, number[i].most) || v[i] < number[i].least)
            rc = bl_fail(err, BL_E_FORMAT,
                         "%s: metadata: '%s' is not a number from %" PRIu64 " to %" PRIu64,
                         stats->path, keys[number[i].key], number[i].least, number[i].most);
    }
    if (rc != BL_OK)
        return rc;
    info->n_tokens = v[0];
    info->ctx = (uint32_t)v[1];
    info->n_layers = (uint32_t)v[2];
    info->n_heads = (uint32_t)v[3];
    if (!value[PARTS] || !parse_parts(info, value[PARTS]))
        return bl_fail(err, BL_E_FORMAT, "%s: metadata: 'parts' is not ascending parts of a number",
                       stats->path);
    return value[SENSITIVITY_ROLES] ? parse_roles(stats, value[SENSITIVITY_ROLES], err) : BL_OK;
}

static void put_hash(bl_text *text, bl_hash128 hash)
{
    bl_text_printf(text, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

static void put_parts(bl_text *text, const bl_stats_info *info)
{
    const char *comma = "";

    for (uint32_t i = 0; i < info->n_parts; i++)
        if (info->part[i / 8] >> i % 8 & 1) {
            bl_text_printf(text, "%s%" PRIu32, comma, i + 1);
            comma = ",";
        }
    bl_text_printf(text, "/%" PRIu32, info->n_parts);
}

static void put_value(bl_text *text, int key, const bl_stats_info *info, const char *const *role,
                      uint64_t n_roles)
{
    switch (key) {
    case FORMAT:
        bl_text_puts(text, format_name);
        break;
    case VERSION:
        bl_text_printf(text, "%d", BL_STATS_VERSION);
        break;
    case IDENTITY:
        put_hash(text, info->identity);
        break;
    case FINGERPRINT:
        put_hash(text, info->fingerprint);
        break;
    case TEXT:
        put_hash(text, info->text);
        break;
    case TOKEN_IDS:
        put_hash(text, info->token_ids);
        break;
    case TOKENS:
        bl_text_printf(text, "%" PRIu64, info->n_tokens);
        break;
    case CTX:
        bl_text_printf(text, "%" PRIu32, info->ctx);
        break;
    case LAYERS:
        bl_text_printf(text, "%" PRIu32, info->n_layers);
        break;
    case HEADS:
        bl_text_printf(text, "%" PRIu32, info->n_heads);
        break;
    case PARTS:
        put_parts(text, info);
        break;
    case SENSITIVITY_ROLES:
        for (uint64_t i = 0; i < n_roles; i++)
            bl_text_printf(text, "%s%s", i ? "," : "", role[i]);
        break;
    default:
        break;
    }
    bl_text_add(text, "", 1);
}

bl_status bl_stats_put_info(bl_safetensors_pair pair[BL_STATS_MAX_PAIRS], size_t *n, bl_text *text,
                            const bl_stats_info *info, const char *const *role, uint64_t n_roles,
                            struct bl_err *err)
{
    size_t at[N_KEYS];
    bl_status rc;

    *n = 0;
    for (int key = 0; key < N_KEYS; key++) {
        if ((key >= IDENTITY && key <= TOKEN_IDS && !info->has_model) ||
            (key == SENSITIVITY_ROLES && n_roles == 0))
            continue;
        at[*n] = text->n;
        pair[(*n)++].key = keys[key];
        put_value(text, key, info, role, n_roles);
    }
    rc = bl_text_check(text, err);
    for (size_t i = 0; i < *n && rc == BL_OK; i++)
        pair[i].value = text->bytes + at[i];
    return rc;
}
