/* A rod of three heated nodes whose variables are arrays: FMI 3.0, co-simulation, explicit Euler. Every call that gets or sets values
 * checks the number of values, and what FMI forbids before initialization is refused. */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEATERS = 10, OPEN, MODE, TRIM, GAINS = 20, MATERIAL, SEED, SIZE = 30, T = 40, FLUX, STAGE, HOT, VERSION, TIME = 0 };
enum { NODES = 3 };

typedef void (*Log)(void *environment, int status, const char *category, const char *message);

typedef struct {
    int is_running;
    double time, heaters[NODES], gains[2 * NODES], t[NODES], flux[2 * NODES];
    float trim[2];
    bool open[2], hot[NODES];
    int64_t mode, material[NODES];
    int32_t stage[NODES], seed;
    uint64_t size;
    double version[2];
} State;

typedef struct {
    State state;
    Log log;
    void *environment;
} Rod;

/* The start values of the model description. */
static void start(State *s)
{
    memset(s, 0, sizeof *s);
    for (int i = 0; i < NODES; i++) {
        s->heaters[i] = 0.5;
        s->gains[i] = 1.0 + i;
        s->gains[NODES + i] = 0.1 * (1 + i);
        s->material[i] = i == 1 ? 4 : 1;
        s->t[i] = 20.0;
    }
    s->open[0] = true;
    s->mode = 1;
    s->size = NODES;
    s->version[0] = 3.0;
    s->version[1] = 1.0;
}

static void derive(State *s)
{
    for (int i = 0; i < NODES; i++) {
        s->flux[i] = s->gains[i] * s->heaters[i] * (double)s->mode + (i < 2 ? (double)s->trim[i] : 0.0);
        s->flux[NODES + i] = s->gains[NODES + i] * (double)s->material[i] * (s->t[i] - 20.0);
        s->stage[i] = (int32_t)floor(s->t[i] / 2.0);
        s->hot[i] = s->t[i] > 25.0;
    }
    s->flux[NODES] += s->open[0] ? 0.3 * (s->t[0] - 20.0) : 0.0;
    s->flux[2 * NODES - 1] += s->open[1] ? 0.3 * (s->t[NODES - 1] - 20.0) : 0.0;
}

static int refuse(Rod *rod, const char *what)
{
    if (rod->log)
        rod->log(rod->environment, 3, "logStatusError", what);
    return 3;
}

typedef struct {
    void *values;
    size_t count, width;
    char kind; /* f: Float64, s: Float32, i: Int32, l: Int64, u: UInt64, b: Boolean */
    bool can_be_set;
} Place;

static Place place(State *s, unsigned reference)
{
    switch (reference) {
    case HEATERS: return (Place){s->heaters, NODES, sizeof(double), 'f', true};
    case OPEN: return (Place){s->open, 2, sizeof(bool), 'b', true};
    case MODE: return (Place){&s->mode, 1, sizeof(int64_t), 'l', true};
    case TRIM: return (Place){s->trim, 2, sizeof(float), 's', true};
    case GAINS: return (Place){s->gains, 2 * NODES, sizeof(double), 'f', s->is_running <= 0};
    case MATERIAL: return (Place){s->material, NODES, sizeof(int64_t), 'l', s->is_running <= 0};
    case SEED: return (Place){&s->seed, 1, sizeof(int32_t), 'i', s->is_running <= 0};
    case SIZE: return (Place){&s->size, 1, sizeof(uint64_t), 'u', false};
    case T: return (Place){s->t, NODES, sizeof(double), 'f', false};
    case FLUX: return (Place){s->flux, 2 * NODES, sizeof(double), 'f', false};
    case STAGE: return (Place){s->stage, NODES, sizeof(int32_t), 'i', false};
    case HOT: return (Place){s->hot, NODES, sizeof(bool), 'b', false};
    case VERSION: return (Place){s->version, 2, sizeof(double), 'f', false};
    case TIME: return (Place){&s->time, 1, sizeof(double), 'f', false};
    default: return (Place){NULL, 0, 0, '?', false};
    }
}

static int move(Rod *rod, const unsigned *references, size_t count, void *values, size_t value_count, char kind, bool set)
{
    size_t expected = 0;
    for (size_t i = 0; i < count; i++) {
        const Place p = place(&rod->state, references[i]);
        if (p.kind != kind)
            return refuse(rod, "a reference of another type");
        if (set && !p.can_be_set)
            return refuse(rod, "a variable that cannot be set now");
        expected += p.count;
    }
    if (expected != value_count)
        return refuse(rod, "a wrong number of values");
    if (!set && rod->state.is_running == 0)
        return refuse(rod, "nothing can be read before initialization");
    derive(&rod->state);
    char *next = values;
    for (size_t i = 0; i < count; i++) {
        const Place p = place(&rod->state, references[i]);
        memcpy(set ? p.values : next, set ? next : p.values, p.count * p.width);
        next += p.count * p.width;
    }
    return 0;
}

#define VALUES(type, c, kind)                                                                                                     \
    int fmi3Get##type(void *rod, const unsigned *r, size_t n, c *v, size_t m) { return move(rod, r, n, v, m, kind, false); }      \
    int fmi3Set##type(void *rod, const unsigned *r, size_t n, const c *v, size_t m)                                               \
    {                                                                                                                             \
        return move(rod, r, n, (void *)v, m, kind, true);                                                                         \
    }
VALUES(Float64, double, 'f')
VALUES(Float32, float, 's')
VALUES(Int32, int32_t, 'i')
VALUES(Int64, int64_t, 'l')
VALUES(UInt64, uint64_t, 'u')
VALUES(Boolean, bool, 'b')

void *fmi3InstantiateCoSimulation(const char *n, const char *t, const char *p, bool v, bool l, bool e, bool r, const unsigned *q,
                                  size_t m, void *environment, Log log, void *u)
{
    Rod *rod = calloc(1, sizeof *rod);
    rod->log = log;
    rod->environment = environment;
    start(&rod->state);
    return rod;
}
void fmi3FreeInstance(void *rod) { free(rod); }
int fmi3Reset(void *rod) { start(&((Rod *)rod)->state); return 0; }
int fmi3EnterInitializationMode(void *rod, bool d, double o, double begin, bool s, double stop)
{
    State *const state = &((Rod *)rod)->state;
    state->time = begin;
    state->is_running = -1; /* outputs can be read, parameters set */
    return 0;
}
int fmi3ExitInitializationMode(void *rod) { ((Rod *)rod)->state.is_running = 1; return 0; }
int fmi3Terminate(void *rod) { return 0; }
int fmi3DoStep(void *rod, double t, double size, bool n, bool *event, bool *end, bool *early, double *last)
{
    State *const s = &((Rod *)rod)->state;
    double next[NODES];
    derive(s);
    for (int i = 0; i < NODES; i++) {
        const double left = s->t[i ? i - 1 : 0], right = s->t[i < NODES - 1 ? i + 1 : i];
        next[i] = s->t[i] + size * (s->flux[i] - s->flux[NODES + i] + 0.2 * (left - 2.0 * s->t[i] + right));
    }
    memcpy(s->t, next, sizeof next);
    *event = *end = *early = false;
    *last = s->time = t + size;
    return 0;
}
int fmi3GetFMUState(void *rod, void **state)
{
    if (!*state)
        *state = malloc(sizeof(State));
    memcpy(*state, &((Rod *)rod)->state, sizeof(State));
    return 0;
}
int fmi3SetFMUState(void *rod, void *state) { memcpy(&((Rod *)rod)->state, state, sizeof(State)); return 0; }
int fmi3FreeFMUState(void *rod, void **state) { free(*state); *state = NULL; return 0; }
const char *fmi3GetVersion(void) { return "3.0"; }

/* Functions that must be there, and that nobody calls. */
#define REFUSED(name) int name(void) { return 3; }
REFUSED(fmi3ActivateModelPartition) REFUSED(fmi3CompletedIntegratorStep) REFUSED(fmi3DeserializeFMUState)
REFUSED(fmi3EnterConfigurationMode) REFUSED(fmi3EnterContinuousTimeMode) REFUSED(fmi3EnterEventMode) REFUSED(fmi3EnterStepMode)
REFUSED(fmi3EvaluateDiscreteStates) REFUSED(fmi3ExitConfigurationMode) REFUSED(fmi3GetAdjointDerivative) REFUSED(fmi3GetBinary)
REFUSED(fmi3GetClock) REFUSED(fmi3GetContinuousStateDerivatives) REFUSED(fmi3GetContinuousStates)
REFUSED(fmi3GetDirectionalDerivative) REFUSED(fmi3GetEventIndicators) REFUSED(fmi3GetInt16) REFUSED(fmi3GetInt8)
REFUSED(fmi3GetIntervalDecimal) REFUSED(fmi3GetIntervalFraction) REFUSED(fmi3GetNominalsOfContinuousStates)
REFUSED(fmi3GetNumberOfContinuousStates) REFUSED(fmi3GetNumberOfEventIndicators) REFUSED(fmi3GetNumberOfVariableDependencies)
REFUSED(fmi3GetOutputDerivatives) REFUSED(fmi3GetShiftDecimal) REFUSED(fmi3GetShiftFraction) REFUSED(fmi3GetString)
REFUSED(fmi3GetUInt16) REFUSED(fmi3GetUInt32) REFUSED(fmi3GetUInt8) REFUSED(fmi3GetVariableDependencies)
REFUSED(fmi3InstantiateModelExchange) REFUSED(fmi3InstantiateScheduledExecution) REFUSED(fmi3SerializeFMUState)
REFUSED(fmi3SerializedFMUStateSize) REFUSED(fmi3SetBinary) REFUSED(fmi3SetClock) REFUSED(fmi3SetContinuousStates)
REFUSED(fmi3SetDebugLogging) REFUSED(fmi3SetInt16) REFUSED(fmi3SetInt8) REFUSED(fmi3SetIntervalDecimal)
REFUSED(fmi3SetIntervalFraction) REFUSED(fmi3SetShiftDecimal) REFUSED(fmi3SetShiftFraction) REFUSED(fmi3SetString)
REFUSED(fmi3SetTime) REFUSED(fmi3SetUInt16) REFUSED(fmi3SetUInt32) REFUSED(fmi3SetUInt8) REFUSED(fmi3UpdateDiscreteStates)
