/* A host in plain C that loads an FMI 2.0 library at run time, with no Python in the process.
 *
 *     host LIBRARY GUID SEED_REFERENCE SEED STEP_SIZE STEPS INPUT_REFERENCE FIRST_OUTPUT_REFERENCE OUTPUT_COUNT
 *
 * The input of step k is 10 + k. Each line has the bits of the outputs at one communication point; the last one says "done".
 */
#include <stdarg.h>
#include <stddef.h>

typedef void *component;
typedef void (*logger)(void *, const char *, int, const char *, const char *, ...);
typedef struct {
    logger log;
    void *(*allocate)(size_t, size_t);
    void (*free)(void *);
    void (*finished)(void *, int);
    void *environment;
} callbacks;

#ifdef _WIN32
void *LoadLibraryA(const char *);
void *GetProcAddress(void *, const char *);
void ExitProcess(unsigned);
int __getmainargs(int *, char ***, char ***, int, int *);
int _fltused = 0;
#define OPEN(path) LoadLibraryA(path)
#define FIND(library, name) GetProcAddress(library, name)
#else
#include <dlfcn.h>
#define OPEN(path) dlopen(path, RTLD_NOW | RTLD_LOCAL)
#define FIND(library, name) dlsym(library, name)
#endif
int printf(const char *, ...);
int atoi(const char *);
double atof(const char *);

static void say(void *environment, const char *name, int status, const char *category, const char *message, ...)
{
    (void)environment;
    printf("%s %d %s %s\n", name, status, category, message);
}

static int fail(const char *what)
{
    printf("failed: %s\n", what);
    return 1;
}

static void print_values(const double *values, int count)
{
    for (int i = 0; i < count; i++) {
        const unsigned *words = (const unsigned *)(const void *)&values[i];
        printf("%s%08x%08x", i ? " " : "", words[1], words[0]);
    }
    printf("\n");
}

static int run(int count, char **arguments)
{
    static double outputs[64];
    static unsigned references[64];
    if (count != 10)
        return fail("wrong number of arguments");
    void *library = OPEN(arguments[1]);
    if (!library)
        return fail("the library cannot be loaded");
    component (*instantiate)(const char *, int, const char *, const char *, const callbacks *, int, int) =
        (component(*)(const char *, int, const char *, const char *, const callbacks *, int, int))FIND(library, "fmi2Instantiate");
    int (*setup)(component, int, double, double, int, double) =
        (int (*)(component, int, double, double, int, double))FIND(library, "fmi2SetupExperiment");
    int (*enter)(component) = (int (*)(component))FIND(library, "fmi2EnterInitializationMode");
    int (*leave)(component) = (int (*)(component))FIND(library, "fmi2ExitInitializationMode");
    int (*set_integer)(component, const unsigned *, size_t, const int *) =
        (int (*)(component, const unsigned *, size_t, const int *))FIND(library, "fmi2SetInteger");
    int (*set)(component, const unsigned *, size_t, const double *) =
        (int (*)(component, const unsigned *, size_t, const double *))FIND(library, "fmi2SetReal");
    int (*get)(component, const unsigned *, size_t, double *) =
        (int (*)(component, const unsigned *, size_t, double *))FIND(library, "fmi2GetReal");
    int (*do_step)(component, double, double, int) = (int (*)(component, double, double, int))FIND(library, "fmi2DoStep");
    int (*terminate)(component) = (int (*)(component))FIND(library, "fmi2Terminate");
    void (*free_instance)(component) = (void (*)(component))FIND(library, "fmi2FreeInstance");
    if (!instantiate || !setup || !enter || !leave || !set_integer || !set || !get || !do_step || !terminate || !free_instance)
        return fail("a function is missing");

    const callbacks functions = {say, NULL, NULL, NULL, NULL};
    component instance = instantiate("one", 1, arguments[2], "", &functions, 0, 1);
    if (!instance)
        return fail("no instance");
    const unsigned seed_reference = (unsigned)atoi(arguments[3]), input_reference = (unsigned)atoi(arguments[7]);
    const int seed = atoi(arguments[4]), steps = atoi(arguments[6]), output_count = atoi(arguments[9]);
    const double step_size = atof(arguments[5]);
    for (int i = 0; i < output_count && i < 64; i++)
        references[i] = (unsigned)(atoi(arguments[8]) + i);
    if (set_integer(instance, &seed_reference, 1, &seed) || setup(instance, 0, 0.0, 0.0, 0, 0.0) || enter(instance) ||
        leave(instance) || get(instance, references, (size_t)output_count, outputs))
        return fail("the start");
    print_values(outputs, output_count);
    for (int k = 0; k < steps; k++) {
        const double input = 10.0 + k;
        if (set(instance, &input_reference, 1, &input) || do_step(instance, k * step_size, step_size, 0) ||
            get(instance, references, (size_t)output_count, outputs))
            return fail("a step");
        print_values(outputs, output_count);
    }
    if (terminate(instance))
        return fail("the end");
    free_instance(instance);
    const char *(*kernels)(void) = (const char *(*)(void))FIND(library, "surrogate_fmu_kernels");
    printf("done %s\n", kernels ? kernels() : "?");
    return 0;
}

#ifdef _WIN32
void host_start(void)
{
    int count = 0, start = 0;
    char **arguments = NULL, **environment = NULL;
    __getmainargs(&count, &arguments, &environment, 0, &start);
    ExitProcess((unsigned)run(count, arguments));
}
#else
int main(int count, char **arguments)
{
    return run(count, arguments);
}
#endif
