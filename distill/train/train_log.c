/* train_log.c - see train_log.h. */
#include "distill/train/train_log.h"

#include "base/alloc.h"
#include "formats/json/json_writer.h"
#include "verify/chart.h"

#include <math.h>

void bl_train_log_line(bl_text *out, const bl_train_record *r, double tokens_per_s)
{
    bl_json_writer w = { .text = out, .compact = true };

    bl_json_begin_object(&w);
    bl_json_pair_u64(&w, "step", r->step);
    bl_json_pair_u64(&w, "tokens", r->n_tokens);
    if (r->step > 0) {
        bl_json_pair_f64(&w, "loss", r->loss);
        bl_json_pair_f64(&w, "ce", r->ce);
        bl_json_pair_f64(&w, "kd", r->kd);
        bl_json_pair_f64(&w, "lr", r->lr);
        bl_json_pair_f64(&w, "grad_norm", r->grad_norm);
        if (tokens_per_s > 0)
            bl_json_pair_f64(&w, "tokens_per_s", round(tokens_per_s * 10) / 10);
    }
    if (!isnan(r->eval_ce))
        bl_json_pair_f64(&w, "eval_ppl", exp(r->eval_ce));
    bl_json_end_object(&w);
    bl_text_puts(out, "\n");
}

/* Columns of the records: x[n], then what is drawn. */
static bl_status put_chart(bl_text *out, double *column, const bl_train_record *record, size_t n,
                           struct bl_err *err)
{
    double *x = column, *loss = column + n, *ce = column + 2 * n, *eval = column + 3 * n;
    size_t n_eval = 0;
    double *eval_x = column + 4 * n;

    for (size_t i = 0; i < n; i++) {
        x[i] = (double)record[i].step;
        loss[i] = record[i].loss;
        ce[i] = record[i].ce;
        if (isnan(record[i].eval_ce))
            continue;
        eval_x[n_eval] = x[i];
        eval[n_eval++] = record[i].eval_ce;
    }
    {
        const bl_chart_series series[] = {
            { .name = "loss", .x = x, .y = loss, .n = n },
            { .name = "cross-entropy with the text", .x = x, .y = ce, .n = n, .dashed = true },
            { .name = "cross-entropy, held-out text", .x = eval_x, .y = eval, .n = n_eval }
        };
        const bl_chart chart = { .title = "Training",
                                 .x_title = "step",
                                 .y_title = "nats a token",
                                 .series = series,
                                 .n_series = n_eval > 0 ? 3 : 2 };

        bl_chart_write(out, &chart);
    }
    return bl_text_check(out, err);
}

bl_status bl_train_log_chart(bl_text *out, const bl_train_record *record, size_t n,
                             struct bl_err *err)
{
    double *column = bl_alloc(n, 5 * sizeof(*column));
    bl_status rc = column ? put_chart(out, column, record, n, err) : bl_fail_nomem(err, "a chart");

    bl_free(column);
    return rc;
}
