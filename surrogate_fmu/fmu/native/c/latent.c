/* Philox4x64-10 (Salmon et al., SC'11) and Wichura's inverse normal distribution function (AS 241, PPND16, 1988).
 *
 * Only + - * / and sqrt are used, and a logarithm made of them, each rounded as IEEE 754 says; so this file must be compiled
 * without contraction to fused operations (-ffp-contract=off, and the pragma below for who compiles it by hand).
 */
#include "latent.h"

#include <math.h>
#include <string.h>

#if defined(__clang__) || (defined(__STDC_VERSION__) && !defined(__GNUC__) && !defined(_MSC_VER))
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

enum { ROUNDS = 10, LANES = 4 };

static uint64_t multiply(uint64_t a, uint64_t b, uint64_t *high)
{
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 wide;
    const wide product = (wide)a * b;
    *high = (uint64_t)(product >> 64);
    return (uint64_t)product;
#else
    const uint64_t low_mask = 0xFFFFFFFFu;
    const uint64_t a0 = a & low_mask, a1 = a >> 32, b0 = b & low_mask, b1 = b >> 32;
    const uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    const uint64_t other = a0 * b1 + (middle & low_mask);
    *high = a1 * b1 + (middle >> 32) + (other >> 32);
    return a * b;
#endif
}

static void philox(uint64_t counter, uint64_t key0, uint64_t key1, uint64_t words[LANES])
{
    uint64_t lane0 = counter, lane1 = 0, lane2 = 0, lane3 = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t high0, high1;
        const uint64_t low0 = multiply(UINT64_C(0xD2E7470EE14C6C93), lane0, &high0);
        const uint64_t low1 = multiply(UINT64_C(0xCA5A826395121157), lane2, &high1);
        lane0 = high1 ^ lane1 ^ key0;
        lane1 = low1;
        lane2 = high0 ^ lane3 ^ key1;
        lane3 = low0;
        key0 += UINT64_C(0x9E3779B97F4A7C15);
        key1 += UINT64_C(0xBB67AE8584CAA73B);
    }
    words[0] = lane0;
    words[1] = lane1;
    words[2] = lane2;
    words[3] = lane3;
}

/* Numerators and denominators of AS 241, PPND16, highest power first. */
static const double CENTRE[2][8] = {
    {2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
     1971.5909503065514427, 133.14166789178437745, 3.387132872796366608},
    {5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077,
     687.1870074920579083, 42.313330701600911252, 1.0},
};
static const double MIDDLE[2][8] = {
    {7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734},
    {1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0},
};
static const double TAIL[2][8] = {
    {2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772},
    {2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0},
};

static double ratio(const double coefficients[2][8], double x)
{
    double top = coefficients[0][0], bottom = coefficients[1][0];
    for (int i = 1; i < 8; i++) {
        top = top * x + coefficients[0][i];
        bottom = bottom * x + coefficients[1][i];
    }
    return top / bottom;
}

/* log(m 2^e) = e ln 2 + 2 artanh((m - 1) / (m + 1)), for normal numbers. */
static double logarithm(double x)
{
    static const double terms[10] = {1.0 / 19.0, 1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0,
                                     1.0 / 9.0,  1.0 / 7.0,  1.0 / 5.0,  1.0 / 3.0,  1.0};
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52 & 0x7FF) - 1022;
    bits = (bits & UINT64_C(0x800FFFFFFFFFFFFF)) | UINT64_C(0x3FE0000000000000);
    double mantissa;
    memcpy(&mantissa, &bits, sizeof mantissa);
    if (mantissa < 0.7071067811865476) {
        mantissa *= 2.0;
        exponent -= 1;
    }
    const double s = (mantissa - 1.0) / (mantissa + 1.0), square = s * s;
    double series = 1.0 / 21.0;
    for (int i = 0; i < 10; i++)
        series = series * square + terms[i];
    return (double)exponent * 0.6931471805599453 + 2.0 * s * series;
}

static float tail_normal(double p, double q)
{
    const double tail = p < 1.0 - p ? p : 1.0 - p;
    const double r = sqrt(-logarithm(tail));
    const double outer = r <= 5.0 ? ratio(MIDDLE, r - 1.6) : ratio(TAIL, r - 5.0);
    return (float)(q < 0.0 ? -outer : outer);
}

void sf_normals_from_words(const uint64_t *words, int32_t count, float *normals)
{
    /* Most words lie in the centre: all go through its polynomials side by side, and the others once more. */
    double p[SF_NORMALS_MOST], q[SF_NORMALS_MOST], r[SF_NORMALS_MOST], top[SF_NORMALS_MOST], bottom[SF_NORMALS_MOST];
    const double largest = 1.0 - 0x1p-53; /* the largest word would round up to 1, whose normal is infinite */
    for (int32_t i = 0; i < count; i++) {
        const double rounded = ((double)(int64_t)(words[i] >> 11) + 0.5) * 0x1p-53;
        p[i] = rounded < largest ? rounded : largest;
    }
    for (int32_t i = 0; i < count; i++) {
        q[i] = p[i] - 0.5;
        r[i] = 0.180625 - q[i] * q[i];
        top[i] = CENTRE[0][0];
        bottom[i] = CENTRE[1][0];
        for (int k = 1; k < 8; k++) {
            top[i] = top[i] * r[i] + CENTRE[0][k];
            bottom[i] = bottom[i] * r[i] + CENTRE[1][k];
        }
        normals[i] = (float)(q[i] * (top[i] / bottom[i]));
    }
    for (int32_t i = 0; i < count; i++)
        if (!(fabs(q[i]) <= 0.425))
            normals[i] = tail_normal(p[i], q[i]);
}

void sf_words(int64_t seed, enum sf_stream stream, uint64_t first_word, int32_t count, uint64_t *words)
{
    uint64_t block[LANES];
    for (int32_t i = 0; i < count; i++) {
        const uint64_t word = first_word + (uint64_t)i;
        const int lane = (int)(word % LANES);
        if (i == 0 || lane == 0)
            philox(1 + word / LANES, (uint64_t)seed, (uint64_t)stream, block);
        words[i] = block[lane];
    }
}
