/* A master in C for the rod and its surrogates, linked with their sources: arrays and scalars in one call, both ways, and back in time.
 *
 *     array_host TOKEN
 *
 * Prints a row per communication point: T, flux, hot, stage, heaters, open. What must be refused and is not ends it with 1.
 */
#include <stdio.h>

#include "fmi3Functions.h"

enum { HEATERS = 10, OPEN, MODE, GAINS = 20, MATERIAL, T = 40, FLUX, STAGE, HOT };
#define MUST(call)                                                                                                                \
    if ((call) != fmi3OK)                                                                                                         \
    return fprintf(stderr, "refused: %s\n", #call), 1
#define MUST_NOT(call)                                                                                                            \
    if ((call) == fmi3OK)                                                                                                         \
    return fprintf(stderr, "taken: %s\n", #call), 1

static void say(fmi3InstanceEnvironment environment, fmi3Status status, fmi3String category, fmi3String text)
{
    (void)environment;
    fprintf(stderr, "%d %s %s\n", (int)status, category, text);
}

static int print(fmi3Instance rod)
{
    const fmi3ValueReference reals[] = {T, FLUX, HEATERS}, hot[] = {HOT, OPEN}, stage[] = {STAGE};
    fmi3Float64 numbers[12];
    fmi3Boolean switches[5];
    fmi3Int32 stages[3];
    MUST(fmi3GetFloat64(rod, reals, 3, numbers, 12));
    MUST(fmi3GetBoolean(rod, hot, 2, switches, 5));
    MUST(fmi3GetInt32(rod, stage, 1, stages, 3));
    MUST_NOT(fmi3GetFloat64(rod, reals, 3, numbers, 11));
    MUST_NOT(fmi3GetBoolean(rod, hot, 2, switches, 4));
    MUST_NOT(fmi3GetInt32(rod, stage, 1, stages, 2));
    for (int i = 0; i < 9; i++)
        printf("%.17g ", numbers[i]);
    for (int i = 0; i < 3; i++)
        printf("%d ", switches[i]);
    for (int i = 0; i < 3; i++)
        printf("%d ", (int)stages[i]);
    for (int i = 9; i < 12; i++)
        printf("%.17g ", numbers[i]);
    printf("%d %d\n", switches[3], switches[4]);
    return 0;
}

/* From the point k, with the inputs of another. */
static int step(fmi3Instance rod, int k, int inputs)
{
    const fmi3ValueReference heaters[] = {HEATERS}, open[] = {OPEN};
    const fmi3Float64 powers[] = {0.5 * inputs, 1.0, 3.0 - 0.25 * inputs};
    const fmi3Boolean switches[] = {inputs % 2 == 0, inputs % 3 == 0};
    fmi3Boolean event, end, early;
    fmi3Float64 last;
    MUST(fmi3SetFloat64(rod, heaters, 1, powers, 3));
    MUST(fmi3SetBoolean(rod, open, 1, switches, 2));
    MUST_NOT(fmi3SetFloat64(rod, heaters, 1, powers, 2));
    MUST_NOT(fmi3SetBoolean(rod, open, 1, switches, 1));
    MUST(fmi3DoStep(rod, 0.5 * k, 0.5, fmi3False, &event, &end, &early, &last));
    return 0;
}

int main(int count, char **arguments)
{
    fmi3Instance rod = fmi3InstantiateCoSimulation("rod", count > 1 ? arguments[1] : "", "", fmi3False, fmi3False, fmi3False, fmi3False,
                                                   NULL, 0, NULL, say, NULL);
    if (!rod)
        return 1;
    const fmi3ValueReference gains[] = {GAINS}, whole[] = {MATERIAL, MODE};
    const fmi3Float64 wanted[] = {1.0, 2.0, 3.0, 0.5, 0.2, 0.3};
    const fmi3Int64 items[] = {1, 4, 1, 2};
    MUST(fmi3SetFloat64(rod, gains, 1, wanted, 6));
    MUST(fmi3SetInt64(rod, whole, 2, items, 4));
    MUST_NOT(fmi3SetInt64(rod, whole, 2, items, 3));
    MUST(fmi3EnterInitializationMode(rod, fmi3False, 0.0, 0.0, fmi3False, 0.0));
    MUST(fmi3ExitInitializationMode(rod));
    if (print(rod))
        return 1;
    for (int k = 0; k < 6; k++) {
        fmi3FMUState state = NULL;
        MUST(fmi3GetFMUState(rod, &state));
        if (step(rod, k, k + 3)) /* what going back takes back */
            return 1;
        MUST(fmi3SetFMUState(rod, state));
        MUST(fmi3FreeFMUState(rod, &state));
        if (print(rod) || step(rod, k, k) || print(rod))
            return 1;
    }
    MUST(fmi3Terminate(rod));
    fmi3FreeInstance(rod);
    return 0;
}
