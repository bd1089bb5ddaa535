/* A room under a two-point controller, for model exchange: one state, state events and a time event every 7 s. FMI is 2 or 3. */
#include <stddef.h>
#include <stdlib.h>

typedef struct {
    double time, temperature, values[6]; /* by value reference: temperature, ambient, power, tau, heating, ticks */
    double next;
    int continuous;
} Room;
#ifndef SLACK
#define SLACK 1e-9 /* by which a time event may come early; 0 of a tool that compares times as they are */
#endif
enum { TEMPERATURE, AMBIENT, POWER, TAU, HEATING, TICKS };

static Room *make(void) {
    Room *room = calloc(1, sizeof(Room));
    room->temperature = 18.0;
    room->values[AMBIENT] = 10.0;
    room->values[POWER] = 1.0;
    room->values[TAU] = 20.0;
    room->next = 7.0;
    return room;
}

static double slope(const Room *room) {
    return (room->values[AMBIENT] - room->temperature) / room->values[TAU] + room->values[POWER] * room->values[HEATING];
}

static double indicator(const Room *room) { return room->temperature - (room->values[HEATING] > 0.5 ? 21.0 : 19.0); }

static void take_events(Room *room) {
    if (room->values[HEATING] > 0.5 && room->temperature >= 21.0 - 1e-9) room->values[HEATING] = 0.0;
    else if (room->values[HEATING] < 0.5 && room->temperature <= 19.0 + 1e-9) room->values[HEATING] = 1.0;
    if (room->time >= room->next - SLACK) {
        room->values[TICKS] += 1.0;
        room->next += 7.0;
    }
}

/* Whether its discrete states never settle. */
static int restless(const Room *room) { return room->values[POWER] > 90.0; }

static void set(Room *room, const unsigned *refs, size_t count, const double *values) {
    for (size_t k = 0; k < count; ++k) room->values[refs[k]] = values[k];
}

static int get(Room *room, const unsigned *refs, size_t count, double *values) {
    room->values[TEMPERATURE] = room->temperature;
    for (size_t k = 0; k < count; ++k) values[k] = room->values[refs[k]];
    return room->values[TAU] > 0.0 ? 0 : 3; /* fmi2Error */
}

/* Functions that must be there, and that nobody calls. */
#define REFUSED(name) int name(void) { return 3; }

#if FMI == 2
REFUSED(fmi2GetTypesPlatform) REFUSED(fmi2GetVersion) REFUSED(fmi2SetDebugLogging) REFUSED(fmi2Reset)
REFUSED(fmi2GetInteger) REFUSED(fmi2SetInteger) REFUSED(fmi2GetBoolean) REFUSED(fmi2SetBoolean)
REFUSED(fmi2GetString) REFUSED(fmi2SetString) REFUSED(fmi2GetFMUstate) REFUSED(fmi2SetFMUstate) REFUSED(fmi2FreeFMUstate)
REFUSED(fmi2SerializedFMUstateSize) REFUSED(fmi2SerializeFMUstate) REFUSED(fmi2DeSerializeFMUstate)
REFUSED(fmi2GetDirectionalDerivative)
typedef struct { int more, ended, nominals, values, defined; double next; } EventInfo;
void *fmi2Instantiate(const char *n, int t, const char *g, const char *l, const void *f, int v, int d) { return t == 0 ? make() : NULL; }
void fmi2FreeInstance(void *c) { free(c); }
int fmi2SetupExperiment(void *c, int d, double o, double start, int s, double stop) { ((Room *)c)->time = start; return 0; }
int fmi2EnterInitializationMode(void *c) { return 0; }
int fmi2ExitInitializationMode(void *c) { return 0; }
int fmi2Terminate(void *c) { return 0; }
int fmi2SetReal(void *c, const unsigned *r, size_t n, const double *v) { set(c, r, n, v); return 0; }
int fmi2GetReal(void *c, const unsigned *r, size_t n, double *v) { return get(c, r, n, v); }
int fmi2EnterEventMode(void *c) { ((Room *)c)->continuous = 0; return 0; }
int fmi2EnterContinuousTimeMode(void *c) { ((Room *)c)->continuous = 1; return 0; }
int fmi2NewDiscreteStates(void *c, EventInfo *info) {
    take_events(c);
    *info = (EventInfo){restless(c), ((Room *)c)->values[TICKS] > 99.0, 0, 0, 1, ((Room *)c)->next};
    return ((Room *)c)->continuous ? 3 : 0;
}
int fmi2CompletedIntegratorStep(void *c, int n, int *event, int *ended) { *event = *ended = 0; return 0; }
int fmi2SetTime(void *c, double t) { ((Room *)c)->time = t; return 0; }
int fmi2SetContinuousStates(void *c, const double *x, size_t n) { ((Room *)c)->temperature = x[0]; return ((Room *)c)->continuous ? 0 : 3; }
int fmi2GetDerivatives(void *c, double *x, size_t n) { x[0] = slope(c); return 0; }
int fmi2GetEventIndicators(void *c, double *z, size_t n) { z[0] = indicator(c); return 0; }
int fmi2GetContinuousStates(void *c, double *x, size_t n) { x[0] = ((Room *)c)->temperature; return 0; }
int fmi2GetNominalsOfContinuousStates(void *c, double *x, size_t n) { x[0] = 1.0; return 0; }
#else
#include <stdbool.h>
REFUSED(fmi3ActivateModelPartition) REFUSED(fmi3DeserializeFMUState) REFUSED(fmi3DoStep) REFUSED(fmi3EnterConfigurationMode)
REFUSED(fmi3EnterStepMode) REFUSED(fmi3EvaluateDiscreteStates) REFUSED(fmi3ExitConfigurationMode) REFUSED(fmi3FreeFMUState)
REFUSED(fmi3GetAdjointDerivative) REFUSED(fmi3GetBinary) REFUSED(fmi3GetBoolean) REFUSED(fmi3GetClock)
REFUSED(fmi3GetDirectionalDerivative) REFUSED(fmi3GetFMUState) REFUSED(fmi3GetFloat32) REFUSED(fmi3GetInt16)
REFUSED(fmi3GetInt32) REFUSED(fmi3GetInt64) REFUSED(fmi3GetInt8) REFUSED(fmi3GetIntervalDecimal)
REFUSED(fmi3GetIntervalFraction) REFUSED(fmi3GetNumberOfContinuousStates) REFUSED(fmi3GetNumberOfEventIndicators)
REFUSED(fmi3GetNumberOfVariableDependencies) REFUSED(fmi3GetOutputDerivatives) REFUSED(fmi3GetShiftDecimal)
REFUSED(fmi3GetShiftFraction) REFUSED(fmi3GetString) REFUSED(fmi3GetUInt16) REFUSED(fmi3GetUInt32) REFUSED(fmi3GetUInt64)
REFUSED(fmi3GetUInt8) REFUSED(fmi3GetVariableDependencies) REFUSED(fmi3GetVersion) REFUSED(fmi3InstantiateCoSimulation)
REFUSED(fmi3InstantiateScheduledExecution) REFUSED(fmi3Reset) REFUSED(fmi3SerializeFMUState) REFUSED(fmi3SerializedFMUStateSize)
REFUSED(fmi3SetBinary) REFUSED(fmi3SetBoolean) REFUSED(fmi3SetClock) REFUSED(fmi3SetDebugLogging) REFUSED(fmi3SetFMUState)
REFUSED(fmi3SetFloat32) REFUSED(fmi3SetInt16) REFUSED(fmi3SetInt32) REFUSED(fmi3SetInt64) REFUSED(fmi3SetInt8)
REFUSED(fmi3SetIntervalDecimal) REFUSED(fmi3SetIntervalFraction) REFUSED(fmi3SetShiftDecimal) REFUSED(fmi3SetShiftFraction)
REFUSED(fmi3SetString) REFUSED(fmi3SetUInt16) REFUSED(fmi3SetUInt32) REFUSED(fmi3SetUInt64) REFUSED(fmi3SetUInt8)
void *fmi3InstantiateModelExchange(const char *n, const char *t, const char *p, bool v, bool d, void *e, const void *l) { return make(); }
void fmi3FreeInstance(void *c) { free(c); }
int fmi3EnterInitializationMode(void *c, bool d, double o, double start, bool s, double stop) { ((Room *)c)->time = start; return 0; }
int fmi3ExitInitializationMode(void *c) { return 0; }
int fmi3Terminate(void *c) { return 0; }
int fmi3SetFloat64(void *c, const unsigned *r, size_t n, const double *v, size_t m) { set(c, r, n, v); return 0; }
int fmi3GetFloat64(void *c, const unsigned *r, size_t n, double *v, size_t m) { return get(c, r, n, v); }
int fmi3EnterEventMode(void *c) { ((Room *)c)->continuous = 0; return 0; }
int fmi3EnterContinuousTimeMode(void *c) { ((Room *)c)->continuous = 1; return 0; }
int fmi3UpdateDiscreteStates(void *c, bool *more, bool *ended, bool *nominals, bool *values, bool *defined, double *next) {
    take_events(c);
    *more = restless(c);
    *nominals = *values = false;
    *ended = ((Room *)c)->values[TICKS] > 99.0;
    *defined = true;
    *next = ((Room *)c)->next;
    return ((Room *)c)->continuous ? 3 : 0;
}
int fmi3CompletedIntegratorStep(void *c, bool n, bool *event, bool *ended) { *event = *ended = false; return 0; }
int fmi3SetTime(void *c, double t) { ((Room *)c)->time = t; return 0; }
int fmi3SetContinuousStates(void *c, const double *x, size_t n) { ((Room *)c)->temperature = x[0]; return ((Room *)c)->continuous ? 0 : 3; }
int fmi3GetContinuousStateDerivatives(void *c, double *x, size_t n) { x[0] = slope(c); return 0; }
int fmi3GetEventIndicators(void *c, double *z, size_t n) { z[0] = indicator(c); return 0; }
int fmi3GetContinuousStates(void *c, double *x, size_t n) { x[0] = ((Room *)c)->temperature; return 0; }
int fmi3GetNominalsOfContinuousStates(void *c, double *x, size_t n) { x[0] = 1.0; return 0; }
#endif
