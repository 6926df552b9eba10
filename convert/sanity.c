/* sanity.c - see sanity.h. A flag is set by whichever thread sees it; nothing depends on the order. */
#include "convert/sanity.h"

#include "base/alloc.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { NAMES = 10, OUTLIER_LOG2 = 12, SEEN = 1 << BL_N_ODDITIES, NONZERO = SEEN << 1 };

struct bl_sanity {
    const char *(*name)(const void *context, size_t i);
    const void *context;
    size_t n;
    atomic_uint *flags; /* of each tensor: 1 << finding, SEEN, NONZERO */
};

bl_status bl_sanity_new(bl_sanity **out, size_t n,
                        const char *(*name)(const void *context, size_t i), const void *context,
                        struct bl_err *err)
{
    bl_sanity *s = bl_calloc(1, sizeof(*s));

    if (s)
        s->flags = bl_calloc(n ? n : 1, sizeof(*s->flags));
    if (!s || !s->flags) {
        bl_free(s);
        return bl_fail_nomem(err, "findings");
    }
    s->name = name;
    s->context = context;
    s->n = n;
    *out = s;
    return BL_OK;
}

void bl_sanity_free(bl_sanity *sanity)
{
    if (!sanity)
        return;
    bl_free(sanity->flags);
    bl_free(sanity);
}

static void set(bl_sanity *s, size_t i, unsigned flags)
{
    if ((atomic_load_explicit(&s->flags[i], memory_order_relaxed) & flags) != flags)
        atomic_fetch_or_explicit(&s->flags[i], flags, memory_order_relaxed);
}

void bl_sanity_values(bl_sanity *sanity, size_t i, bool nonzero)
{
    set(sanity, i, nonzero ? SEEN | NONZERO : SEEN);
}

void bl_sanity_not_finite(bl_sanity *sanity, size_t i)
{
    set(sanity, i, 1u << BL_ODD_NOT_FINITE);
}

void bl_sanity_scales_f32(bl_sanity *sanity, size_t i, const unsigned char *bytes, size_t n)
{
    double sum = 0, lowest = (double)INFINITY, highest = -(double)INFINITY;
    size_t n_good = 0;

    for (size_t k = 0; k < n; k++) {
        float scale;
        double log2_scale;

        memcpy(&scale, bytes + 4 * k, sizeof(scale));
        if (!isfinite(scale)) {
            set(sanity, i, 1u << BL_ODD_NOT_FINITE);
        } else if (scale <= 0) {
            set(sanity, i, 1u << BL_ODD_SCALES);
        } else {
            log2_scale = log2((double)scale);
            sum += log2_scale;
            lowest = fmin(lowest, log2_scale);
            highest = fmax(highest, log2_scale);
            n_good++;
        }
    }
    if (n_good > 0 && (highest - sum / (double)n_good > OUTLIER_LOG2 ||
                       sum / (double)n_good - lowest > OUTLIER_LOG2))
        set(sanity, i, 1u << BL_ODD_OUTLIERS);
}

static bool has(const bl_sanity *s, size_t i, bl_oddity finding)
{
    unsigned flags = atomic_load_explicit(&s->flags[i], memory_order_relaxed);

    if (finding == BL_ODD_ZEROS)
        return (flags & (SEEN | NONZERO)) == SEEN;
    return (flags >> finding & 1) != 0;
}

size_t bl_sanity_count(const bl_sanity *sanity, bl_oddity finding)
{
    size_t n = 0;

    for (size_t i = 0; i < sanity->n; i++)
        n += has(sanity, i, finding);
    return n;
}

/* "3 tensors are all zeros: a, b, c" */
static void put_finding(bl_text *out, const bl_sanity *s, bl_oddity finding, size_t count)
{
    static const char *const one[] = { "tensor has values that are not finite",
                                       "tensor is all zeros",
                                       "tensor has scales that are zero or negative",
                                       "tensor has scales far from all others" };
    static const char *const more[] = { "tensors have values that are not finite",
                                        "tensors are all zeros",
                                        "tensors have scales that are zero or negative",
                                        "tensors have scales far from all others" };
    size_t told = 0;

    bl_text_printf(out, "%zu %s: ", count, count == 1 ? one[finding] : more[finding]);
    for (size_t i = 0; i < s->n && told < NAMES; i++) {
        if (!has(s, i, finding))
            continue;
        if (told++ > 0)
            bl_text_puts(out, ", ");
        bl_text_put_name(out, s->name(s->context, i));
    }
    if (count > told)
        bl_text_printf(out, " and %zu more", count - told);
}

void bl_sanity_report(bl_text *out, const bl_sanity *sanity)
{
    for (int finding = 0; finding < BL_N_ODDITIES; finding++) {
        size_t count = bl_sanity_count(sanity, (bl_oddity)finding);

        if (count == 0)
            continue;
        put_finding(out, sanity, (bl_oddity)finding, count);
        bl_text_puts(out, "\n");
    }
}

bl_status bl_sanity_refuse(const bl_sanity *sanity, struct bl_err *err)
{
    bl_text text = { 0 };
    bl_status rc;

    if (!sanity)
        return BL_OK;
    for (int finding = 0; finding < BL_N_ODDITIES; finding++) {
        size_t count = bl_sanity_count(sanity, (bl_oddity)finding);

        if (count == 0)
            continue;
        put_finding(&text, sanity, (bl_oddity)finding, count);
        rc = bl_text_check(&text, err);
        if (rc == BL_OK)
            rc = bl_fail(err, BL_E_MISMATCH, "refused by --strict: %s", text.bytes);
        bl_text_release(&text);
        return rc;
    }
    return BL_OK;
}
