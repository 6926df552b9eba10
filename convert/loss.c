/* loss.c - see loss.h. */
#include "convert/loss.h"

#include "base/clones.h"

#include <math.h>

enum { LANES = 16 };

/* What a row adds: e^2, x^2, h e^2, h x^2, and the largest e. */
struct row_sums {
    float error, power, h_error, h_power, largest;
};

static float fold(const float *lane)
{
    float half[LANES / 2];

    for (int i = 0; i < LANES / 2; i++)
        half[i] = lane[i] + lane[i + LANES / 2];
    for (int n = LANES / 4; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            half[i] += half[i + n];
    return half[0];
}

BL_CLONES
static void measure_row(struct row_sums *out, const float *restrict x, const float *restrict y,
                        const float *restrict h, size_t n)
{
    float error[LANES] = { 0 }, power[LANES] = { 0 }, h_error[LANES] = { 0 };
    float h_power[LANES] = { 0 }, largest[LANES] = { 0 };
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (size_t k = 0; k < LANES; k++) {
            float e = x[i + k] - y[i + k], ee = e * e, xx = x[i + k] * x[i + k];
            float magnitude = fabsf(e);

            error[k] += ee;
            power[k] += xx;
            h_error[k] += h[i + k] * ee;
            h_power[k] += h[i + k] * xx;
            largest[k] = magnitude > largest[k] ? magnitude : largest[k];
        }
    for (size_t k = 0; i < n; i++, k++) {
        float e = x[i] - y[i], ee = e * e, xx = x[i] * x[i];

        error[k] += ee;
        power[k] += xx;
        h_error[k] += h[i] * ee;
        h_power[k] += h[i] * xx;
        largest[k] = fmaxf(largest[k], fabsf(e));
    }
    out->largest = 0;
    for (size_t k = 0; k < LANES; k++)
        out->largest = fmaxf(out->largest, largest[k]);
    out->error = fold(error);
    out->power = fold(power);
    out->h_error = fold(h_error);
    out->h_power = fold(h_power);
}

void bl_loss_measure(bl_loss *loss, const bl_encode_rows *rows, const float *y)
{
    const size_t n = (size_t)rows->n_cols;

    for (uint64_t i = 0; i < rows->n_rows; i++) {
        const float *x = rows->value + i * n;
        struct row_sums sums;

        /* With x itself for h the weighted sums are not used. */
        measure_row(&sums, x, y + i * n, rows->importance ? rows->importance : x, n);
        loss->error += (double)sums.error;
        loss->power += (double)sums.power;
        loss->h_error += (double)(rows->importance ? sums.h_error : sums.error);
        loss->h_power += (double)(rows->importance ? sums.h_power : sums.power);
        loss->largest = fmaxf(loss->largest, sums.largest);
    }
    loss->n_values += rows->n_rows * rows->n_cols;
}

void bl_loss_add(bl_loss *a, const bl_loss *b)
{
    a->n_values += b->n_values;
    a->error += b->error;
    a->power += b->power;
    a->h_error += b->h_error;
    a->h_power += b->h_power;
    a->largest = fmaxf(a->largest, b->largest);
}

double bl_loss_relative(const bl_loss *loss)
{
    return loss->h_error > 0 ? loss->h_error / loss->h_power : 0;
}

double bl_loss_sqnr_db(const bl_loss *loss)
{
    return loss->error > 0 ? 10 * log10(loss->power / loss->error) : (double)INFINITY;
}
