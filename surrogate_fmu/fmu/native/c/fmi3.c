/* FMI 3.0 over a session: every function of the standard; what this FMU does not do is refused with a sentence. */
#include "fmi3Functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

typedef struct {
    sf_session *session;
    fmi3LogMessageCallback log;
    fmi3InstanceEnvironment environment;
} component;

static void deliver(void *owner, sf_status status, const char *category, const char *message)
{
    component *c = owner;
    c->log(c->environment, (fmi3Status)status, category, message);
}

/* The session behind a handle, or NULL for one that is none. */
static sf_session *session_of(fmi3Instance handle)
{
    component *c = handle;
    return c && sf_session_is_live(c->session) ? c->session : NULL;
}

#define SESSION(handle)                                                                                                           \
    sf_session *const s = session_of(handle);                                                                                     \
    if (!s)                                                                                                                       \
    return fmi3Error

static fmi3Status refuse_null(sf_session *s, const char *function)
{
    return (fmi3Status)sf_refuse(s, SF_ERROR, "InputError", "%s: a null pointer was given", function);
}

static fmi3Status refuse(fmi3Instance handle, const char *function, const char *reason)
{
    SESSION(handle);
    return (fmi3Status)sf_refuse(s, SF_ERROR, "CallOrderError", "%s is not supported: %s", function, reason);
}

static const char MODEL_EXCHANGE[] = "this is an FMU for co-simulation, not for model exchange";
static const char SCHEDULED_EXECUTION[] = "this is an FMU for co-simulation, not for scheduled execution";
static const char CLOCKS[] = "this FMU has no clocks";
static const char EVENTS[] = "this FMU has no event mode (hasEventMode is false)";

/* -- life --------------------------------------------------------------------------------------------------------------------- */

const char *fmi3GetVersion(void)
{
    return fmi3Version;
}

fmi3Status fmi3SetDebugLogging(fmi3Instance handle, fmi3Boolean on, size_t count, const fmi3String categories[])
{
    SESSION(handle);
    return (fmi3Status)sf_set_logging(s, on, count, categories);
}

static fmi3Instance no_instance(fmi3LogMessageCallback log, fmi3InstanceEnvironment environment, const char *reason)
{
    if (log)
        log(environment, fmi3Error, "logStatusError", reason);
    return NULL;
}

fmi3Instance fmi3InstantiateCoSimulation(fmi3String name, fmi3String token, fmi3String resources, fmi3Boolean visible,
                                         fmi3Boolean logging_on, fmi3Boolean event_mode_used, fmi3Boolean early_return_allowed,
                                         const fmi3ValueReference required_intermediate[], size_t required_count,
                                         fmi3InstanceEnvironment environment, fmi3LogMessageCallback log,
                                         fmi3IntermediateUpdateCallback intermediate_update)
{
    (void)resources, (void)visible, (void)logging_on, (void)early_return_allowed, (void)required_intermediate;
    (void)intermediate_update; /* never called: providesIntermediateUpdate is false */
    if (!name || !*name)
        return no_instance(log, environment, "InputError: fmi3InstantiateCoSimulation: the instance needs a name");
    if (!token || strcmp(token, sf_surrogate_data.token) != 0) {
        char reason[512];
        snprintf(reason, sizeof reason,
                 "InputError: fmi3InstantiateCoSimulation: the instantiation token is %.100s, this library belongs to the model "
                 "description with %s", token ? token : "NULL", sf_surrogate_data.token);
        return no_instance(log, environment, reason);
    }
    if (event_mode_used)
        return no_instance(log, environment,
                           "InputError: fmi3InstantiateCoSimulation: event mode was asked for, but hasEventMode is false");
    if (required_count)
        return no_instance(log, environment,
                           "InputError: fmi3InstantiateCoSimulation: intermediate variables were asked for, but "
                           "providesIntermediateUpdate is false");
    component *c = calloc(1, sizeof *c);
    if (c) {
        c->log = log;
        c->environment = environment;
        c->session = sf_session_new(log ? deliver : NULL, c);
    }
    if (c && c->session)
        return c;
    free(c);
    return no_instance(log, environment, "SessionError: fmi3InstantiateCoSimulation: there is not enough memory");
}

fmi3Instance fmi3InstantiateModelExchange(fmi3String name, fmi3String token, fmi3String resources, fmi3Boolean visible,
                                          fmi3Boolean logging_on, fmi3InstanceEnvironment environment,
                                          fmi3LogMessageCallback log)
{
    (void)name, (void)token, (void)resources, (void)visible, (void)logging_on;
    return no_instance(log, environment,
                       "InputError: fmi3InstantiateModelExchange: this is an FMU for co-simulation, not for model exchange");
}

fmi3Instance fmi3InstantiateScheduledExecution(fmi3String name, fmi3String token, fmi3String resources, fmi3Boolean visible,
                                               fmi3Boolean logging_on, fmi3InstanceEnvironment environment,
                                               fmi3LogMessageCallback log, fmi3ClockUpdateCallback clock_update,
                                               fmi3LockPreemptionCallback lock, fmi3UnlockPreemptionCallback unlock)
{
    (void)name, (void)token, (void)resources, (void)visible, (void)logging_on, (void)clock_update, (void)lock, (void)unlock;
    return no_instance(log, environment,
                       "InputError: fmi3InstantiateScheduledExecution: this is an FMU for co-simulation, not for scheduled "
                       "execution");
}

void fmi3FreeInstance(fmi3Instance handle)
{
    component *c = handle;
    if (!session_of(handle))
        return;
    sf_session_free(c->session);
    c->session = NULL;
    free(c);
}

fmi3Status fmi3EnterInitializationMode(fmi3Instance handle, fmi3Boolean tolerance_defined, fmi3Float64 tolerance,
                                       fmi3Float64 start_time, fmi3Boolean stop_time_defined, fmi3Float64 stop_time)
{
    (void)tolerance_defined, (void)tolerance, (void)stop_time_defined, (void)stop_time;
    SESSION(handle);
    const sf_status status = sf_set_start_time(s, __func__, start_time);
    return (fmi3Status)(status == SF_OK ? sf_enter_initialization(s, __func__) : status);
}

fmi3Status fmi3ExitInitializationMode(fmi3Instance handle)
{
    SESSION(handle);
    return (fmi3Status)sf_exit_initialization(s, __func__);
}

fmi3Status fmi3Terminate(fmi3Instance handle)
{
    SESSION(handle);
    return (fmi3Status)sf_terminate(s, __func__);
}

fmi3Status fmi3Reset(fmi3Instance handle)
{
    SESSION(handle);
    return (fmi3Status)sf_reset(s);
}

fmi3Status fmi3DoStep(fmi3Instance handle, fmi3Float64 time, fmi3Float64 step_size, fmi3Boolean no_set_state_prior,
                      fmi3Boolean *event_handling_needed, fmi3Boolean *terminate_simulation, fmi3Boolean *early_return,
                      fmi3Float64 *last_successful_time)
{
    (void)no_set_state_prior;
    SESSION(handle);
    if (!event_handling_needed || !terminate_simulation || !early_return || !last_successful_time)
        return refuse_null(s, __func__);
    const sf_status status = sf_do_step(s, __func__, time, step_size);
    *event_handling_needed = *terminate_simulation = *early_return = false;
    *last_successful_time = s->run->time;
    return (fmi3Status)status;
}

/* -- values -------------------------------------------------------------------------------------------------------------------- */

fmi3Status fmi3GetFloat64(fmi3Instance handle, const fmi3ValueReference references[], size_t count, fmi3Float64 values[],
                          size_t value_count)
{
    SESSION(handle);
    return (fmi3Status)sf_get_reals(s, references, count, values, value_count);
}

fmi3Status fmi3SetFloat64(fmi3Instance handle, const fmi3ValueReference references[], size_t count, const fmi3Float64 values[],
                          size_t value_count)
{
    SESSION(handle);
    return (fmi3Status)sf_set_reals(s, references, count, values, value_count);
}

/* Values of arrays stand one behind the other, as those of fmi3GetFloat64 do. All are taken, or none. */
#define NUMBERS(type, name, wide, kind)                                                                                           \
    fmi3Status fmi3Get##type(fmi3Instance handle, const fmi3ValueReference references[], size_t count, fmi3##type values[],       \
                             size_t value_count)                                                                                  \
    {                                                                                                                             \
        SESSION(handle);                                                                                                          \
        if ((count && !references) || (value_count && !values))                                                                   \
            return refuse_null(s, __func__);                                                                                      \
        sf_status status = sf_check_count(s, references, count, kind, value_count);                                               \
        for (size_t i = 0, place = 0; i < count && status == SF_OK; i++)                                                          \
            for (int32_t k = 0; k < sf_element_count(references[i], kind) && status == SF_OK; k++, place++) {                     \
                wide value = 0;                                                                                                   \
                status = sf_get_##name(s, references[i], kind, k, &value);                                                        \
                if (status == SF_OK)                                                                                              \
                    values[place] = (fmi3##type)value;                                                                            \
            }                                                                                                                     \
        return (fmi3Status)status;                                                                                                \
    }                                                                                                                             \
    fmi3Status fmi3Set##type(fmi3Instance handle, const fmi3ValueReference references[], size_t count, const fmi3##type values[], \
                             size_t value_count)                                                                                  \
    {                                                                                                                             \
        SESSION(handle);                                                                                                          \
        if ((count && !references) || (value_count && !values))                                                                   \
            return refuse_null(s, __func__);                                                                                      \
        sf_status status = sf_check_count(s, references, count, kind, value_count);                                               \
        for (size_t i = 0, place = 0; i < count && status == SF_OK; i++)                                                          \
            for (int32_t k = 0; k < sf_element_count(references[i], kind) && status == SF_OK; k++, place++)                       \
                status = sf_check_##name(s, references[i], kind, k, (wide)values[place]);                                         \
        for (size_t i = 0, place = 0; i < count && status == SF_OK; i++)                                                          \
            for (int32_t k = 0; k < sf_element_count(references[i], kind); k++, place++)                                          \
                sf_set_##name(s, references[i], kind, k, (wide)values[place]);                                                    \
        return (fmi3Status)status;                                                                                                \
    }

NUMBERS(Int64, integer, int64_t, SF_INTEGER)
NUMBERS(Int8, integer, int64_t, SF_INT8)
NUMBERS(UInt8, integer, int64_t, SF_UINT8)
NUMBERS(Int16, integer, int64_t, SF_INT16)
NUMBERS(UInt16, integer, int64_t, SF_UINT16)
NUMBERS(Int32, integer, int64_t, SF_INT32)
NUMBERS(UInt32, integer, int64_t, SF_UINT32)
NUMBERS(UInt64, integer, int64_t, SF_UINT64)
NUMBERS(Boolean, boolean, bool, SF_BOOLEAN)
NUMBERS(Float32, float, float, SF_FLOAT32)

/* Texts are scalars. */
#define SCALARS(references, count, values, value_count)                                                                           \
    if ((count) && (!(references) || !(values)))                                                                                  \
        return refuse_null(s, __func__);                                                                                          \
    if ((value_count) != (count))                                                                                                 \
    return (fmi3Status)sf_wrong_count(s, (value_count), (count))

fmi3Status fmi3GetString(fmi3Instance handle, const fmi3ValueReference references[], size_t count, fmi3String values[],
                         size_t value_count)
{
    SESSION(handle);
    SCALARS(references, count, values, value_count);
    for (size_t i = 0; i < count; i++) {
        const sf_status status = sf_get_string(s, references[i], &values[i]);
        if (status != SF_OK)
            return (fmi3Status)status;
    }
    return fmi3OK;
}

fmi3Status fmi3SetString(fmi3Instance handle, const fmi3ValueReference references[], size_t count, const fmi3String values[],
                         size_t value_count)
{
    SESSION(handle);
    SCALARS(references, count, values, value_count);
    for (size_t i = 0; i < count; i++) {
        const sf_status status = sf_set_string(s, references[i], values[i]);
        if (status != SF_OK)
            return (fmi3Status)status;
    }
    return fmi3OK;
}

/* No variable has this type. */
fmi3Status fmi3GetBinary(fmi3Instance handle, const fmi3ValueReference references[], size_t count, size_t sizes[],
                         fmi3Binary values[], size_t value_count)
{
    (void)sizes, (void)values, (void)value_count;
    SESSION(handle);
    return count && references ? (fmi3Status)sf_unknown_reference(s, references[0], "Binary") : fmi3OK;
}

fmi3Status fmi3SetBinary(fmi3Instance handle, const fmi3ValueReference references[], size_t count, const size_t sizes[],
                         const fmi3Binary values[], size_t value_count)
{
    (void)sizes, (void)values, (void)value_count;
    SESSION(handle);
    return count && references ? (fmi3Status)sf_unknown_reference(s, references[0], "Binary") : fmi3OK;
}

/* -- state, derivatives ------------------------------------------------------------------------------------------------------------ */

fmi3Status fmi3GetFMUState(fmi3Instance handle, fmi3FMUState *state)
{
    SESSION(handle);
    return (fmi3Status)sf_state_get(s, (sf_state **)state);
}

fmi3Status fmi3SetFMUState(fmi3Instance handle, fmi3FMUState state)
{
    SESSION(handle);
    return (fmi3Status)sf_state_set(s, state);
}

fmi3Status fmi3FreeFMUState(fmi3Instance handle, fmi3FMUState *state)
{
    SESSION(handle);
    return (fmi3Status)sf_state_free(s, (sf_state **)state);
}

fmi3Status fmi3SerializedFMUStateSize(fmi3Instance handle, fmi3FMUState state, size_t *size)
{
    SESSION(handle);
    return (fmi3Status)sf_state_size(s, state, size);
}

fmi3Status fmi3SerializeFMUState(fmi3Instance handle, fmi3FMUState state, fmi3Byte bytes[], size_t size)
{
    SESSION(handle);
    return (fmi3Status)sf_state_serialize(s, state, bytes, size);
}

fmi3Status fmi3DeserializeFMUState(fmi3Instance handle, const fmi3Byte bytes[], size_t size, fmi3FMUState *state)
{
    SESSION(handle);
    return (fmi3Status)sf_state_deserialize(s, bytes, size, (sf_state **)state);
}

fmi3Status fmi3GetDirectionalDerivative(fmi3Instance handle, const fmi3ValueReference unknowns[], size_t unknown_count,
                                        const fmi3ValueReference knowns[], size_t known_count, const fmi3Float64 seed[],
                                        size_t seed_count, fmi3Float64 sensitivity[], size_t sensitivity_count)
{
    SESSION(handle);
    const sf_status status = sf_check_call(s, SF_CALL_DERIVATIVE, __func__);
    if (status != SF_OK)
        return (fmi3Status)status;
    return (fmi3Status)sf_directional_derivative(s, unknowns, unknown_count, knowns, known_count, seed, seed_count, sensitivity,
                                                 sensitivity_count);
}

fmi3Status fmi3GetAdjointDerivative(fmi3Instance handle, const fmi3ValueReference unknowns[], size_t unknown_count,
                                    const fmi3ValueReference knowns[], size_t known_count, const fmi3Float64 seed[],
                                    size_t seed_count, fmi3Float64 sensitivity[], size_t sensitivity_count)
{
    SESSION(handle);
    const sf_status status = sf_check_call(s, SF_CALL_DERIVATIVE, __func__);
    if (status != SF_OK)
        return (fmi3Status)status;
    return (fmi3Status)sf_adjoint_derivative(s, unknowns, unknown_count, knowns, known_count, seed, seed_count, sensitivity,
                                             sensitivity_count);
}

/* -- what is not supported --------------------------------------------------------------------------------------------------------- */

#define REFUSED(function, reason, ...)                                                                                            \
    fmi3Status function(fmi3Instance handle, __VA_ARGS__)                                                                         \
    {                                                                                                                             \
        return refuse(handle, #function, reason);                                                                                 \
    }

#ifdef __GNUC__
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif

fmi3Status fmi3EnterConfigurationMode(fmi3Instance handle)
{
    return refuse(handle, __func__, "this FMU has no structural parameters");
}

fmi3Status fmi3ExitConfigurationMode(fmi3Instance handle)
{
    return refuse(handle, __func__, "this FMU has no structural parameters");
}

fmi3Status fmi3EnterEventMode(fmi3Instance handle)
{
    return refuse(handle, __func__, EVENTS);
}

fmi3Status fmi3EnterStepMode(fmi3Instance handle)
{
    return refuse(handle, __func__, EVENTS);
}

fmi3Status fmi3EvaluateDiscreteStates(fmi3Instance handle)
{
    return refuse(handle, __func__, EVENTS);
}

fmi3Status fmi3EnterContinuousTimeMode(fmi3Instance handle)
{
    return refuse(handle, __func__, MODEL_EXCHANGE);
}

REFUSED(fmi3UpdateDiscreteStates, EVENTS, fmi3Boolean *need_update, fmi3Boolean *terminate, fmi3Boolean *nominals_changed,
        fmi3Boolean *values_changed, fmi3Boolean *next_event_defined, fmi3Float64 *next_event)
REFUSED(fmi3GetOutputDerivatives, "outputs have no derivatives by time (maxOutputDerivativeOrder is 0)",
        const fmi3ValueReference references[], size_t count, const fmi3Int32 orders[], fmi3Float64 values[], size_t value_count)
REFUSED(fmi3GetNumberOfVariableDependencies, "providesPerElementDependencies is false", fmi3ValueReference reference,
        size_t *count)
REFUSED(fmi3GetVariableDependencies, "providesPerElementDependencies is false", fmi3ValueReference dependent,
        size_t dependent_elements[], fmi3ValueReference independents[], size_t independent_elements[],
        fmi3DependencyKind kinds[], size_t count)
REFUSED(fmi3ActivateModelPartition, SCHEDULED_EXECUTION, fmi3ValueReference clock, fmi3Float64 time)
REFUSED(fmi3GetClock, CLOCKS, const fmi3ValueReference references[], size_t count, fmi3Clock values[])
REFUSED(fmi3SetClock, CLOCKS, const fmi3ValueReference references[], size_t count, const fmi3Clock values[])
REFUSED(fmi3GetIntervalDecimal, CLOCKS, const fmi3ValueReference references[], size_t count, fmi3Float64 intervals[],
        fmi3IntervalQualifier qualifiers[])
REFUSED(fmi3GetIntervalFraction, CLOCKS, const fmi3ValueReference references[], size_t count, fmi3UInt64 counters[],
        fmi3UInt64 resolutions[], fmi3IntervalQualifier qualifiers[])
REFUSED(fmi3GetShiftDecimal, CLOCKS, const fmi3ValueReference references[], size_t count, fmi3Float64 shifts[])
REFUSED(fmi3GetShiftFraction, CLOCKS, const fmi3ValueReference references[], size_t count, fmi3UInt64 counters[],
        fmi3UInt64 resolutions[])
REFUSED(fmi3SetIntervalDecimal, CLOCKS, const fmi3ValueReference references[], size_t count, const fmi3Float64 intervals[])
REFUSED(fmi3SetIntervalFraction, CLOCKS, const fmi3ValueReference references[], size_t count, const fmi3UInt64 counters[],
        const fmi3UInt64 resolutions[])
REFUSED(fmi3SetShiftDecimal, CLOCKS, const fmi3ValueReference references[], size_t count, const fmi3Float64 shifts[])
REFUSED(fmi3SetShiftFraction, CLOCKS, const fmi3ValueReference references[], size_t count, const fmi3UInt64 counters[],
        const fmi3UInt64 resolutions[])
REFUSED(fmi3CompletedIntegratorStep, MODEL_EXCHANGE, fmi3Boolean no_set_state_prior, fmi3Boolean *enter_event_mode,
        fmi3Boolean *terminate_simulation)
REFUSED(fmi3SetTime, MODEL_EXCHANGE, fmi3Float64 time)
REFUSED(fmi3SetContinuousStates, MODEL_EXCHANGE, const fmi3Float64 states[], size_t count)
REFUSED(fmi3GetContinuousStateDerivatives, MODEL_EXCHANGE, fmi3Float64 derivatives[], size_t count)
REFUSED(fmi3GetEventIndicators, MODEL_EXCHANGE, fmi3Float64 indicators[], size_t count)
REFUSED(fmi3GetContinuousStates, MODEL_EXCHANGE, fmi3Float64 states[], size_t count)
REFUSED(fmi3GetNominalsOfContinuousStates, MODEL_EXCHANGE, fmi3Float64 nominals[], size_t count)
REFUSED(fmi3GetNumberOfEventIndicators, MODEL_EXCHANGE, size_t *count)
REFUSED(fmi3GetNumberOfContinuousStates, MODEL_EXCHANGE, size_t *count)
