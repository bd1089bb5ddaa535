/* The FMI 2.0 names that fuzz.c calls, over FMI 3.0; counts of values are sometimes wrong, within what the arrays have. */
#ifndef FMI2_OVER_FMI3_H
#define FMI2_OVER_FMI3_H

#include <stdbool.h>
#include <stdint.h>

#include "fmi3Functions.h"

typedef fmi3Instance fmi2Component;
typedef fmi3FMUState fmi2FMUstate;
typedef fmi3ValueReference fmi2ValueReference;
typedef double fmi2Real;
typedef int fmi2Integer, fmi2Boolean;
typedef const char *fmi2String;
typedef fmi3Status fmi2Status;
typedef int fmi2CallbackFunctions;
enum { fmi2OK = fmi3OK, fmi2CoSimulation = 1, fmi2ModelExchange = 0, fmi2LastSuccessfulTime = 2 };

static uint32_t roll(uint32_t sides);
static void count_message(void *environment, fmi3Status status, fmi3String category, fmi3String text);

/* How many values are said to be there; the arrays of fuzz.c have eight. */
static size_t told(size_t count)
{
    return roll(4) ? count : roll(9);
}

static fmi2Component fmi2Instantiate(fmi2String name, int type, fmi2String token, fmi2String resources,
                                     const fmi2CallbackFunctions *functions, int visible, int logging)
{
    if (type == fmi2ModelExchange)
        return fmi3InstantiateModelExchange(name, token, resources, visible, logging, NULL, functions ? count_message : NULL);
    return fmi3InstantiateCoSimulation(name, token, resources, visible, logging, !roll(20), roll(2), NULL, roll(20) ? 0 : 1, NULL,
                                       functions ? count_message : NULL, NULL);
}

static fmi2Status fmi2SetupExperiment(fmi2Component c, int a, double b, double start, int d, double e)
{
    (void)a, (void)b, (void)d, (void)e;
    return fmi3EnterInitializationMode(c, false, 0.0, start, false, 0.0);
}

static fmi2Status fmi2DoStep(fmi2Component c, double time, double size, int no_set_state)
{
    bool event, terminate, early;
    double last;
    return fmi3DoStep(c, time, size, no_set_state, &event, &terminate, &early, roll(50) ? &last : NULL);
}

static fmi2Status fmi2GetReal(fmi2Component c, const fmi2ValueReference *r, size_t n, double *v)
{
    return fmi3GetFloat64(c, r, n, v, told(n));
}

static fmi2Status fmi2SetReal(fmi2Component c, const fmi2ValueReference *r, size_t n, const double *v)
{
    return fmi3SetFloat64(c, r, n, v, told(n));
}

/* The master's clock: the last variable of the FMU. */
static fmi2Status fmi2GetRealStatus(fmi2Component c, int kind, double *time)
{
    (void)kind;
    for (int32_t i = 0; i < sf_surrogate_data.variable_count; i++)
        if (sf_surrogate_data.variables[i].role == SF_TIME)
            return fmi3GetFloat64(c, &sf_surrogate_data.variables[i].reference, 1, time, 1);
    return fmi3Error;
}

static fmi2Status fmi2GetInteger(fmi2Component c, const fmi2ValueReference *r, size_t n, int *v)
{
    int64_t wide[8];
    (void)v;
    return fmi3GetInt64(c, r, n, wide, told(n));
}

static fmi2Status fmi2SetInteger(fmi2Component c, const fmi2ValueReference *r, size_t n, const int *v)
{
    int64_t wide[8];
    for (int i = 0; i < 8; i++)
        wide[i] = roll(3) ? v[i] : (int64_t)v[i] * INT64_C(4294967291);
    return fmi3SetInt64(c, r, n, wide, told(n));
}

static fmi2Status fmi2GetBoolean(fmi2Component c, const fmi2ValueReference *r, size_t n, int *v)
{
    bool narrow[8];
    (void)v;
    return fmi3GetBoolean(c, r, n, narrow, told(n));
}

static fmi2Status fmi2SetBoolean(fmi2Component c, const fmi2ValueReference *r, size_t n, const int *v)
{
    const bool narrow[8] = {v[0] != 0};
    return fmi3SetBoolean(c, r, n, narrow, told(n));
}

static fmi2Status fmi2GetString(fmi2Component c, const fmi2ValueReference *r, size_t n, fmi2String *v)
{
    return fmi3GetString(c, r, n, v, told(n));
}

static fmi2Status fmi2SetString(fmi2Component c, const fmi2ValueReference *r, size_t n, const fmi2String *v)
{
    return fmi3SetString(c, r, n, v, told(n));
}

static fmi2Status fmi2GetDirectionalDerivative(fmi2Component c, const fmi2ValueReference *u, size_t nu, const fmi2ValueReference *k,
                                               size_t nk, const double *seed, double *sensitivity)
{
    return roll(2) ? fmi3GetDirectionalDerivative(c, u, nu, k, nk, seed, told(nk), sensitivity, told(nu))
                   : fmi3GetAdjointDerivative(c, u, nu, k, nk, seed, told(nu), sensitivity, told(nk));
}

static fmi2Status fmi2SerializeFMUstate(fmi2Component c, fmi2FMUstate state, char *bytes, size_t size)
{
    return fmi3SerializeFMUState(c, state, (unsigned char *)bytes, size);
}

static fmi2Status fmi2DeSerializeFMUstate(fmi2Component c, const char *bytes, size_t size, fmi2FMUstate *state)
{
    return fmi3DeserializeFMUState(c, (const unsigned char *)bytes, size, state);
}

static fmi2Status fmi2SetDebugLogging(fmi2Component c, int on, size_t n, const fmi2String *categories)
{
    return fmi3SetDebugLogging(c, on, n, categories);
}

static fmi2Status fmi2CancelStep(fmi2Component c)
{
    return roll(2) ? fmi3EnterEventMode(c) : fmi3GetContinuousStates(c, NULL, 0);
}

/* fmi2SetupExperiment has entered it. */
static fmi2Status fmi2EnterInitializationMode(fmi2Component c)
{
    return fmi3EnterConfigurationMode(c);
}

#define fmi2ExitInitializationMode fmi3ExitInitializationMode
#define fmi2FreeInstance fmi3FreeInstance
#define fmi2Terminate fmi3Terminate
#define fmi2Reset fmi3Reset
#define fmi2GetFMUstate fmi3GetFMUState
#define fmi2SetFMUstate fmi3SetFMUState
#define fmi2FreeFMUstate fmi3FreeFMUState
#define fmi2SerializedFMUstateSize fmi3SerializedFMUStateSize

#endif
