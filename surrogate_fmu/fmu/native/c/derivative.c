/* Directional and adjoint derivatives through the steps of the last communication step, of the first member. */
#include <string.h>

#include "domain.h"
#include "session.h"

static void zero(real *values, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        values[i] = (real)0;
}

/* Where element k lies in x or y; -1 for one beside modelled elements of its array that is not modelled, by which and of which all
 * derivatives are 0. */
static int32_t place(const sf_variable *v, int32_t k)
{
    if (!v->elements)
        return v->offset + k;
    return v->elements[k].role == SF_KEPT ? -1 : v->elements[k].offset;
}

static double gathered(const real *values, const sf_variable *v, int32_t k)
{
    const int32_t at = place(v, k);
    return at < 0 ? 0.0 : (double)values[at];
}

static void scatter(real *values, const sf_variable *v, int32_t k, double value)
{
    const int32_t at = place(v, k);
    if (at >= 0)
        values[at] += (real)value;
}

/* Whether a variable can stand there; scatter or gather are the caller's. */
static sf_status check_unknown(sf_session *s, uint32_t reference, const sf_variable **found)
{
    const sf_variable *v = *found = sf_find_real(reference);
    if (!v)
        return sf_unknown_reference(s, reference, "Real");
    if (v->role != SF_RESULT)
        return sf_refuse(s, SF_ERROR, "InputError", "there is no derivative of '%s'; unknowns are outputs of the generator%s",
                         v->name, s->members > 1 ? " (of the first member)" : "");
    return SF_OK;
}

static sf_status check_known(sf_session *s, uint32_t reference, const sf_variable **found)
{
    const sf_variable *v = *found = sf_find_real(reference);
    if (!v)
        return sf_unknown_reference(s, reference, "Real");
    if (v->role != SF_CONDITION)
        return sf_refuse(s, SF_ERROR, "InputError", "there is no derivative by '%s'; knowns are inputs, and parameters before "
                         "the run", v->name);
    if (v->causality != SF_INPUT && s->run->substeps > 0)
        return sf_refuse(s, SF_ERROR, "InputError", "there is no derivative by the parameter '%s' once the run has begun: it acts "
                         "on all steps since the start; knowns are inputs", v->name);
    return SF_OK;
}

typedef sf_status (*check)(sf_session *, uint32_t, const sf_variable **);

static sf_status count_elements(sf_session *s, check is_good, const uint32_t *references, size_t count, size_t given)
{
    size_t elements = 0;
    for (size_t i = 0; i < count; i++) {
        const sf_variable *v;
        const sf_status status = is_good(s, references[i], &v);
        if (status != SF_OK)
            return status;
        elements += (size_t)v->size;
    }
    return elements == given ? SF_OK : sf_wrong_count(s, given, elements);
}

static sf_status check_finite(sf_session *s, const double *values, size_t count, const char *what)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++)
        sum += values[i] * 0.0;
    return sum == 0.0 ? SF_OK : sf_refuse(s, SF_DISCARD, "InputError", "%s is not finite", what);
}

static sf_status prepare(sf_session *s, const uint32_t *unknowns, size_t unknown_count, size_t unknown_elements,
                         const uint32_t *knowns, size_t known_count, size_t known_elements, const double *seed,
                         size_t seed_count, const double *sensitivity)
{
    if ((unknown_count && (!unknowns || !(seed && sensitivity))) || (known_count && (!knowns || !(seed && sensitivity))))
        return sf_refuse(s, SF_ERROR, "InputError", "a null pointer was given for references, seed or sensitivity");
    sf_status status = s->run->stale ? sf_start_run(s) : SF_OK;
    if (status == SF_OK)
        status = count_elements(s, check_unknown, unknowns, unknown_count, unknown_elements);
    if (status == SF_OK)
        status = count_elements(s, check_known, knowns, known_count, known_elements);
    if (status == SF_OK)
        status = check_finite(s, seed, seed_count, "a seed of the derivative");
    return status;
}

/* Hidden state before substep k: `hidden_before` for k = 0, else calculated again. */
static const real *hidden_at(sf_session *s, int32_t k)
{
    const real *from = s->hidden_before;
    real *to = s->h_next;
    for (int32_t i = 0; i < k; i++) {
        sf_draw_held_latents(s, i);
        s->model->step(s->x, s->z, from, s->y_next, to, s->work, 1);
        from = to;
        to = to == s->h_next ? s->h_other : s->h_next;
    }
    return from;
}

static void swap(real **a, real **b)
{
    real *kept = *a;
    *a = *b;
    *b = kept;
}

static void run_adjoint(sf_session *s)
{
    const sf_model *m = s->model;
    sf_take_held_condition(s);
    if (s->run->substeps == 0) {
        sf_draw_held_latents(s, 0);
        m->initial_adjoint(s->x, s->z, s->dy, NULL, s->dx, s->work, 1);
        return;
    }
    real *part = s->dx + m->condition_dim, *dh = s->dh, *dh_next = s->dh_next;
    zero(s->dx, m->condition_dim);
    for (int32_t k = s->run->substeps - 1; k >= 0; k--) {
        const real *from = hidden_at(s, k);
        const bool last = k + 1 == s->run->substeps;
        sf_draw_held_latents(s, k);
        m->step_adjoint(s->x, s->z, from, s->dy, last ? NULL : dh_next, part, dh, s->work, 1);
        for (int32_t i = 0; i < m->condition_dim; i++)
            s->dx[i] += part[i];
        zero(s->dy, m->output_dim); /* only the outputs of the last substep are looked at */
        swap(&dh, &dh_next);
    }
}

/* The element of x that a direction has alone, with 1; else -1. */
static int32_t single_element(const uint32_t *knowns, size_t known_count, const double *seed)
{
    int32_t found = -1;
    for (size_t i = 0; i < known_count; i++) {
        const sf_variable *v = sf_find_real(knowns[i]);
        for (int32_t k = 0; k < v->size; k++, seed++)
            if (*seed != 0.0) {
                if (found >= 0 || *seed != 1.0 || place(v, k) < 0)
                    return -1;
                found = place(v, k);
            }
    }
    return found;
}

static void scatter_seed(sf_session *s, const uint32_t *knowns, size_t known_count, const double *seed)
{
    zero(s->dx, s->model->condition_dim);
    for (size_t i = 0; i < known_count; i++) {
        const sf_variable *v = sf_find_real(knowns[i]);
        for (int32_t k = 0; k < v->size; k++)
            scatter(s->dx, v, k, *seed++);
    }
}

sf_status sf_directional_derivative(sf_session *s, const uint32_t *unknowns, size_t unknown_count, const uint32_t *knowns,
                                    size_t known_count, const double *seed, size_t seed_count, double *sensitivity,
                                    size_t sensitivity_count)
{
    const sf_status status = prepare(s, unknowns, unknown_count, sensitivity_count, knowns, known_count, seed_count, seed,
                                     seed_count, sensitivity);
    if (status != SF_OK)
        return status;
    const int32_t element = single_element(knowns, known_count, seed);
    if (element < 0)
        scatter_seed(s, knowns, known_count, seed);
    const real *const dy = element < 0 ? sf_tangent(s) : sf_column(s, element);
    double *next = sensitivity;
    for (size_t i = 0; i < unknown_count; i++) {
        const sf_variable *v = sf_find_real(unknowns[i]);
        for (int32_t k = 0; k < v->size; k++)
            *next++ = gathered(dy, v, k);
    }
    return check_finite(s, sensitivity, sensitivity_count, "the derivative at this point");
}

sf_status sf_adjoint_derivative(sf_session *s, const uint32_t *unknowns, size_t unknown_count, const uint32_t *knowns,
                                size_t known_count, const double *seed, size_t seed_count, double *sensitivity,
                                size_t sensitivity_count)
{
    const sf_status status = prepare(s, unknowns, unknown_count, seed_count, knowns, known_count, sensitivity_count,
                                     seed, seed_count, sensitivity);
    if (status != SF_OK)
        return status;
    zero(s->dy, s->model->output_dim);
    for (size_t i = 0; i < unknown_count; i++) {
        const sf_variable *v = sf_find_real(unknowns[i]);
        for (int32_t k = 0; k < v->size; k++)
            scatter(s->dy, v, k, *seed++);
    }
    run_adjoint(s);
    if (s->run->domain_policy == SF_CLAMP)
        sf_clamp_tangent(s->condition_used, s->dx);
    double *next = sensitivity;
    for (size_t i = 0; i < known_count; i++) {
        const sf_variable *v = sf_find_real(knowns[i]);
        for (int32_t k = 0; k < v->size; k++)
            *next++ = gathered(s->dx, v, k);
    }
    return check_finite(s, sensitivity, sensitivity_count, "the derivative at this point");
}
