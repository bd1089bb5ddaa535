/* Linear kernels of a lowered model.
 *
 * A weight (in, out) lies in panels of SF_BLOCK outputs, each panel row-major (in, SF_BLOCK), the last one padded with
 * zeros: the innermost loop runs over outputs, the weights of a panel are read front to back, and many rows meet a panel
 * while it is in the cache.
 *
 * What is added up, and in which order, depends on in, out and the output alone, never on the number of rows, so a row has
 * equal bits in every batch. Panels in fours are summed from first to last input. One to three left-over panels of many
 * inputs would wait for each addition alone, so their inputs are summed in four quarters.
 */
#ifndef SF_KERNELS_H
#define SF_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "elementwise.h"
#include "model.h"

enum { SF_BLOCK = 16, SF_QUARTERED = 16 };

/* Rows that share one pass over a panel: as many sums as the vector registers hold. */
#if (defined(__AVX__) || defined(__aarch64__)) && !defined(SF_FLOAT64)
#define SF_ROWS 6
#else
#define SF_ROWS 2
#endif

/* For whoever compiles these sources without -ffp-contract=off: fused multiply-adds would round differently. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

/* SF_BLOCK numbers: a vector where the compiler has them, whatever the machine's width is. */
#if defined(__GNUC__) && !defined(SF_PLAIN_BLOCKS)
#define SF_VECTORS 1
typedef real sf_block __attribute__((vector_size(SF_BLOCK * sizeof(real)), aligned(sizeof(real)), may_alias));
#define SF_LOAD(p) (*(const sf_block *)(p))
#define SF_STORE(p, b) (*(sf_block *)(p) = (b))
#define SF_ADD_PRODUCT(sum, x, b) ((sum) += (x) * (b))
#define SF_ADD(sum, b) ((sum) += (b))
#else
typedef struct { real value[SF_BLOCK]; } sf_block;
#define SF_LOAD(p) (*(const sf_block *)(p))
#define SF_STORE(p, b) memcpy((p), (b).value, sizeof(sf_block))
#define SF_ADD_PRODUCT(sum, x, b) \
    do { const real x_ = (x); const sf_block b_ = (b); for (int j_ = 0; j_ < SF_BLOCK; j_++) (sum).value[j_] += x_ * b_.value[j_]; } while (0)
#define SF_ADD(sum, b) \
    do { const sf_block b_ = (b); for (int j_ = 0; j_ < SF_BLOCK; j_++) (sum).value[j_] += b_.value[j_]; } while (0)
#endif

/* The first `count` numbers from p, then zeros; none for NULL. Blocks go by pointer: how a compiler passes vectors that are
 * wider than the machine's depends on its options. */
static SF_ALWAYS_INLINE void sf_load_some(sf_block *block, const real *p, ptrdiff_t count)
{
    real some[SF_BLOCK] = {0};
    if (p && count >= SF_BLOCK) {
        *block = SF_LOAD(p);
        return;
    }
    if (p)
        memcpy(some, p, (size_t)count * sizeof(real));
    *block = SF_LOAD(some);
}

static SF_ALWAYS_INLINE void sf_store_some(real *p, const sf_block *block, ptrdiff_t count)
{
    if (count >= SF_BLOCK)
        SF_STORE(p, *block);
    else
        memcpy(p, block, (size_t)count * sizeof(real));
}

/* One row, four panels. */
static inline void sf_row_by_four(real *y, const real *restrict x, const real *restrict weight,
                                  const real *addend, ptrdiff_t in, ptrdiff_t width)
{
    const real *w0 = weight, *w1 = w0 + in * SF_BLOCK, *w2 = w1 + in * SF_BLOCK, *w3 = w2 + in * SF_BLOCK;
    sf_block s0, s1, s2, s3;
    sf_load_some(&s0, addend, SF_BLOCK);
    sf_load_some(&s1, addend ? addend + SF_BLOCK : 0, SF_BLOCK);
    sf_load_some(&s2, addend ? addend + 2 * SF_BLOCK : 0, SF_BLOCK);
    sf_load_some(&s3, addend ? addend + 3 * SF_BLOCK : 0, width - 3 * SF_BLOCK);
    for (ptrdiff_t i = 0; i < in; i++) {
        const real xi = x[i];
        SF_ADD_PRODUCT(s0, xi, SF_LOAD(w0 + i * SF_BLOCK));
        SF_ADD_PRODUCT(s1, xi, SF_LOAD(w1 + i * SF_BLOCK));
        SF_ADD_PRODUCT(s2, xi, SF_LOAD(w2 + i * SF_BLOCK));
        SF_ADD_PRODUCT(s3, xi, SF_LOAD(w3 + i * SF_BLOCK));
    }
    SF_STORE(y, s0);
    SF_STORE(y + SF_BLOCK, s1);
    SF_STORE(y + 2 * SF_BLOCK, s2);
    sf_store_some(y + 3 * SF_BLOCK, &s3, width - 3 * SF_BLOCK);
}

/* One row, one panel, the inputs in four quarters. */
static inline void sf_row_quartered(real *y, const real *restrict x, const real *restrict weight,
                                    const real *addend, ptrdiff_t in, ptrdiff_t width)
{
    const ptrdiff_t quarter = in / 4;
    const real *x1 = x + quarter, *x2 = x1 + quarter, *x3 = x2 + quarter;
    const real *w1 = weight + quarter * SF_BLOCK, *w2 = w1 + quarter * SF_BLOCK, *w3 = w2 + quarter * SF_BLOCK;
    sf_block s0, s1, s2, s3;
    sf_load_some(&s0, addend, width);
    sf_load_some(&s1, 0, 0);
    s2 = s3 = s1;
    for (ptrdiff_t i = 0; i < quarter; i++) {
        SF_ADD_PRODUCT(s0, x[i], SF_LOAD(weight + i * SF_BLOCK));
        SF_ADD_PRODUCT(s1, x1[i], SF_LOAD(w1 + i * SF_BLOCK));
        SF_ADD_PRODUCT(s2, x2[i], SF_LOAD(w2 + i * SF_BLOCK));
        SF_ADD_PRODUCT(s3, x3[i], SF_LOAD(w3 + i * SF_BLOCK));
    }
    for (ptrdiff_t i = 4 * quarter; i < in; i++)
        SF_ADD_PRODUCT(s3, x[i], SF_LOAD(weight + i * SF_BLOCK));
    SF_ADD(s0, s1);
    SF_ADD(s0, s2);
    SF_ADD(s0, s3);
    sf_store_some(y, &s0, width);
}

/* `count` rows, a number known to the compiler, one panel; `quarter` is a quarter of the inputs where those are summed in
 * quarters, else 0. */
static SF_ALWAYS_INLINE void sf_some_rows(const int count, real *y, ptrdiff_t y_row, const real *restrict x, ptrdiff_t x_row,
                                          const real *restrict weight, const real *addend, ptrdiff_t addend_row,
                                          ptrdiff_t in, ptrdiff_t width, ptrdiff_t quarter)
{
    sf_block sum[SF_ROWS], total[SF_ROWS];
    ptrdiff_t i = 0;
    for (int r = 0; r < count; r++) {
        sf_load_some(&sum[r], addend ? addend + r * addend_row : 0, width);
        total[r] = sum[r];
    }
    for (int q = quarter ? 1 : 4; q <= 4; q++) {
        for (const ptrdiff_t last = q < 4 ? q * quarter : in; i < last; i++) {
            const sf_block w = SF_LOAD(weight + i * SF_BLOCK);
            for (int r = 0; r < count; r++)
                SF_ADD_PRODUCT(sum[r], x[r * x_row + i], w);
        }
        if (!quarter)
            break;
        for (int r = 0; r < count; r++) {
            if (q > 1)
                SF_ADD(total[r], sum[r]);
            else
                total[r] = sum[r];
            sf_load_some(&sum[r], 0, 0);
        }
    }
    for (int r = 0; r < count; r++)
        sf_store_some(y + r * y_row, quarter ? &total[r] : &sum[r], width);
}

SF_NOINLINE static void sf_rows_by_panel(int count, real *y, ptrdiff_t y_row, const real *x, ptrdiff_t x_row,
                                         const real *weight, const real *addend, ptrdiff_t addend_row, ptrdiff_t in,
                                         ptrdiff_t width, ptrdiff_t quarter)
{
#define SF_CASE(n)                                                                                       \
    case n:                                                                                              \
        sf_some_rows(n, y, y_row, x, x_row, weight, addend, addend_row, in, width, quarter);             \
        break
    switch (count) {
        SF_CASE(1);
        SF_CASE(2);
#if SF_ROWS > 2
        SF_CASE(3);
        SF_CASE(4);
        SF_CASE(5);
        SF_CASE(6);
#endif
    }
#undef SF_CASE
}

/* How many of the rows that are left go together: as many as there are registers for, but none alone at the end. */
static inline int sf_rows_together(ptrdiff_t left)
{
    return left >= 2 * SF_ROWS ? SF_ROWS : (int)(left > SF_ROWS ? (left + 1) / 2 : left);
}

/* y (rows, out) = addend + x (rows, in) weight (in, out). Rows of x, y and addend lie x_row, y_row and addend_row numbers
 * apart; addend NULL is 0. y overlaps nothing but, element by element, the addend. */
SF_MAYBE_UNUSED SF_NOINLINE static void sf_linear(real *y, ptrdiff_t y_row, const real *x, ptrdiff_t x_row,
                                                  const real *weight, const real *addend, ptrdiff_t addend_row,
                                                  ptrdiff_t rows, ptrdiff_t in, ptrdiff_t out)
{
    ptrdiff_t column = 0;
    /* A fourth panel may be partly filled, so three and a bit count as four. */
    for (; out - column > 3 * SF_BLOCK; column += 4 * SF_BLOCK) {
        const real *w = weight + column * in, *add = addend ? addend + column : 0;
        const ptrdiff_t width = out - column;
        if (rows == 1)
            sf_row_by_four(y + column, x, w, add, in, width);
        else
            for (ptrdiff_t p = 0; p < 4 * SF_BLOCK; p += SF_BLOCK)
                for (ptrdiff_t r = 0, count; r < rows; r += count) {
                    count = sf_rows_together(rows - r);
                    sf_rows_by_panel((int)count, y + r * y_row + column + p, y_row, x + r * x_row, x_row, w + p * in,
                                     add ? add + r * addend_row + p : 0, addend_row, in, width - p, 0);
                }
    }
    for (; column < out; column += SF_BLOCK) {
        const real *w = weight + column * in, *add = addend ? addend + column : 0;
        const ptrdiff_t width = out - column, quarter = in >= SF_QUARTERED ? in / 4 : 0;
        if (rows == 1 && quarter) {
            sf_row_quartered(y + column, x, w, add, in, width);
            continue;
        }
        for (ptrdiff_t r = 0, count; r < rows; r += count) {
            count = sf_rows_together(rows - r);
            sf_rows_by_panel((int)count, y + r * y_row + column, y_row, x + r * x_row, x_row, w,
                             add ? add + r * addend_row : 0, addend_row, in, width, quarter);
        }
    }
}

/* Adds the products of some inputs, as listed; `count` rows, `panels` panels, numbers known to the compiler. The first time
 * there is nothing in y yet. */
static SF_ALWAYS_INLINE void sf_add_listed(const int count, const int panels, real *y, ptrdiff_t y_row, const real *x,
                                           ptrdiff_t x_row, const real *restrict weight, ptrdiff_t in, ptrdiff_t width,
                                           const ptrdiff_t *list, ptrdiff_t listed, int is_first)
{
    sf_block sum[SF_ROWS > 4 ? SF_ROWS : 4];
    for (int r = 0; r < count; r++)
        for (int p = 0; p < panels; p++)
            sf_load_some(&sum[r * panels + p], is_first ? 0 : y + r * y_row + p * SF_BLOCK, width - p * SF_BLOCK);
    for (ptrdiff_t k = 0; k < listed; k++)
        for (int p = 0; p < panels; p++) {
            const sf_block w = SF_LOAD(weight + (p * in + list[k]) * SF_BLOCK);
            for (int r = 0; r < count; r++)
                SF_ADD_PRODUCT(sum[r * panels + p], x[r * x_row + list[k]], w);
        }
    for (int r = 0; r < count; r++)
        for (int p = 0; p < panels; p++)
            sf_store_some(y + r * y_row + p * SF_BLOCK, &sum[r * panels + p], width - p * SF_BLOCK);
}

/* y (rows, out) = x (rows, in) weight (in, out) where x is mostly zeros, as directions are: inputs that are zero in all rows
 * that go together are left out. Sums run from first to last input, so a row has equal bits in every batch. */
SF_MAYBE_UNUSED SF_NOINLINE static void sf_linear_sparse(real *y, ptrdiff_t y_row, const real *x, ptrdiff_t x_row,
                                                         const real *weight, ptrdiff_t rows, ptrdiff_t in, ptrdiff_t out)
{
    enum { LISTED = 256 };
    ptrdiff_t list[LISTED];
    int32_t moves[LISTED];
    for (ptrdiff_t r = 0, count; r < rows; r += count) {
        count = sf_rows_together(rows - r);
        const real *xr = x + r * x_row;
        real *yr = y + r * y_row;
        for (ptrdiff_t start = 0; start < in; start += LISTED) {
            const ptrdiff_t length = in - start < LISTED ? in - start : LISTED;
            ptrdiff_t listed = 0;
            for (ptrdiff_t i = 0; i < length; i++)
                moves[i] = xr[start + i] != 0;
            for (ptrdiff_t k = 1; k < count; k++)
                for (ptrdiff_t i = 0; i < length; i++)
                    moves[i] |= xr[k * x_row + start + i] != 0;
            for (ptrdiff_t i = 0; i < length; i++) {
                list[listed] = start + i;
                listed += moves[i];
            }
            if (!listed && start)
                continue;
            ptrdiff_t column = 0;
            for (; count == 1 && out - column > 3 * SF_BLOCK; column += 4 * SF_BLOCK)
                sf_add_listed(1, 4, yr + column, y_row, xr, x_row, weight + column * in, in, out - column, list, listed, !start);
            for (; column < out; column += SF_BLOCK)
                switch (count) {
#define SF_CASE(n)                                                                                                          \
    case n:                                                                                                                 \
        sf_add_listed(n, 1, yr + column, y_row, xr, x_row, weight + column * in, in, out - column, list, listed, !start);    \
        break
                    SF_CASE(1);
                    SF_CASE(2);
#if SF_ROWS > 2
                    SF_CASE(3);
                    SF_CASE(4);
                    SF_CASE(5);
                    SF_CASE(6);
#endif
#undef SF_CASE
                }
        }
    }
}

/* x (rows, in) = addend + y (rows, out) times the transpose of the same weight. */
SF_MAYBE_UNUSED SF_NOINLINE static void sf_linear_transposed(real *x, ptrdiff_t x_row, const real *y, ptrdiff_t y_row,
                                                 const real *weight, const real *addend, ptrdiff_t addend_row, ptrdiff_t rows,
                                                 ptrdiff_t in, ptrdiff_t out)
{
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t i = 0; i < in; i++) {
            sf_block sum, some;
            sf_load_some(&sum, 0, 0);
            real part[SF_BLOCK], total = addend ? addend[r * addend_row + i] : (real)0;
            for (ptrdiff_t column = 0; column < out; column += SF_BLOCK) {
                const real *w = weight + column * in + i * SF_BLOCK;
                sf_load_some(&some, y + r * y_row + column, out - column);
#ifdef SF_VECTORS
                sum += some * SF_LOAD(w);
#else
                for (int j = 0; j < SF_BLOCK; j++)
                    sum.value[j] += some.value[j] * w[j];
#endif
            }
            SF_STORE(part, sum);
            for (int half = SF_BLOCK / 2; half; half /= 2)
                for (int j = 0; j < half; j++)
                    part[j] += part[j + half];
            x[r * x_row + i] = total + part[0];
        }
}

/* Reductions of n numbers, `step` apart; sums in eight parts, which are vector lanes where step is 1. */
SF_MAYBE_UNUSED static inline real sf_sum(const real *x, ptrdiff_t n, ptrdiff_t step)
{
    real part[8] = {0};
    ptrdiff_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            part[j] += x[(i + j) * step];
    for (int j = 0; i + j < n; j++)
        part[j] += x[(i + j) * step];
    for (int half = 4; half; half /= 2)
        for (int j = 0; j < half; j++)
            part[j] += part[j + half];
    return part[0];
}

SF_MAYBE_UNUSED static inline real sf_max(const real *x, ptrdiff_t n, ptrdiff_t step)
{
    real best = x[0];
    for (ptrdiff_t i = 1; i < n; i++)
        best = sf_maximum(best, x[i * step]);
    return best;
}

SF_MAYBE_UNUSED static inline real sf_min(const real *x, ptrdiff_t n, ptrdiff_t step)
{
    real best = x[0];
    for (ptrdiff_t i = 1; i < n; i++)
        best = sf_minimum(best, x[i * step]);
    return best;
}

/* The row of a table that a number names; what is no row takes the nearest, what is no number the first. */
SF_MAYBE_UNUSED static inline ptrdiff_t sf_table_row(real index, ptrdiff_t count)
{
    return index >= (real)count ? count - 1 : (index > 0 ? (ptrdiff_t)index : 0);
}

#endif
