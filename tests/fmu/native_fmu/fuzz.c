/* Random calls of the FMI 2.0 (with FUZZ_FMI3: 3.0) functions, most of them wrong, over instances that live and die: nothing may crash or leak.
 * Linked with the sources of an FMU and run under sanitizers.
 *
 *     fuzz SEED CALLS
 *
 * The host keeps FMI's own rules about memory and no other: handles are live or NULL, arrays are as long as is said, states
 * come from the FMU. Whatever the FMU refuses, it must go on.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "surrogate.h"
#ifdef FUZZ_FMI3
#include "fmi2_over_fmi3.h"
#else
#include "fmi2Functions.h"
#endif

enum { INSTANCES = 4, STATES = 6, VALUES = 8 };

static uint64_t state = 1;

static uint32_t roll(uint32_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 11) % sides;
}

static double number(void)
{
    static const double special[] = {0.0, -0.0, 1.0, 5e-324, -1e-310, 1e300, -1e300, NAN, INFINITY, -INFINITY, 2.0, 4.0, 20.0, 290.0};
    if (roll(3))
        return special[roll(sizeof special / sizeof special[0])];
    return ((double)roll(2000000) - 1000000.0) / (double)(1 + roll(100000));
}

static unsigned reference(void)
{
    return roll(8) ? sf_surrogate_data.variables[roll((uint32_t)sf_surrogate_data.variable_count)].reference : (unsigned)roll(~0u);
}

static size_t messages;

#ifdef FUZZ_FMI3
static void count_message(void *environment, fmi3Status status, fmi3String category, fmi3String text)
{
    (void)environment, (void)status;
    messages += strlen(category) + strlen(text);
}
#else
static void count_message(void *environment, fmi2String name, fmi2Status status, fmi2String category, fmi2String text, ...)
{
    (void)environment, (void)status;
    messages += strlen(name) + strlen(category) + strlen(text);
    for (const char *c = strchr(text, '%'); c; c = strchr(c + 2, '%'))
        if (c[1] != '%')
            abort(); /* a format that would read arguments */
}

static void *allocate(size_t count, size_t size)
{
    return calloc(count, size);
}
#endif

typedef struct {
    fmi2FMUstate states[STATES];
    fmi2Component component;
    double time;
} instance;

static void end(instance *one)
{
    for (int i = 0; i < STATES && one->component; i++)
        fmi2FreeFMUstate(one->component, &one->states[i]);
    fmi2FreeInstance(one->component);
    memset(one, 0, sizeof *one);
}

static void use_states(instance *one)
{
    fmi2FMUstate *slot = &one->states[roll(STATES)];
    size_t size = 0;
    switch (roll(5)) {
    case 0: fmi2GetFMUstate(one->component, slot); break;
    case 1:
        if (fmi2SetFMUstate(one->component, *slot) == fmi2OK)
            fmi2GetRealStatus(one->component, fmi2LastSuccessfulTime, &one->time);
        break;
    case 2: fmi2FreeFMUstate(one->component, slot); break;
    default:
        if (fmi2SerializedFMUstateSize(one->component, *slot, &size) != fmi2OK)
            break;
        char *bytes = calloc(size, 1);
        fmi2SerializeFMUstate(one->component, *slot, bytes, roll(6) ? size : roll((uint32_t)size));
        if (roll(2))
            bytes[roll((uint32_t)size)] ^= (char)(1 << roll(8));
        /* As long as is said, so that reading further is seen. */
        const size_t given = roll(3) ? size : roll((uint32_t)size + 1);
        char *copy = malloc(given ? given : 1);
        memcpy(copy, bytes, given);
        fmi2DeSerializeFMUstate(one->component, copy, given, roll(2) ? slot : &one->states[roll(STATES)]);
        free(copy);
        free(bytes);
    }
}

static void call(instance *one, const fmi2CallbackFunctions *functions)
{
    fmi2ValueReference references[VALUES], others[VALUES];
    fmi2Real reals[VALUES], more[VALUES];
    fmi2Integer integers[VALUES];
    fmi2Boolean booleans[VALUES];
    fmi2String strings[VALUES];
    const size_t count = roll(VALUES + 1), other = roll(VALUES + 1);
    for (int i = 0; i < VALUES; i++) {
        references[i] = reference();
        others[i] = reference();
        reals[i] = number();
        integers[i] = roll(2) ? (int)roll(6) : (int)roll(~0u);
        booleans[i] = (fmi2Boolean)roll(2);
        strings[i] = roll(3) ? "cpu" : roll(2) ? "%s%n%d" : NULL;
    }
    const fmi2Component c = roll(200) ? one->component : NULL;
    switch (roll(26)) {
    case 0:
        if (!one->component)
            one->component = fmi2Instantiate(roll(9) ? "one" : NULL, roll(9) ? fmi2CoSimulation : fmi2ModelExchange,
                                             roll(9) ? sf_surrogate_data.token : "{}", "", roll(9) ? functions : NULL, 0, 1);
        break;
    case 1:
        if (!roll(20))
            end(one);
        break;
    case 2: fmi2SetupExperiment(c, 0, 0.0, roll(2) ? 0.0 : number(), 0, 0.0); break;
    case 3: fmi2EnterInitializationMode(c); break;
    case 4:
        if (fmi2ExitInitializationMode(c) == fmi2OK)
            fmi2GetRealStatus(c, fmi2LastSuccessfulTime, &one->time);
        break;
    case 5:
        if (!roll(10))
            fmi2Terminate(c);
        break;
    case 6:
        if (!roll(10))
            fmi2Reset(c);
        break;
    case 7:
    case 8:
    case 9:
    case 10: {
        const double size = roll(4) ? sf_surrogate_data.step_size * (1 + roll(5)) : number();
        if (fmi2DoStep(c, roll(8) ? one->time : number(), size, 1) == fmi2OK)
            fmi2GetRealStatus(c, fmi2LastSuccessfulTime, &one->time);
        break;
    }
    case 11: fmi2GetReal(c, roll(50) ? references : NULL, count, roll(50) ? reals : NULL); break;
    case 12: fmi2GetInteger(c, references, count, integers); break;
    case 13: fmi2GetBoolean(c, references, count, booleans); break;
    case 14: fmi2GetString(c, references, count, strings); break;
    case 15:
    case 16: fmi2SetReal(c, roll(50) ? references : NULL, roll(2) ? 1 : count, roll(50) ? reals : NULL); break;
    case 17: fmi2SetInteger(c, references, roll(2) ? 1 : count, integers); break;
    case 18: fmi2SetBoolean(c, references, count, booleans); break;
    case 19: fmi2SetString(c, references, count, strings); break;
    case 20: fmi2SetDebugLogging(c, (fmi2Boolean)roll(2), count, strings); break;
    case 21: { /* column by column */
        const double unit = 1.0;
        for (int32_t i = 0; i < sf_surrogate_data.variable_count; i++)
            fmi2GetDirectionalDerivative(c, references, 1, &sf_surrogate_data.variables[i].reference, 1, &unit, more);
        break;
    }
    case 22: fmi2GetDirectionalDerivative(c, references, count, others, other, reals, more); break;
    case 23: fmi2CancelStep(c); break;
    default: use_states(one); break;
    }
}

int main(int argument_count, char **arguments)
{
    static instance instances[INSTANCES];
#ifdef FUZZ_FMI3
    const fmi2CallbackFunctions functions = 1;
#else
    const fmi2CallbackFunctions functions = {count_message, allocate, free, NULL, NULL};
#endif
    if (argument_count != 3)
        return 2;
    state = strtoull(arguments[1], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (long left = atol(arguments[2]); left > 0; left--) {
        instance *one = &instances[roll(INSTANCES)];
        if (one->component || !roll(3))
            call(one, &functions);
        else if (!one->component)
            one->component = fmi2Instantiate("one", fmi2CoSimulation, sf_surrogate_data.token, "", &functions, 0, 1);
    }
    for (int i = 0; i < INSTANCES; i++)
        end(&instances[i]);
    printf("done, %zu characters of messages\n", messages);
    return 0;
}
