/* The state of an instance as bytes: a head that names the FMU, a checksum, then the head and arrays of the run. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define STATE_MAGIC UINT64_C(0x7366737461746531)
#define FORMAT UINT64_C(0x3165746174736673) /* "sfstate1" */

typedef struct {
    uint64_t format, size, checksum; /* size: of all bytes; checksum: of those behind itself */
    char model_identifier[64], token[64];
} head;

struct sf_state {
    uint64_t magic;
    uint64_t size; /* of the bytes that follow */
};

static unsigned char *bytes_of(sf_state *state)
{
    return (unsigned char *)(state + 1);
}

/* FNV-1a, 64 bits: against truncation and damage, not against forgery. */
static uint64_t checksum(const unsigned char *bytes, size_t size)
{
    uint64_t sum = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001B3);
    return sum;
}

static const size_t SUMMED_FROM = offsetof(head, model_identifier);

static void copy_text(char target[64], const char *text)
{
    memset(target, 0, 64);
    const size_t length = strlen(text);
    memcpy(target, text, length < 63 ? length : 63);
}

static bool is_state(const sf_state *state)
{
    return state && state->magic == STATE_MAGIC;
}

static sf_status no_state(sf_session *s)
{
    return sf_refuse(s, SF_ERROR, "SnapshotError", "this is no FMU state that was got from an instance");
}

static sf_state *new_state(sf_session *s, size_t size)
{
    sf_state *state = malloc(sizeof *state + size);
    if (!state) {
        sf_refuse(s, SF_ERROR, "SessionError", "there is no memory for an FMU state of %lu bytes", (unsigned long)size);
        return NULL;
    }
    state->magic = STATE_MAGIC;
    state->size = size;
    return state;
}

sf_status sf_state_get(sf_session *s, sf_state **state)
{
    const size_t size = sizeof(head) + s->run_size;
    if (!state)
        return no_state(s);
    if (!*state) /* a state that is there already is overwritten (FMI 2.0.4, section 2.1.8) */
        *state = new_state(s, size);
    else if (!is_state(*state) || (*state)->size != size)
        return no_state(s);
    if (!*state)
        return SF_ERROR;
    head h;
    memset(&h, 0, sizeof h);
    h.format = FORMAT;
    h.size = size;
    copy_text(h.model_identifier, sf_surrogate_data.model_identifier);
    copy_text(h.token, sf_surrogate_data.token);
    memcpy(bytes_of(*state), &h, sizeof h);
    memcpy(bytes_of(*state) + sizeof h, s->run, s->run_size);
    return SF_OK;
}

sf_status sf_state_set(sf_session *s, const sf_state *state)
{
    if (!is_state(state) || state->size != sizeof(head) + s->run_size)
        return no_state(s);
    memcpy(s->run, (const unsigned char *)(state + 1) + sizeof(head), s->run_size);
    s->drawn_step = -1;
    s->statistics_are_stale = 1;
    sf_leave_point(s);
    return SF_OK;
}

sf_status sf_state_free(sf_session *s, sf_state **state)
{
    if (!state || !*state)
        return SF_OK;
    if (!is_state(*state))
        return no_state(s);
    (*state)->magic = 0;
    free(*state);
    *state = NULL;
    return SF_OK;
}

sf_status sf_state_size(sf_session *s, const sf_state *state, size_t *size)
{
    if (!is_state(state) || !size)
        return no_state(s);
    *size = (size_t)state->size;
    return SF_OK;
}

sf_status sf_state_serialize(sf_session *s, const sf_state *state, unsigned char *bytes, size_t size)
{
    if (!is_state(state) || !bytes)
        return no_state(s);
    if (size < state->size)
        return sf_refuse(s, SF_ERROR, "SnapshotError", "%lu bytes are too few for an FMU state of %lu bytes", (unsigned long)size,
                         (unsigned long)state->size);
    memcpy(bytes, state + 1, (size_t)state->size);
    head h;
    memcpy(&h, bytes, sizeof h);
    h.checksum = checksum(bytes + SUMMED_FROM, (size_t)state->size - SUMMED_FROM);
    memcpy(bytes, &h, sizeof h);
    return SF_OK;
}

static bool all_finite(const double *values, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (!sf_is_finite(values[i]))
            return false;
    return true;
}

/* Whether the head of a run holds what the code relies on; a checksum alone does not say that it was made here. */
static bool is_sane(const sf_session *s, const unsigned char *bytes)
{
    sf_run run;
    memcpy(&run, bytes, sizeof run);
    const int32_t phases[] = {SF_INSTANTIATED, SF_INITIALIZATION, SF_STEPPING, SF_TERMINATED};
    bool known = false;
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
        known |= run.phase == phases[i];
    const double *const conditions[] = {s->condition, s->condition_start};
    double value;
    for (size_t c = 0; c < sizeof conditions / sizeof conditions[0]; c++)
        for (int32_t i = 0; i < s->model->condition_dim; i++) {
            memcpy(&value, bytes + ((const unsigned char *)(conditions[c] + i) - (const unsigned char *)s->run), sizeof value);
            if (!all_finite(&value, 1))
                return false;
        }
    return known && run.z_mode >= SF_SAMPLED && run.z_mode <= SF_EXTERNAL && run.domain_policy >= SF_WARN &&
           run.domain_policy <= SF_REFUSE && run.seed >= 0 && run.seed <= sf_surrogate_data.seed_max && run.step_index >= 0 &&
           run.substeps >= 0 && run.substeps <= run.step_index && sf_is_finite(run.time) && run.domain_distance >= 0.0 &&
           run.tuned_distance >= 0.0 && sf_is_finite(run.tuned_distance);
}

sf_status sf_state_deserialize(sf_session *s, const unsigned char *bytes, size_t size, sf_state **state)
{
    head h;
    if (!state)
        return no_state(s);
    const bool whole = bytes && size >= sizeof h;
    if (whole)
        memcpy(&h, bytes, sizeof h);
    if (!whole || h.format != FORMAT || h.size != size || h.checksum != checksum(bytes + SUMMED_FROM, size - SUMMED_FROM))
        return sf_refuse(s, SF_ERROR, "SnapshotError",
                         "the FMU state of %lu bytes is damaged or truncated; use the bytes that were serialized",
                         (unsigned long)size);
    h.model_identifier[63] = h.token[63] = '\0';
    char token[64];
    copy_text(token, sf_surrogate_data.token);
    if (memcmp(h.token, token, sizeof token) != 0 || size != sizeof h + s->run_size)
        return sf_refuse(s, SF_ERROR, "SnapshotError",
                         "the FMU state is one of '%s', this FMU is '%s'; set it in an FMU of that build", h.model_identifier,
                         sf_surrogate_data.model_identifier);
    if (!is_sane(s, bytes + sizeof h))
        return sf_refuse(s, SF_ERROR, "SnapshotError", "the FMU state holds values that no run can have");
    if (*state && (!is_state(*state) || (*state)->size != size))
        return no_state(s);
    if (!*state)
        *state = new_state(s, size);
    if (!*state)
        return SF_ERROR;
    memcpy(bytes_of(*state), bytes, size);
    return SF_OK;
}
