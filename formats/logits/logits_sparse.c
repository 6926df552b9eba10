/* logits_sparse.c - offsets are those of docs/format-logits.md. */
#include "formats/logits/logits_sparse.h"

#include "base/le.h"
#include "base/size.h"
#include "formats/dtype/float_bits.h"

#include <math.h>
#include <string.h>

enum { FIXED_BYTES = 12, PLACE_BYTES = 6, NO_CODE = 0xffffff };

static const float steps_per_nat = 131072.0f;

uint32_t bl_logits_sparse_bytes(uint32_t room_top, uint32_t room_samples)
{
    return FIXED_BYTES + PLACE_BYTES * (room_top + room_samples);
}

void bl_logits_sparse_counts(uint32_t *n_top, uint32_t *n_samples, uint32_t vocab_size,
                             uint32_t room_top, uint32_t room_samples)
{
    *n_top = (uint32_t)bl_min_u64(room_top, vocab_size);
    *n_samples = (uint32_t)bl_min_u64(room_samples, vocab_size - *n_top);
}

static uint32_t encode(float log_p)
{
    float code = rintf(-log_p * steps_per_nat);

    return !(code < (float)NO_CODE) ? NO_CODE : code > 0.0f ? (uint32_t)code : 0;
}

/* n tokens in room places; the others are all ones. */
static void pack_places(unsigned char *bytes, const uint32_t *id, const float *log_p, uint32_t n,
                        uint32_t room)
{
    memset(bytes, 0xff, (size_t)room * PLACE_BYTES);
    for (uint32_t i = 0; i < n; i++) {
        bl_put_u24(bytes + (size_t)i * PLACE_BYTES, id[i]);
        bl_put_u24(bytes + (size_t)i * PLACE_BYTES + 3, encode(log_p[i]));
    }
}

void bl_logits_pack_sparse(unsigned char *bytes, const bl_logits_sparse *record,
                           const bl_logits_info *info)
{
    unsigned char *top = bytes + FIXED_BYTES, *samples = top + (size_t)info->n_top * PLACE_BYTES;

    bl_put_u32(bytes, bl_bits_from_f32(fminf(record->target, 0.0f)));
    bl_put_u32(bytes + 4, bl_bits_from_f32(fmaxf(fminf(record->tail, 1.0f), 0.0f)));
    bl_put_u32(bytes + 8, bl_bits_from_f32(record->ln_threshold));
    pack_places(top, record->id, record->log_p, record->n_top, info->n_top);
    pack_places(samples, record->id + record->n_top, record->log_p + record->n_top,
                record->n_samples, info->n_samples);
}

/* False when the unused places are not all ones. */
static bool unpack_places(uint32_t *id, float *log_p, const unsigned char *bytes, uint32_t n,
                          uint32_t room)
{
    for (uint32_t i = 0; i < n; i++) {
        id[i] = bl_get_u24(bytes + (size_t)i * PLACE_BYTES);
        log_p[i] = -(float)bl_get_u24(bytes + (size_t)i * PLACE_BYTES + 3) / steps_per_nat;
    }
    for (size_t b = (size_t)n * PLACE_BYTES; b < (size_t)room * PLACE_BYTES; b++)
        if (bytes[b] != 0xff)
            return false;
    return true;
}

static const char *fault_of_ids(const bl_logits_sparse *r, uint32_t vocab_size)
{
    uint32_t n = r->n_top + r->n_samples;

    for (uint32_t i = 0; i < n; i++) {
        if (r->id[i] >= vocab_size)
            return "has a token that is not in the vocabulary";
        for (uint32_t j = 0; j < i; j++)
            if (r->id[j] == r->id[i])
                return "has a token twice";
    }
    for (uint32_t i = 1; i < r->n_top; i++)
        if (r->log_p[i] > r->log_p[i - 1])
            return "has its likeliest tokens out of order";
    return NULL;
}

const char *bl_logits_unpack_sparse(bl_logits_sparse *record, const unsigned char *bytes,
                                    const bl_logits_info *info)
{
    const unsigned char *top = bytes + FIXED_BYTES;
    const unsigned char *samples = top + (size_t)info->n_top * PLACE_BYTES;
    bl_logits_sparse *r = record;

    bl_logits_sparse_counts(&r->n_top, &r->n_samples, info->vocab_size, info->n_top,
                            info->n_samples);
    r->target = bl_f32_from_bits(bl_get_u32(bytes));
    r->tail = bl_f32_from_bits(bl_get_u32(bytes + 4));
    r->ln_threshold = bl_f32_from_bits(bl_get_u32(bytes + 8));
    if (!unpack_places(r->id, r->log_p, top, r->n_top, info->n_top) ||
        !unpack_places(r->id + r->n_top, r->log_p + r->n_top, samples, r->n_samples,
                       info->n_samples))
        return "has bytes where no token is";
    if (!isfinite(r->target) || r->target > 0)
        return "has a target's probability that is none";
    if (!(r->tail >= 0 && r->tail <= 1))
        return "has a tail's probability that is none";
    /* the whole tail is in the sample exactly when it fits: then there is no threshold */
    if (r->n_top + r->n_samples == info->vocab_size
            ? !(isinf(r->ln_threshold) && r->ln_threshold < 0)
            : !(isfinite(r->ln_threshold) && r->ln_threshold < 100))
        return "has a threshold that cannot be";
    return fault_of_ids(r, info->vocab_size);
}
