/* The network of a surrogate as the C session sees it; the only thing that lowered code and session share.
 *
 * A lowered model is one or more .c files that define `const sf_model *SF_MODEL_ENTRY(void)`. They are compiled once per
 * instruction set with -DSF_MODEL_ENTRY=sf_model_v3 (x86-64 with AVX2 and FMA), sf_model_baseline (any x86-64) or
 * sf_model_generic (every other machine, and whoever compiles the sources of an FMU), and linked into one library. So
 * everything else in them is static. Weights are not in these files: each entry `name -> bytes` of the generated weights
 * becomes one object `const real name[]` (64-byte aligned, little endian, hidden), linked once, which the lowered code
 * declares as `extern const real name[];`.
 *
 * Nothing here allocates, keeps state, or looks at anything but its arguments.
 */
#ifndef SF_MODEL_H
#define SF_MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef SF_FLOAT64
typedef double real;
#else
typedef float real;
#endif

#ifndef SF_MODEL_ENTRY
#define SF_MODEL_ENTRY sf_model_generic
#endif

#define SF_ALIGNMENT 64

/* All arrays are row-major (rows, dim), x and y in physical units; z = (run latents, step latents). Arrays with a dim of 0
 * may be NULL. No output overlaps an input. `work` has work_size(rows) bytes, aligned to SF_ALIGNMENT.
 */
typedef struct sf_model {
    int32_t condition_dim, run_latent_dim, step_latent_dim, hidden_dim, output_dim;
    int32_t step_point_dim, initial_point_dim;

    /* Bytes of work space for any function below with this many rows or tangents. */
    size_t (*work_size)(int32_t rows);

    /* x (batch, condition_dim), z (batch, latent_dim) -> y (batch, output_dim), h (batch, hidden_dim) */
    void (*initial)(const real *x, const real *z, real *y, real *h, void *work, int32_t batch);

    /* x, z, h (batch, hidden_dim) -> y, h_next */
    void (*step)(const real *x, const real *z, const real *h, real *y, real *h_next, void *work, int32_t batch);

    /* The same, bit by bit, and the points of step_point below at little more than a step's price. */
    void (*step_with_point)(const real *x, const real *z, const real *h, real *y, real *h_next, real *point, void *work,
                            int32_t batch);

    /* Forward mode in two parts. What tangents meet at x, z, h -> point (batch, step_point_dim); and at one such point,
     * `count` tangents dx (count, condition_dim), dh (count, hidden_dim; NULL is 0) -> dy (count, output_dim),
     * dh_next (count, hidden_dim). A tangent has equal bits among others and alone. */
    void (*step_point)(const real *x, const real *z, const real *h, real *point, void *work, int32_t batch);
    void (*step_tangent)(const real *point, const real *dx, const real *dh, real *dy, real *dh_next, void *work,
                         int32_t count);

    /* Reverse mode at one row: `count` cotangents dy (count, output_dim), dh_next (count, hidden_dim; NULL is 0)
     * -> dx (count, condition_dim), dh (count, hidden_dim). */
    void (*step_adjoint)(const real *x, const real *z, const real *h, const real *dy, const real *dh_next, real *dx,
                         real *dh, void *work, int32_t count);

    /* The same for `initial`, which has no hidden state before it. */
    void (*initial_point)(const real *x, const real *z, real *point, void *work, int32_t batch);
    void (*initial_tangent)(const real *point, const real *dx, real *dy, real *dh, void *work, int32_t count);
    void (*initial_adjoint)(const real *x, const real *z, const real *dy, const real *dh, real *dx, void *work,
                            int32_t count);
} sf_model;

const sf_model *SF_MODEL_ENTRY(void);

#endif
