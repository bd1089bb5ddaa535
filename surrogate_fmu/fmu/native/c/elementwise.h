/* Elementwise functions of a lowered model.
 *
 * In float32 they are written out from +, -, *, / and sqrt, which IEEE 754 rounds exactly, and selections: compiled without
 * contraction and without fast-math they give equal bits on every machine, and loops over them become vector code. In
 * float64 they are those of libm.
 *
 * Largest errors in float32 against the exact function over all finite arguments (tests/fmu/native/test_functions.py):
 *
 *     exp      2 ulp          expm1    6 ulp         log, log1p   2 ulp, 3 ulp
 *     tanh     5e-7           sigmoid, softplus 4 ulp for x > -87, below that 2e-38
 *     sin, cos 1.5e-7 for |x| < 8e8                  erf          5e-7
 *
 * Only pow is libm's, whose last bit may differ from one system to another; whole powers up to 4 do not use it.
 */
#ifndef SF_ELEMENTWISE_H
#define SF_ELEMENTWISE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "model.h"

/* A generated model uses some of these only. */
#if defined(__GNUC__)
#define SF_MAYBE_UNUSED __attribute__((unused))
#define SF_NOINLINE __attribute__((noinline))
#define SF_ALWAYS_INLINE __attribute__((always_inline)) inline
#else
#define SF_MAYBE_UNUSED
#define SF_NOINLINE
#define SF_ALWAYS_INLINE inline
#endif
#define SF_FUNCTION SF_MAYBE_UNUSED static inline real

SF_FUNCTION sf_maximum(real a, real b) { return a < b ? b : a; }
SF_FUNCTION sf_minimum(real a, real b) { return b < a ? b : a; }
SF_FUNCTION sf_sign(real x) { return (real)((x > 0) - (x < 0)); }

#ifdef SF_FLOAT64

SF_FUNCTION sf_abs(real x) { return fabs(x); }
SF_FUNCTION sf_sqrt(real x) { return sqrt(x); }
SF_FUNCTION sf_floor(real x) { return floor(x); }
SF_FUNCTION sf_ceil(real x) { return ceil(x); }
SF_FUNCTION sf_trunc(real x) { return trunc(x); }
SF_FUNCTION sf_round(real x) { return rint(x); }
SF_FUNCTION sf_exp(real x) { return exp(x); }
SF_FUNCTION sf_expm1(real x) { return expm1(x); }
SF_FUNCTION sf_log(real x) { return log(x); }
SF_FUNCTION sf_log1p(real x) { return log1p(x); }
SF_FUNCTION sf_tanh(real x) { return tanh(x); }
SF_FUNCTION sf_sigmoid(real x) { return 1.0 / (1.0 + exp(-x)); }
SF_FUNCTION sf_softplus(real x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
SF_FUNCTION sf_erf(real x) { return erf(x); }
SF_FUNCTION sf_sin(real x) { return sin(x); }
SF_FUNCTION sf_cos(real x) { return cos(x); }
SF_FUNCTION sf_pow(real x, real y) { return pow(x, y); }

#else

static inline float sf_from_bits(int32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int32_t sf_to_bits(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

SF_FUNCTION sf_abs(real x) { return fabsf(x); }
SF_FUNCTION sf_sqrt(real x) { return sqrtf(x); }
SF_FUNCTION sf_floor(real x) { return floorf(x); }
SF_FUNCTION sf_ceil(real x) { return ceilf(x); }
SF_FUNCTION sf_trunc(real x) { return truncf(x); }

/* To the nearest whole number, ties to even: adding 2^23 leaves no bits for a fraction. */
SF_FUNCTION sf_round(real x)
{
    const float magic = 8388608.0f, size = fabsf(x);
    return size < magic ? copysignf((size + magic) - magic, x) : x;
}

/* e^x = 2^n e^r with |r| <= ln(2) / 2; Cephes' expf (S. L. Moshier). 2^n in two factors reaches denormals and infinity. */
SF_FUNCTION sf_exp(real x)
{
    const float magic = 12582912.0f;
    const float bounded = x < -104.0f ? -104.0f : (x > 89.0f ? 89.0f : x);
    const float n = (bounded * 1.44269504088896341f + magic) - magic;
    const float r = (bounded - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * (r * r) + r) + 1.0f;
    /* Not a number must not reach the conversion, whose result would be undefined. */
    const int32_t whole = (int32_t)(x == x ? n : 0.0f), half = whole / 2;
    const float result = (p * sf_from_bits((half + 127) * 8388608)) * sf_from_bits((whole - half + 127) * 8388608);
    return x == x ? result : x;
}

/* x = 2^n m with sqrt(1/2) <= m < sqrt(2); Cephes' logf (S. L. Moshier). */
SF_FUNCTION sf_log(real x)
{
    const int is_small = x < 1.17549435e-38f;
    const float scaled = is_small ? x * 8388608.0f : x;
    const uint32_t bits = (uint32_t)sf_to_bits(scaled);
    /* 0x3f3504f3 are the bits of sqrt(1/2). */
    const int32_t exponent = (int32_t)(bits - 0x3f3504f3u) >> 23;
    const float m = sf_from_bits((int32_t)(bits - ((uint32_t)exponent << 23))) - 1.0f;
    const float n = (float)exponent - (is_small ? 23.0f : 0.0f);
    const float m2 = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * m2 + n * -2.12194440e-4f - 0.5f * m2;
    const float result = (m + p) + n * 0.693359375f;
    const float infinity = sf_from_bits(0x7f800000);
    return x > 0.0f ? (x < infinity ? result : infinity) : (x == 0.0f ? -infinity : sf_from_bits(0x7fc00000));
}

/* log(w) with w = 1 + x rounded, and what the rounding took (W. Kahan). */
SF_FUNCTION sf_log1p(real x)
{
    const float w = 1.0f + x;
    const float result = sf_log(w) + (x - (w - 1.0f)) / w;
    return sf_abs(x) < 3.0e38f && w > 0.0f ? result : sf_log(w);
}

/* A rational function of degree 13 / 6 (Eigen's generic_fast_tanh_float, divided by its constant term so that small numbers
 * come out as they are), clamped where tanh rounds to 1. */
SF_FUNCTION sf_tanh(real x)
{
    const float limit = 7.90531110763549805f;
    const float c = x < -limit ? -limit : (x > limit ? limit : x);
    const float c2 = c * c;
    float p = -5.64167624e-14f;
    p = p * c2 + 4.08741721e-11f;
    p = p * c2 + -1.75837892e-08f;
    p = p * c2 + 1.04674992e-05f;
    p = p * c2 + 3.03609832e-03f;
    p = p * c2 + 1.30225534e-01f;
    p = p * c2 + 1.0f;
    float q = 2.44866093e-04f;
    q = q * c2 + 2.42227640e-02f;
    q = q * c2 + 4.63558385e-01f;
    q = q * c2 + 1.0f;
    return c * p / q;
}

/* From tanh, which keeps small numbers: e^x - 1 = 2 t / (1 - t), t = tanh(x / 2); far from 0 nothing cancels. */
SF_FUNCTION sf_expm1(real x)
{
    const float t = sf_tanh(0.5f * x);
    return sf_abs(x) < 0.5f ? 2.0f * t / (1.0f - t) : sf_exp(x) - 1.0f;
}

SF_FUNCTION sf_sigmoid(real x) { return 1.0f / (1.0f + sf_exp(-x)); }

/* log(1 + e^x) without overflow. */
SF_FUNCTION sf_softplus(real x) { return (x > 0.0f ? x : 0.0f) + sf_log1p(sf_exp(-sf_abs(x))); }

/* A rational function of degree 13 / 8 (XLA's ErfImpl32). */
SF_FUNCTION sf_erf(real x)
{
    const float c = x < -4.0f ? -4.0f : (x > 4.0f ? 4.0f : x);
    const float c2 = c * c;
    float p = -2.72614225801306e-10f;
    p = p * c2 + 2.77068142495902e-08f;
    p = p * c2 + -2.10102402082508e-06f;
    p = p * c2 + -5.69250639462346e-05f;
    p = p * c2 + -7.34990630326855e-04f;
    p = p * c2 + -2.95459980854025e-03f;
    p = p * c2 + -1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * c2 + -2.13374055278905e-04f;
    q = q * c2 + -1.68282697438203e-03f;
    q = q * c2 + -7.37332916720468e-03f;
    q = q * c2 + -1.42647390514189e-02f;
    return c * p / q;
}

/* sin(x + quarters * pi / 2). The reduction is in double with pi / 2 in three parts of which two have 24 bits, so that
 * products with the number of quarter turns are exact; polynomials are Cephes' (S. L. Moshier). */
static inline float sf_sine(float x, int32_t quarters)
{
    const double magic = 6755399441055744.0, limit = 8.0e8;
    const double bounded = x < -limit ? -limit : (x > limit ? limit : x);
    const double turns = (bounded * 0.63661977236758134308 + magic) - magic;
    const double rest = ((bounded - turns * 1.570796251296997) - turns * 7.549789415861596e-08)
                        - turns * 5.390302858158119e-15;
    const float r = (float)rest, r2 = r * r;
    const float sine = ((-1.9515295891e-4f * r2 + 8.3321608736e-3f) * r2 - 1.6666654611e-1f) * r2 * r + r;
    const float cosine = ((2.443315711809948e-5f * r2 - 1.388731625493765e-3f) * r2 + 4.166664568298827e-2f) * r2 * r2
                         - 0.5f * r2 + 1.0f;
    const int32_t quadrant = (int32_t)turns + quarters;
    const float value = (quadrant & 1) ? cosine : sine;
    return (quadrant & 2) ? -value : value;
}

SF_FUNCTION sf_sin(real x) { return sf_sine(x == x ? x : 0.0f, 0) + (x - x); }
SF_FUNCTION sf_cos(real x) { return sf_sine(x == x ? x : 0.0f, 1) + (x - x); }
SF_FUNCTION sf_pow(real x, real y) { return powf(x, y); }

#endif

#endif
