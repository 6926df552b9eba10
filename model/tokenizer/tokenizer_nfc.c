/*
 * tokenizer_nfc.c - the only file that includes utf8proc.h.
 *
 * The reference normalizes with the tables of Unicode 9. By Unicode's stability policy text whose
 * characters are all in version 9 has the same normal form in every later version; a character that
 * is newer is to the reference an inert letter. So text is cut at newer marks and composites
 * (tokenizer_tables.c), which are copied, and utf8proc sees what lies between. It is also cut in
 * front of every line feed, which combines with nothing before it, to keep the buffers small.
 */
#include "model/tokenizer/tokenizer_nfc.h"

#include "base/alloc.h"
#include "model/tokenizer/tokenizer_tables.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

size_t bl_utf8_valid_prefix(const char *text, size_t n)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t i = 0;

    while (i < n) {
        uint64_t eight;
        utf8proc_int32_t c;
        utf8proc_ssize_t step;

        if (n - i >= sizeof(eight)) {
            memcpy(&eight, s + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        step = utf8proc_iterate(s + i, (utf8proc_ssize_t)(n - i < 4 ? n - i : 4), &c);
        if (step <= 0)
            return i;
        i += (size_t)step;
    }
    return n;
}

static uint32_t read_code_point(const char *text, size_t *step)
{
    const uint8_t *s = (const uint8_t *)text;

    if (s[0] < 0x80) {
        *step = 1;
        return s[0];
    }
    if (s[0] < 0xe0) {
        *step = 2;
        return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
    }
    if (s[0] < 0xf0) {
        *step = 3;
        return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    }
    *step = 4;
    return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
}

/*
 * U+11A7 stands where a Hangul trailing consonant would begin to count, and is none: it composes
 * with nothing. utf8proc 2.8 drops it behind a syllable.
 */
enum { BEFORE_TRAILING_CONSONANTS = 0x11a7 };

static bool is_inert_in_reference(uint32_t c)
{
    size_t low = 0, high = bl_tokenizer_n_inert;

    if (c == BEFORE_TRAILING_CONSONANTS)
        return true;
    while (low < high) {
        size_t mid = (low + high) / 2;

        if (c > bl_tokenizer_inert[mid].last)
            low = mid + 1;
        else
            high = mid;
    }
    return low < bl_tokenizer_n_inert && c >= bl_tokenizer_inert[low].first;
}

/*
 * Whether c may be other than itself after normalization, whatever stands around it. Nothing below
 * U+0300 may when nothing above does, nor an ideograph of the first, main block.
 */
static bool may_change(uint32_t c)
{
    const utf8proc_property_t *p;

    if (c < 0x300 || (c >= 0x4e00 && c <= 0x9fff))
        return false;
    if (c >= 0x1100 && c <= 0x11ff)
        return true; /* conjoining jamo compose by rule, not by table */
    p = utf8proc_get_property((utf8proc_int32_t)c);
    return p->combining_class != 0 || p->comb_index != UINT16_MAX ||
           (p->decomp_seqindex != UINT16_MAX && p->decomp_type == 0);
}

/* Normalize one stretch without inert characters and append it. */
static bl_status append_nfc(bl_text *out, const char *text, size_t n, struct bl_err *err)
{
    const utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    utf8proc_int32_t *code_points;
    utf8proc_ssize_t count, bytes;
    bl_status rc = BL_OK;

    if (n == 0)
        return BL_OK;
    count = utf8proc_decompose((const uint8_t *)text, (utf8proc_ssize_t)n, NULL, 0, options);
    /* one more: utf8proc_reencode() writes a terminating zero */
    code_points = count < 0 ? NULL : bl_alloc((size_t)count + 1, sizeof(*code_points));
    if (!code_points)
        return bl_fail_nomem(err, "normalizing text");
    count =
        utf8proc_decompose((const uint8_t *)text, (utf8proc_ssize_t)n, code_points, count, options);
    bytes = count < 0 ? count : utf8proc_reencode(code_points, count, options);
    if (bytes < 0)
        rc = bl_fail(err, BL_E_UNSUPPORTED, "normalizing text: %s", utf8proc_errmsg(bytes));
    else
        bl_text_add(out, (const char *)code_points, (size_t)bytes);
    bl_free(code_points);
    return rc;
}

static bool is_normal(const char *text, size_t n)
{
    for (size_t i = 0, step; i < n; i += step)
        if (may_change(read_code_point(text + i, &step)))
            return false;
    return true;
}

bl_status bl_nfc(bl_text *out, bool *changed, const char *text, size_t n, struct bl_err *err)
{
    size_t begin = 0;
    bl_status rc = BL_OK;

    *changed = !is_normal(text, n);
    if (!*changed)
        return BL_OK;
    out->n = 0;
    for (size_t i = 0, step; i < n && rc == BL_OK; i += step) {
        uint32_t c = read_code_point(text + i, &step);

        if (c != '\n' && (c < 0x300 || !is_inert_in_reference(c)))
            continue;
        rc = append_nfc(out, text + begin, i - begin, err);
        begin = i;
        if (c != '\n') {
            bl_text_add(out, text + i, step);
            begin += step;
        }
    }
    if (rc == BL_OK)
        rc = append_nfc(out, text + begin, n - begin, err);
    return rc == BL_OK ? bl_text_check(out, err) : rc;
}
