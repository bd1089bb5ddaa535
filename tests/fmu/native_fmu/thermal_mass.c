/* The thermal mass of tests/toy.py as lowered code would be, written by hand: what is tested with it is the session alone. */
#include <math.h>

#include "model.h"

enum { X = 3, Z = 3, H = 2, Y = 2 };

static size_t work_size(int32_t rows)
{
    return (size_t)rows * SF_ALIGNMENT;
}

static void initial(const real *x, const real *z, real *y, real *h, void *work, int32_t batch)
{
    (void)work;
    for (int32_t b = 0; b < batch; b++, x += X, z += Z, y += Y, h += H) {
        y[0] = h[0] = x[2];
        y[1] = h[1] = (real)exp(0.2 * (double)z[0]) * (x[2] - x[1]);
    }
}

static void step(const real *x, const real *z, const real *h, real *y, real *h_next, void *work, int32_t batch)
{
    (void)work;
    for (int32_t b = 0; b < batch; b++, x += X, z += Z, h += H, y += Y, h_next += H) {
        real flow = (real)exp(0.2 * (double)z[0]) * (h[0] - x[1]) + (real)0.5 * z[1];
        flow = (real)0.5 * flow + (real)0.5 * h[1];
        y[0] = h_next[0] = h[0] + (real)0.05 * (x[0] - flow) + (real)0.01 * z[2];
        y[1] = h_next[1] = flow;
    }
}

static void step_point(const real *x, const real *z, const real *h, real *point, void *work, int32_t batch)
{
    (void)x, (void)h, (void)work;
    for (int32_t b = 0; b < batch; b++, z += Z)
        point[b] = (real)exp(0.2 * (double)z[0]);
}

static void step_with_point(const real *x, const real *z, const real *h, real *y, real *h_next, real *point, void *work,
                            int32_t batch)
{
    step(x, z, h, y, h_next, work, batch);
    step_point(x, z, h, point, work, batch);
}

static void step_tangent(const real *point, const real *dx, const real *dh, real *dy, real *dh_next, void *work, int32_t count)
{
    (void)work;
    const real gain = *point;
    for (int32_t t = 0; t < count; t++, dx += X, dy += Y, dh_next += H) {
        const real h0 = dh ? dh[H * t] : (real)0, h1 = dh ? dh[H * t + 1] : (real)0;
        const real flow = (real)0.5 * gain * (h0 - dx[1]) + (real)0.5 * h1;
        dy[0] = dh_next[0] = h0 + (real)0.05 * (dx[0] - flow);
        dy[1] = dh_next[1] = flow;
    }
}

static void step_adjoint(const real *x, const real *z, const real *h, const real *dy, const real *dh_next, real *dx, real *dh,
                         void *work, int32_t count)
{
    (void)x, (void)h, (void)work;
    const real gain = (real)exp(0.2 * (double)z[0]);
    for (int32_t t = 0; t < count; t++, dx += X, dy += Y, dh += H) {
        const real temperature = dy[0] + (dh_next ? dh_next[H * t] : (real)0);
        const real flow = dy[1] + (dh_next ? dh_next[H * t + 1] : (real)0) - (real)0.05 * temperature;
        dx[0] = (real)0.05 * temperature;
        dx[1] = (real)-0.5 * gain * flow;
        dx[2] = (real)0;
        dh[0] = temperature + (real)0.5 * gain * flow;
        dh[1] = (real)0.5 * flow;
    }
}

static void initial_point(const real *x, const real *z, real *point, void *work, int32_t batch)
{
    step_point(x, z, NULL, point, work, batch);
}

static void initial_tangent(const real *point, const real *dx, real *dy, real *dh, void *work, int32_t count)
{
    (void)work;
    const real gain = *point;
    for (int32_t t = 0; t < count; t++, dx += X, dy += Y, dh += H) {
        dy[0] = dh[0] = dx[2];
        dy[1] = dh[1] = gain * (dx[2] - dx[1]);
    }
}

static void initial_adjoint(const real *x, const real *z, const real *dy, const real *dh, real *dx, void *work, int32_t count)
{
    (void)x, (void)work;
    const real gain = (real)exp(0.2 * (double)z[0]);
    for (int32_t t = 0; t < count; t++, dx += X, dy += Y) {
        const real flow = dy[1] + (dh ? dh[H * t + 1] : (real)0);
        dx[0] = (real)0;
        dx[1] = -gain * flow;
        dx[2] = gain * flow + dy[0] + (dh ? dh[H * t] : (real)0);
    }
}

static const sf_model MODEL = {
    X, 1, 2, H, Y, 1, 1, work_size, initial, step, step_with_point, step_point, step_tangent, step_adjoint,
    initial_point, initial_tangent, initial_adjoint,
};

const sf_model *SF_MODEL_ENTRY(void)
{
    return &MODEL;
}
