/* Times the calls of an FMI 2.0 library in a host without Python; one line of JSON.
 *
 *     host LIBRARY GUID INPUT_COUNT OUTPUT_COUNT FIRST_OUTPUT_REFERENCE
 *
 * Inputs have the references 0, 1, ... Each figure is the fastest of many blocks, in seconds per call.
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fmi2FunctionTypes.h"

enum { BLOCKS = 60, MOST = 64 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void log_message(void *environment, fmi2String name, fmi2Status status, fmi2String category, fmi2String text, ...)
{
    (void)environment, (void)name, (void)status, (void)category;
    fprintf(stderr, "%s\n", text);
}

#define FUNCTION(name) name##TYPE *const name = (name##TYPE *)dlsym(library, #name)
#define TIMED(label, count, body)                                                                                                 \
    do {                                                                                                                          \
        double best = 1e9;                                                                                                        \
        for (int block = 0; block < BLOCKS; block++) {                                                                            \
            const double start = now();                                                                                           \
            for (int call = 0; call < (count); call++) {                                                                          \
                body;                                                                                                             \
            }                                                                                                                     \
            const double each = (now() - start) / (count);                                                                        \
            best = each < best ? each : best;                                                                                     \
        }                                                                                                                         \
        printf(", \"%s\": %.4g", label, best);                                                                                    \
    } while (0)

int main(int count, char **arguments)
{
    if (count != 6)
        return 2;
    void *library = dlopen(arguments[1], RTLD_NOW);
    if (!library)
        return fprintf(stderr, "%s\n", dlerror()), 1;
    FUNCTION(fmi2Instantiate);
    FUNCTION(fmi2FreeInstance);
    FUNCTION(fmi2SetupExperiment);
    FUNCTION(fmi2EnterInitializationMode);
    FUNCTION(fmi2ExitInitializationMode);
    FUNCTION(fmi2SetReal);
    FUNCTION(fmi2GetReal);
    FUNCTION(fmi2DoStep);
    FUNCTION(fmi2GetFMUstate);
    FUNCTION(fmi2SetFMUstate);
    FUNCTION(fmi2FreeFMUstate);
    FUNCTION(fmi2GetDirectionalDerivative);
    const size_t inputs = (size_t)atoi(arguments[3]), outputs = (size_t)atoi(arguments[4]);
    unsigned in[MOST], out[MOST];
    double x[MOST], y[MOST], seed[MOST] = {1.0}, dy[MOST];
    for (unsigned i = 0; i < MOST; i++) {
        in[i] = i;
        out[i] = (unsigned)atoi(arguments[5]) + i;
        x[i] = 0.3 - 0.01 * i;
    }
    const fmi2CallbackFunctions functions = {log_message, calloc, free, NULL, NULL};
    const double first = now();
    fmi2Component c = fmi2Instantiate("one", fmi2CoSimulation, arguments[2], "", &functions, 0, 0);
    if (!c || fmi2SetupExperiment(c, 0, 0, 0, 0, 0) || fmi2EnterInitializationMode(c) || fmi2ExitInitializationMode(c))
        return 1;
    printf("{\"first instantiate and initialize\": %.4g", now() - first);
    double t = 0.0;
    int bad = 0;
    TIMED("do_step", 1000, bad |= fmi2DoStep(c, t, 1.0, 1); t += 1.0);
    TIMED("set, do_step, get", 1000, x[0] = -x[0]; bad |= fmi2SetReal(c, in, inputs, x); bad |= fmi2DoStep(c, t, 1.0, 1); t += 1.0;
          bad |= fmi2GetReal(c, out, outputs, y));
    /* Each at a new point, as a master asks, so with the step that leads there. */
    TIMED("do_step, derivative", 1000, bad |= fmi2DoStep(c, t, 1.0, 1); t += 1.0;
          bad |= fmi2GetDirectionalDerivative(c, out, outputs, in, inputs, x, dy));
    TIMED("do_step, derivative, derivative", 1000, bad |= fmi2DoStep(c, t, 1.0, 1); t += 1.0;
          bad |= fmi2GetDirectionalDerivative(c, out, outputs, in, inputs, x, dy);
          bad |= fmi2GetDirectionalDerivative(c, out, outputs, in, inputs, x, dy));
    TIMED("do_step, jacobian", 200, bad |= fmi2DoStep(c, t, 1.0, 1); t += 1.0;
          for (size_t i = 0; i < inputs; i++) bad |= fmi2GetDirectionalDerivative(c, out, outputs, &in[i], 1, seed, dy));
    fmi2FMUstate state = NULL;
    TIMED("save and restore the state", 1000, bad |= fmi2GetFMUstate(c, &state); bad |= fmi2SetFMUstate(c, state));
    fmi2FreeFMUstate(c, &state);
    fmi2FreeInstance(c);
    TIMED("instantiate, initialize and free", 100, c = fmi2Instantiate("one", fmi2CoSimulation, arguments[2], "", &functions, 0, 0);
          fmi2SetupExperiment(c, 0, 0, 0, 0, 0); fmi2EnterInitializationMode(c); fmi2ExitInitializationMode(c); fmi2FreeInstance(c));
    printf("}\n");
    return bad;
}
