/* FMI 2.0 over a session: every function of the standard; what this FMU does not do is refused with a sentence. */
#include "fmi2Functions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

typedef struct {
    sf_session *session;
    fmi2CallbackLogger logger;
    fmi2ComponentEnvironment environment;
    char name[128];
    char escaped[2048];
} component;

/* The message of the standard's logger is a printf format, so percent signs are doubled. */
static void escape(const char *text, char *escaped, size_t size)
{
    size_t used = 0;
    for (; *text && used + 3 < size; text++) {
        if (*text == '%')
            escaped[used++] = '%';
        escaped[used++] = *text;
    }
    escaped[used] = '\0';
}

static void deliver(void *owner, sf_status status, const char *category, const char *message)
{
    component *c = owner;
    escape(message, c->escaped, sizeof c->escaped);
    c->logger(c->environment, c->name, (fmi2Status)status, category, c->escaped);
}

/* The session behind a handle, or NULL for one that is none. */
static sf_session *session_of(fmi2Component handle)
{
    component *c = handle;
    return c && sf_session_is_live(c->session) ? c->session : NULL;
}

#define SESSION(handle)                                                                                                           \
    sf_session *const s = session_of(handle);                                                                                     \
    if (!s)                                                                                                                       \
    return fmi2Error

#define REFUSE_UNSUPPORTED(reason)                                                                                                \
    return (fmi2Status)sf_refuse(s, SF_ERROR, "CallOrderError", "%s is not supported: " reason, __func__)

static const char MODEL_EXCHANGE[] = "this is an FMU for co-simulation, not for model exchange";

static fmi2Status refuse_model_exchange(fmi2Component handle, const char *function)
{
    SESSION(handle);
    return (fmi2Status)sf_refuse(s, SF_ERROR, "CallOrderError", "%s is not supported: %s", function, MODEL_EXCHANGE);
}

static fmi2Status refuse_null(sf_session *s, const char *function)
{
    return (fmi2Status)sf_refuse(s, SF_ERROR, "InputError", "%s: a null pointer was given", function);
}

/* -- common functions -------------------------------------------------------------------------------------------------- */

const char *fmi2GetTypesPlatform(void)
{
    return fmi2TypesPlatform;
}

const char *fmi2GetVersion(void)
{
    return fmi2Version;
}

fmi2Status fmi2SetDebugLogging(fmi2Component handle, fmi2Boolean on, size_t count, const fmi2String categories[])
{
    SESSION(handle);
    return (fmi2Status)sf_set_logging(s, on != fmi2False, count, categories);
}

fmi2Component fmi2Instantiate(fmi2String name, fmi2Type type, fmi2String guid, fmi2String resources,
                              const fmi2CallbackFunctions *functions, fmi2Boolean visible, fmi2Boolean logging_on)
{
    (void)resources, (void)visible, (void)logging_on; /* warnings and refusals are no debug messages: they are always told */
    const fmi2CallbackLogger logger = functions ? functions->logger : NULL;
    const fmi2ComponentEnvironment environment = functions ? functions->componentEnvironment : NULL;
    char reason[512] = "";
    if (!name || !*name)
        snprintf(reason, sizeof reason, "InputError: fmi2Instantiate: the instance needs a name");
    else if (type != fmi2CoSimulation)
        snprintf(reason, sizeof reason, "InputError: fmi2Instantiate: %s", MODEL_EXCHANGE);
    else if (!guid || strcmp(guid, sf_surrogate_data.token) != 0)
        snprintf(reason, sizeof reason,
                 "InputError: fmi2Instantiate: the GUID is %.100s, this library belongs to the model description with %s",
                 guid ? guid : "NULL", sf_surrogate_data.token);
    component *c = *reason ? NULL : calloc(1, sizeof *c);
    if (c) {
        c->logger = logger;
        c->environment = environment;
        snprintf(c->name, sizeof c->name, "%s", name);
        c->session = sf_session_new(logger ? deliver : NULL, c);
    }
    if (c && c->session)
        return c;
    free(c);
    if (!*reason)
        snprintf(reason, sizeof reason, "SessionError: fmi2Instantiate: there is not enough memory");
    if (logger) {
        char escaped[1024];
        escape(reason, escaped, sizeof escaped);
        logger(environment, name ? name : "", fmi2Error, "logStatusError", escaped);
    }
    return NULL;
}

void fmi2FreeInstance(fmi2Component handle)
{
    component *c = handle;
    if (!session_of(handle))
        return;
    sf_session_free(c->session);
    c->session = NULL;
    free(c);
}

fmi2Status fmi2SetupExperiment(fmi2Component handle, fmi2Boolean tolerance_defined, fmi2Real tolerance, fmi2Real start_time,
                               fmi2Boolean stop_time_defined, fmi2Real stop_time)
{
    (void)tolerance_defined, (void)tolerance, (void)stop_time_defined, (void)stop_time;
    SESSION(handle);
    return (fmi2Status)sf_set_start_time(s, __func__, start_time);
}

fmi2Status fmi2EnterInitializationMode(fmi2Component handle)
{
    SESSION(handle);
    return (fmi2Status)sf_enter_initialization(s, __func__);
}

fmi2Status fmi2ExitInitializationMode(fmi2Component handle)
{
    SESSION(handle);
    return (fmi2Status)sf_exit_initialization(s, __func__);
}

fmi2Status fmi2Terminate(fmi2Component handle)
{
    SESSION(handle);
    return (fmi2Status)sf_terminate(s, __func__);
}

fmi2Status fmi2Reset(fmi2Component handle)
{
    SESSION(handle);
    return (fmi2Status)sf_reset(s);
}

/* -- values ---------------------------------------------------------------------------------------------------------------- */

fmi2Status fmi2GetReal(fmi2Component handle, const fmi2ValueReference references[], size_t count, fmi2Real values[])
{
    SESSION(handle);
    return (fmi2Status)sf_get_reals(s, references, count, values, count);
}

fmi2Status fmi2GetInteger(fmi2Component handle, const fmi2ValueReference references[], size_t count, fmi2Integer values[])
{
    SESSION(handle);
    if (count && (!references || !values))
        return refuse_null(s, __func__);
    for (size_t i = 0; i < count; i++) {
        int64_t value = 0;
        const sf_status status = sf_get_integer(s, references[i], SF_INTEGER, 0, &value);
        if (status != SF_OK)
            return (fmi2Status)status;
        values[i] = (fmi2Integer)value;
    }
    return fmi2OK;
}

fmi2Status fmi2GetBoolean(fmi2Component handle, const fmi2ValueReference references[], size_t count, fmi2Boolean values[])
{
    SESSION(handle);
    if (count && (!references || !values))
        return refuse_null(s, __func__);
    for (size_t i = 0; i < count; i++) {
        bool value = false;
        const sf_status status = sf_get_boolean(s, references[i], SF_BOOLEAN, 0, &value);
        if (status != SF_OK)
            return (fmi2Status)status;
        values[i] = value ? fmi2True : fmi2False;
    }
    return fmi2OK;
}

fmi2Status fmi2GetString(fmi2Component handle, const fmi2ValueReference references[], size_t count, fmi2String values[])
{
    SESSION(handle);
    if (count && (!references || !values))
        return refuse_null(s, __func__);
    for (size_t i = 0; i < count; i++) {
        const sf_status status = sf_get_string(s, references[i], &values[i]);
        if (status != SF_OK)
            return (fmi2Status)status;
    }
    return fmi2OK;
}

fmi2Status fmi2SetReal(fmi2Component handle, const fmi2ValueReference references[], size_t count, const fmi2Real values[])
{
    SESSION(handle);
    return (fmi2Status)sf_set_reals(s, references, count, values, count);
}

fmi2Status fmi2SetInteger(fmi2Component handle, const fmi2ValueReference references[], size_t count, const fmi2Integer values[])
{
    SESSION(handle);
    if (count && (!references || !values))
        return refuse_null(s, __func__);
    for (size_t i = 0; i < count; i++) {
        const sf_status status = sf_check_integer(s, references[i], SF_INTEGER, 0, values[i]);
        if (status != SF_OK)
            return (fmi2Status)status;
    }
    for (size_t i = 0; i < count; i++)
        sf_set_integer(s, references[i], SF_INTEGER, 0, values[i]);
    return fmi2OK;
}

fmi2Status fmi2SetBoolean(fmi2Component handle, const fmi2ValueReference references[], size_t count, const fmi2Boolean values[])
{
    SESSION(handle);
    if (count && (!references || !values))
        return refuse_null(s, __func__);
    for (size_t i = 0; i < count; i++) {
        const sf_status status = sf_check_boolean(s, references[i], SF_BOOLEAN, 0, values[i] != fmi2False);
        if (status != SF_OK)
            return (fmi2Status)status;
    }
    for (size_t i = 0; i < count; i++)
        sf_set_boolean(s, references[i], SF_BOOLEAN, 0, values[i] != fmi2False);
    return fmi2OK;
}

fmi2Status fmi2SetString(fmi2Component handle, const fmi2ValueReference references[], size_t count, const fmi2String values[])
{
    SESSION(handle);
    if (count && (!references || !values))
        return refuse_null(s, __func__);
    for (size_t i = 0; i < count; i++) {
        const sf_status status = sf_set_string(s, references[i], values[i]);
        if (status != SF_OK)
            return (fmi2Status)status;
    }
    return fmi2OK;
}

/* -- state ---------------------------------------------------------------------------------------------------------------- */

fmi2Status fmi2GetFMUstate(fmi2Component handle, fmi2FMUstate *state)
{
    SESSION(handle);
    return (fmi2Status)sf_state_get(s, (sf_state **)state);
}

fmi2Status fmi2SetFMUstate(fmi2Component handle, fmi2FMUstate state)
{
    SESSION(handle);
    return (fmi2Status)sf_state_set(s, state);
}

fmi2Status fmi2FreeFMUstate(fmi2Component handle, fmi2FMUstate *state)
{
    SESSION(handle);
    return (fmi2Status)sf_state_free(s, (sf_state **)state);
}

fmi2Status fmi2SerializedFMUstateSize(fmi2Component handle, fmi2FMUstate state, size_t *size)
{
    SESSION(handle);
    return (fmi2Status)sf_state_size(s, state, size);
}

fmi2Status fmi2SerializeFMUstate(fmi2Component handle, fmi2FMUstate state, fmi2Byte bytes[], size_t size)
{
    SESSION(handle);
    return (fmi2Status)sf_state_serialize(s, state, (unsigned char *)bytes, size);
}

fmi2Status fmi2DeSerializeFMUstate(fmi2Component handle, const fmi2Byte bytes[], size_t size, fmi2FMUstate *state)
{
    SESSION(handle);
    return (fmi2Status)sf_state_deserialize(s, (const unsigned char *)bytes, size, (sf_state **)state);
}

fmi2Status fmi2GetDirectionalDerivative(fmi2Component handle, const fmi2ValueReference unknowns[], size_t unknown_count,
                                        const fmi2ValueReference knowns[], size_t known_count, const fmi2Real seed[],
                                        fmi2Real sensitivity[])
{
    SESSION(handle);
    const sf_status status = sf_check_call(s, SF_CALL_DERIVATIVE, __func__);
    if (status != SF_OK)
        return (fmi2Status)status;
    return (fmi2Status)sf_directional_derivative(s, unknowns, unknown_count, knowns, known_count, seed, known_count, sensitivity,
                                                 unknown_count);
}

/* -- co-simulation ----------------------------------------------------------------------------------------------------------- */

fmi2Status fmi2DoStep(fmi2Component handle, fmi2Real time, fmi2Real step_size, fmi2Boolean no_set_state_prior)
{
    (void)no_set_state_prior;
    SESSION(handle);
    return (fmi2Status)sf_do_step(s, __func__, time, step_size);
}

fmi2Status fmi2CancelStep(fmi2Component handle)
{
    SESSION(handle);
    REFUSE_UNSUPPORTED("steps are not asynchronous, so there is none to cancel");
}

fmi2Status fmi2SetRealInputDerivatives(fmi2Component handle, const fmi2ValueReference references[], size_t count,
                                       const fmi2Integer orders[], const fmi2Real values[])
{
    (void)references, (void)count, (void)orders, (void)values;
    SESSION(handle);
    REFUSE_UNSUPPORTED("inputs are held over a step (canInterpolateInputs is false)");
}

fmi2Status fmi2GetRealOutputDerivatives(fmi2Component handle, const fmi2ValueReference references[], size_t count,
                                        const fmi2Integer orders[], fmi2Real values[])
{
    (void)references, (void)count, (void)orders, (void)values;
    SESSION(handle);
    REFUSE_UNSUPPORTED("outputs have no derivatives by time (maxOutputDerivativeOrder is 0)");
}

static fmi2Status discard_status(fmi2Component handle, const char *function)
{
    SESSION(handle);
    return (fmi2Status)sf_refuse(s, SF_DISCARD, "CallOrderError", "%s: steps are not asynchronous, there is no such status",
                                 function);
}

fmi2Status fmi2GetStatus(fmi2Component handle, const fmi2StatusKind kind, fmi2Status *value)
{
    (void)kind, (void)value;
    return discard_status(handle, __func__);
}

fmi2Status fmi2GetRealStatus(fmi2Component handle, const fmi2StatusKind kind, fmi2Real *value)
{
    SESSION(handle);
    if (kind != fmi2LastSuccessfulTime || !value)
        return discard_status(handle, __func__);
    *value = s->run->time;
    return fmi2OK;
}

fmi2Status fmi2GetIntegerStatus(fmi2Component handle, const fmi2StatusKind kind, fmi2Integer *value)
{
    (void)kind, (void)value;
    return discard_status(handle, __func__);
}

fmi2Status fmi2GetBooleanStatus(fmi2Component handle, const fmi2StatusKind kind, fmi2Boolean *value)
{
    SESSION(handle);
    if (kind != fmi2Terminated || !value)
        return discard_status(handle, __func__);
    *value = fmi2False; /* a surrogate never wants to end the simulation */
    return fmi2OK;
}

fmi2Status fmi2GetStringStatus(fmi2Component handle, const fmi2StatusKind kind, fmi2String *value)
{
    (void)kind, (void)value;
    return discard_status(handle, __func__);
}

/* -- model exchange: masters that load every symbol find them here ------------------------------------------------------------- */

fmi2Status fmi2EnterEventMode(fmi2Component handle)
{
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2NewDiscreteStates(fmi2Component handle, fmi2EventInfo *info)
{
    (void)info;
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2EnterContinuousTimeMode(fmi2Component handle)
{
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2CompletedIntegratorStep(fmi2Component handle, fmi2Boolean no_set_state_prior, fmi2Boolean *enter_event_mode,
                                       fmi2Boolean *terminate_simulation)
{
    (void)no_set_state_prior, (void)enter_event_mode, (void)terminate_simulation;
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2SetTime(fmi2Component handle, fmi2Real time)
{
    (void)time;
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2SetContinuousStates(fmi2Component handle, const fmi2Real states[], size_t count)
{
    (void)states, (void)count;
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2GetDerivatives(fmi2Component handle, fmi2Real derivatives[], size_t count)
{
    (void)derivatives, (void)count;
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2GetEventIndicators(fmi2Component handle, fmi2Real indicators[], size_t count)
{
    (void)indicators, (void)count;
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2GetContinuousStates(fmi2Component handle, fmi2Real states[], size_t count)
{
    (void)states, (void)count;
    return refuse_model_exchange(handle, __func__);
}

fmi2Status fmi2GetNominalsOfContinuousStates(fmi2Component handle, fmi2Real nominals[], size_t count)
{
    (void)nominals, (void)count;
    return refuse_model_exchange(handle, __func__);
}
