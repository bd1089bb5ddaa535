/* Life of an instance: memory and the state machine. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC UINT64_C(0x7366316e61746976)

/* The state machine: phases that allow a call, and what to do in another. Every other call is allowed everywhere. */
static const struct {
    unsigned phases;
    const char *hint;
} CALLS[SF_CALL_COUNT] = {
    [SF_CALL_SETUP] = {SF_INSTANTIATED, "reset the instance first"},
    [SF_CALL_ENTER_INITIALIZATION] = {SF_INSTANTIATED, "reset the instance first"},
    [SF_CALL_EXIT_INITIALIZATION] = {SF_INITIALIZATION, "enter initialization mode first"},
    [SF_CALL_DO_STEP] = {SF_STEPPING, "initialize first"},
    [SF_CALL_TERMINATE] = {SF_STEPPING, "there is no run to end"},
    [SF_CALL_DERIVATIVE] = {SF_INITIALIZATION | SF_STEPPING | SF_TERMINATED, "enter initialization mode first"},
};

static const char *phase_name(int32_t phase)
{
    switch (phase) {
    case SF_INSTANTIATED: return "instantiated";
    case SF_INITIALIZATION: return "in initialization mode";
    case SF_STEPPING: return "stepping";
    default: return "terminated";
    }
}

/* -- memory ---------------------------------------------------------------------------------------------------------- */

/* Lays arrays out one behind the other; with a base of NULL it only counts. */
typedef struct {
    unsigned char *base;
    size_t used;
} arena;

static void *take(arena *from, size_t count, size_t size)
{
    void *place = from->base ? from->base + from->used : NULL;
    const size_t bytes = count * size;
    from->used += (bytes + SF_ALIGNMENT - 1) / SF_ALIGNMENT * SF_ALIGNMENT;
    return place;
}

static size_t lay_out(sf_session *s, unsigned char *base)
{
    const sf_model *m = s->model;
    const size_t members = (size_t)s->members, latents = (size_t)s->latent_dim;
    const size_t conditions = (size_t)m->condition_dim, outputs = (size_t)m->output_dim, hidden = (size_t)m->hidden_dim;
    arena memory = {base, 0};
    take(&memory, 1, sizeof(sf_session));
    const size_t start = memory.used;
    s->run = take(&memory, 1, sizeof(sf_run));
    s->condition = take(&memory, conditions, sizeof(double));
    s->condition_used = take(&memory, conditions, sizeof(double));
    s->condition_start = take(&memory, conditions, sizeof(double));
    s->latent = take(&memory, latents, sizeof(double));
    s->latent_used = take(&memory, latents, sizeof(double));
    s->kept = take(&memory, (size_t)sf_surrogate_data.kept_count, sizeof(double));
    s->outputs = take(&memory, members * outputs, sizeof(real));
    s->hidden = take(&memory, members * hidden, sizeof(real));
    s->hidden_before = take(&memory, members * hidden, sizeof(real));
    s->run_size = memory.used - start;
    s->x = take(&memory, members * conditions, sizeof(real));
    s->z = take(&memory, members * latents, sizeof(real));
    s->y_next = take(&memory, members * outputs, sizeof(real));
    s->h_next = take(&memory, members * hidden, sizeof(real));
    s->h_other = take(&memory, members * hidden, sizeof(real));
    const size_t columns = (size_t)s->column_room;
    s->dx = take(&memory, (1 + columns) * conditions, sizeof(real));
    s->dy = take(&memory, (1 + columns) * outputs, sizeof(real));
    s->dh = take(&memory, columns * hidden, sizeof(real));
    s->dh_next = take(&memory, columns * hidden, sizeof(real));
    s->point = take(&memory, (size_t)(m->step_point_dim > m->initial_point_dim ? m->step_point_dim : m->initial_point_dim),
                    sizeof(real));
    s->statistics = take(&memory, outputs * (size_t)(2 + sf_surrogate_data.quantile_count), sizeof(double));
    s->sorted = take(&memory, members, sizeof(double));
    const size_t members_need = m->work_size(s->members), columns_need = m->work_size(s->column_room);
    s->work = take(&memory, members_need > columns_need ? members_need : columns_need, 1);
    return memory.used;
}

/* Columns of a Jacobian that go together: as many as there are, as long as their memory is small. */
static int32_t column_room(const sf_model *m)
{
    const size_t each = ((size_t)m->condition_dim + (size_t)m->output_dim + 2 * (size_t)m->hidden_dim) * sizeof(real);
    int32_t room = m->condition_dim < SF_COLUMNS_MOST ? m->condition_dim : SF_COLUMNS_MOST;
    while (room > 1 && m->work_size(room) + (size_t)room * each > SF_COLUMN_BYTES_MOST)
        room--;
    return room > 1 ? room : 1;
}

static void take_start_values(sf_session *s)
{
    memset(s->run, 0, s->run_size);
    s->run->phase = SF_INSTANTIATED;
    s->run->z_mode = SF_SAMPLED;
    s->run->domain_policy = SF_WARN;
    s->run->stale = 1;
    for (int32_t i = 0; i < s->model->condition_dim; i++)
        s->condition[i] = sf_surrogate_data.start[i];
    for (int32_t i = 0; i < sf_surrogate_data.kept_count; i++)
        s->kept[i] = sf_surrogate_data.kept_start[i];
    sf_update_kept(s);
    s->drawn_step = -1;
    s->statistics_are_stale = 1;
    sf_leave_point(s);
}

sf_session *sf_session_new(sf_log log, void *log_owner)
{
    sf_session plan;
    memset(&plan, 0, sizeof plan);
    plan.model = sf_choose_model(&plan.kernels);
    plan.members = sf_surrogate_data.member_count;
    plan.latent_dim = plan.model->run_latent_dim + plan.model->step_latent_dim;
    plan.column_room = column_room(plan.model);
    const size_t size = lay_out(&plan, NULL);
    /* The block is aligned by hand: aligned_alloc is missing on Windows. The byte before the block says how far. */
    unsigned char *raw = calloc(1, size + SF_ALIGNMENT);
    if (!raw)
        return NULL;
    const size_t shift = SF_ALIGNMENT - (uintptr_t)raw % SF_ALIGNMENT;
    unsigned char *block = raw + shift;
    block[-1] = (unsigned char)shift;
    lay_out(&plan, block);
    plan.magic = MAGIC;
    plan.log = log;
    plan.log_owner = log_owner;
    sf_session *s = (sf_session *)(void *)block;
    *s = plan;
    for (int32_t i = 0; i < sf_surrogate_data.variable_count; i++) {
        const sf_variable *v = &sf_surrogate_data.variables[i];
        if (v->role != SF_CONDITION || v->causality != SF_INPUT)
            continue;
        for (int32_t k = 0; k < v->size; k++)
            s->input_dim += !v->elements || v->elements[k].role == SF_CONDITION;
    }
    take_start_values(s);
    return s;
}

void sf_session_free(sf_session *s)
{
    unsigned char *block = (unsigned char *)s;
    s->magic = 0;
    free(block - block[-1]);
}

bool sf_session_is_live(const sf_session *s)
{
    return s && (uintptr_t)s % SF_ALIGNMENT == 0 && s->magic == MAGIC;
}

/* -- the state machine ------------------------------------------------------------------------------------------------- */

bool sf_is_before_run(const sf_session *s)
{
    return (s->run->phase & (SF_INSTANTIATED | SF_INITIALIZATION)) != 0;
}

sf_status sf_check_call(sf_session *s, sf_call call, const char *function)
{
    if (CALLS[call].phases & (unsigned)s->run->phase)
        return SF_OK;
    return sf_refuse(s, SF_ERROR, "CallOrderError", "%s is not allowed while the FMU is %s: %s", function,
                     phase_name(s->run->phase), CALLS[call].hint);
}

sf_status sf_set_start_time(sf_session *s, const char *function, double start_time)
{
    const sf_status status = sf_check_call(s, SF_CALL_SETUP, function);
    if (status != SF_OK)
        return status;
    if (!sf_is_finite(start_time))
        return sf_refuse(s, SF_ERROR, "InputError", "%s: the start time %g is not finite", function, start_time);
    s->run->time = start_time;
    return SF_OK;
}

sf_status sf_enter_initialization(sf_session *s, const char *function)
{
    const sf_status status = sf_check_call(s, SF_CALL_ENTER_INITIALIZATION, function);
    if (status == SF_OK)
        s->run->phase = SF_INITIALIZATION;
    return status;
}

sf_status sf_exit_initialization(sf_session *s, const char *function)
{
    sf_status status = sf_check_call(s, SF_CALL_EXIT_INITIALIZATION, function);
    if (status == SF_OK)
        status = sf_start_run(s);
    if (status == SF_OK) {
        s->run->phase = SF_STEPPING;
        s->run->latents_written = 0;
    }
    return status == SF_DISCARD ? SF_ERROR : status; /* FMI knows no discard here */
}

sf_status sf_terminate(sf_session *s, const char *function)
{
    const sf_status status = sf_check_call(s, SF_CALL_TERMINATE, function);
    if (status == SF_OK)
        s->run->phase = SF_TERMINATED;
    return status;
}

sf_status sf_reset(sf_session *s)
{
    take_start_values(s);
    return SF_OK;
}
