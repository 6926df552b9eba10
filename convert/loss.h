/*
 * loss.h - what an encoding cost a tensor: sums of squared errors, unweighted and by importance.
 *
 * The sums of a row are made in 16 lanes and a fixed tree in F32, rows are added up in double in
 * their order: the same numbers on every machine and at any -j.
 */
#ifndef BL_CONVERT_LOSS_H
#define BL_CONVERT_LOSS_H

#include "convert/job.h"

/* Add the loss of rows that were decoded to y[n_rows][n_cols]. */
void bl_loss_measure(bl_loss *loss, const bl_encode_rows *rows, const float *y);

/* Add b to a. */
void bl_loss_add(bl_loss *a, const bl_loss *b);

/* sum h (x - y)^2 / sum h x^2; 0 for no loss, also of nothing. */
double bl_loss_relative(const bl_loss *loss);

/* Signal to quantization noise: 10 log10(sum x^2 / sum (x - y)^2) in dB; infinite for no loss. */
double bl_loss_sqnr_db(const bl_loss *loss);

#endif
