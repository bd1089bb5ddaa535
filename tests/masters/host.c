/* A master in plain C with no Python in the process, for an FMU of version 2.0 or 3.0 with one real input that is set.
 *
 *     host 2|3 LIBRARY TOKEN RESOURCES SEED_REFERENCE SEED STEP_SIZE STEPS INPUT_REFERENCE OUTPUT_REFERENCE...
 *
 * The input of step k is 10 + k. Each line has the outputs after one step as hexadecimal floats. The library is unloaded at
 * the end, and the last line, which says "unloaded", is written after that.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    void (*log)(void *, const char *, int, const char *, const char *, ...);
    void *(*allocate)(size_t, size_t);
    void (*free)(void *);
    void (*finished)(void *, int);
    void *environment;
} callbacks;

static void *library;

static void *find(const char *name)
{
    void *function = dlsym(library, name);
    if (!function) {
        fprintf(stderr, "%s is missing\n", name);
        exit(1);
    }
    return function;
}

static void ensure(int status, const char *call)
{
    if (status) {
        fprintf(stderr, "%s answered %d\n", call, status);
        exit(1);
    }
}

static void say2(void *environment, const char *name, int status, const char *category, const char *message, ...)
{
    (void)environment, (void)name;
    fprintf(stderr, "%d %s %s\n", status, category, message);
}

static void say3(void *environment, int status, const char *category, const char *message)
{
    (void)environment;
    fprintf(stderr, "%d %s %s\n", status, category, message);
}

static void print_values(const double *values, int count)
{
    for (int i = 0; i < count; i++)
        printf("%s%a", i ? " " : "", values[i]);
    printf("\n");
}

#define CALL(type, name, ...) ensure(((int (*) type)find(name))(__VA_ARGS__), name)

int main(int count, char **arguments)
{
    double values[16];
    uint32_t references[16];
    if (count < 11 || !(library = dlopen(arguments[2], RTLD_NOW | RTLD_LOCAL))) {
        fprintf(stderr, "the library cannot be loaded: %s\n", count < 11 ? "arguments are missing" : dlerror());
        return 1;
    }
    const bool third = arguments[1][0] == '3';
    const uint32_t seed_reference = (uint32_t)atoi(arguments[5]), input = (uint32_t)atoi(arguments[9]);
    const int seed = atoi(arguments[6]), steps = atoi(arguments[8]), outputs = count - 10;
    const int64_t long_seed = seed;
    const double step_size = atof(arguments[7]);
    const callbacks functions = {say2, calloc, free, NULL, NULL};
    for (int i = 0; i < outputs && i < 16; i++)
        references[i] = (uint32_t)atoi(arguments[10 + i]);

    void *fmu;
    if (third)
        fmu = ((void *(*)(const char *, const char *, const char *, bool, bool, bool, bool, const uint32_t *, size_t, void *, void *,
                          void *))find("fmi3InstantiateCoSimulation"))("one", arguments[3], arguments[4], false, true, false, false,
                                                                       NULL, 0, NULL, (void *)say3, NULL);
    else
        fmu = ((void *(*)(const char *, int, const char *, const char *, const callbacks *, int, int))find("fmi2Instantiate"))(
            "one", 1, arguments[3], arguments[4], &functions, 0, 1);
    if (!fmu) {
        fprintf(stderr, "no instance\n");
        return 1;
    }
    if (third) {
        CALL((void *, const uint32_t *, size_t, const int64_t *, size_t), "fmi3SetInt64", fmu, &seed_reference, 1, &long_seed, 1);
        CALL((void *, bool, double, double, bool, double), "fmi3EnterInitializationMode", fmu, false, 0.0, 0.0, false, 0.0);
        CALL((void *), "fmi3ExitInitializationMode", fmu);
    } else {
        CALL((void *, const uint32_t *, size_t, const int *), "fmi2SetInteger", fmu, &seed_reference, 1, &seed);
        CALL((void *, int, double, double, int, double), "fmi2SetupExperiment", fmu, 0, 0.0, 0.0, 0, 0.0);
        CALL((void *), "fmi2EnterInitializationMode", fmu);
        CALL((void *), "fmi2ExitInitializationMode", fmu);
    }
    for (int k = 0; k < steps; k++) {
        const double value = 10.0 + k, time = k * step_size;
        double reached = 0.0;
        bool event = false, end = false, early = false;
        if (third) {
            CALL((void *, const uint32_t *, size_t, const double *, size_t), "fmi3SetFloat64", fmu, &input, 1, &value, 1);
            CALL((void *, double, double, bool, bool *, bool *, bool *, double *), "fmi3DoStep", fmu, time, step_size, true, &event,
                 &end, &early, &reached);
            CALL((void *, const uint32_t *, size_t, double *, size_t), "fmi3GetFloat64", fmu, references, (size_t)outputs, values,
                 (size_t)outputs);
        } else {
            CALL((void *, const uint32_t *, size_t, const double *), "fmi2SetReal", fmu, &input, 1, &value);
            CALL((void *, double, double, int), "fmi2DoStep", fmu, time, step_size, 1);
            CALL((void *, const uint32_t *, size_t, double *), "fmi2GetReal", fmu, references, (size_t)outputs, values);
        }
        print_values(values, outputs);
    }
    CALL((void *), third ? "fmi3Terminate" : "fmi2Terminate", fmu);
    ((void (*)(void *))find(third ? "fmi3FreeInstance" : "fmi2FreeInstance"))(fmu);
    dlclose(library);
    printf("unloaded\n");
    return 0;
}
