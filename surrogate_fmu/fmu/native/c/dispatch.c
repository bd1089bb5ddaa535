/* The kernels for this processor. __builtin_cpu_supports is not used: with zig cc it always answers no. */
#include "session.h"

/* For whoever wants to know which kernels a processor gets; no part of FMI. */
#if defined(_WIN32)
__declspec(dllexport)
#elif defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const char *surrogate_fmu_kernels(void);

const char *surrogate_fmu_kernels(void)
{
    const char *kernels;
    sf_choose_model(&kernels);
    return kernels;
}

#ifdef SF_DISPATCH
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif

const sf_model *sf_model_v3(void);
const sf_model *sf_model_baseline(void);

/* Bits of the x86-64-v3 level that the compiler may use, from the processor's own answers (Intel SDM volume 2, CPUID). */
enum {
    LEAF1_ECX = 1 << 12 /* fma */ | 1 << 13 /* cmpxchg16b */ | 1 << 19 /* sse4.1 */ | 1 << 20 /* sse4.2 */ | 1 << 22 /* movbe */ |
                1 << 23 /* popcnt */ | 1 << 27 /* osxsave */ | 1 << 28 /* avx */ | 1 << 29 /* f16c */,
    LEAF7_EBX = 1 << 3 /* bmi1 */ | 1 << 5 /* avx2 */ | 1 << 8 /* bmi2 */,
    EXTENDED1_ECX = 1 << 5, /* lzcnt */
    YMM_STATE = 6,
};

static void ask(unsigned leaf, unsigned registers[4])
{
#if defined(_MSC_VER)
    __cpuidex((int *)registers, (int)leaf, 0);
#else
    __cpuid_count(leaf, 0, registers[0], registers[1], registers[2], registers[3]);
#endif
}

static unsigned enabled_state(void)
{
#if defined(_MSC_VER)
    return (unsigned)_xgetbv(0);
#else
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

static bool has_v3(void)
{
    unsigned r[4];
    ask(0, r);
    if (r[0] < 7)
        return false;
    ask(1, r);
    if ((r[2] & LEAF1_ECX) != LEAF1_ECX || (enabled_state() & YMM_STATE) != YMM_STATE)
        return false;
    ask(7, r);
    if ((r[1] & LEAF7_EBX) != LEAF7_EBX)
        return false;
    ask(0x80000000u, r);
    if (r[0] < 0x80000001u)
        return false;
    ask(0x80000001u, r);
    return (r[2] & EXTENDED1_ECX) == EXTENDED1_ECX;
}

const sf_model *sf_choose_model(const char **kernels)
{
    const bool v3 = has_v3();
    *kernels = v3 ? "x86_64_v3" : "x86_64";
    return v3 ? sf_model_v3() : sf_model_baseline();
}
#else
const sf_model *sf_choose_model(const char **kernels)
{
    *kernels = "generic";
    return sf_model_generic();
}
#endif
