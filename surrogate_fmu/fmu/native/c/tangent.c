/* Forward mode through the steps of the last communication step, of the first member; and what is kept of it while the
 * instance stays at one point, as masters ask for a Jacobian column by column:
 *
 *     point    what tangents meet there, so that a further direction costs the tangent alone; for one step of the generator.
 *              Once asked, the next steps (run.c) give it, which calculate most of it anyway.
 *     columns  derivatives by single elements of x. Who asks for them in order gets several from one pass, which reads the
 *              weights once; who did so at the last point, from the first one on.
 *
 * All of them have the bits that a pass of their own would give, so what was asked before changes no result.
 */
#include <string.h>

#include "domain.h"
#include "session.h"

/* The condition and latents of substep k of the last communication step, in the first rows of x and z. */
void sf_take_held_condition(sf_session *s)
{
    if (s->run->domain_policy == SF_CLAMP)
        sf_clamp_condition(s->condition_used, s->condition_start, s->x);
    else
        for (int32_t i = 0; i < s->model->condition_dim; i++)
            s->x[i] = (real)s->condition_used[i];
}

void sf_draw_held_latents(sf_session *s, int32_t k)
{
    if (s->run->substeps == 0) {
        s->drawn_step = -1;
        sf_draw_latents(s, 0, s->latent_used);
        for (int32_t i = 0; i < s->model->step_latent_dim; i++)
            s->z[s->model->run_latent_dim + i] = (real)0;
        s->drawn_step = -1;
    } else
        sf_draw_latents(s, s->run->step_index - s->run->substeps + k, s->latent_used);
}

void sf_leave_point(sf_session *s)
{
    sf_columns *c = &s->columns;
    if (c->asked_count) {
        c->expected_first = c->asked_first;
        c->expected_count = c->asked_count;
    }
    c->asked_count = c->count = 0;
    c->point_is_known = false;
}

/* `count` rows of dx -> as many of dy. */
static void propagate(sf_session *s, const real *dx, real *dy, int32_t count)
{
    const sf_model *m = s->model;
    const int32_t substeps = s->run->substeps;
    bool *const known = &s->columns.point_is_known;
    if (!*known)
        sf_take_held_condition(s);
    if (substeps == 0) {
        if (!*known) {
            sf_draw_held_latents(s, 0);
            m->initial_point(s->x, s->z, s->point, s->work, 1);
        }
        *known = true;
        m->initial_tangent(s->point, dx, dy, s->dh, s->work, count);
        return;
    }
    const real *from = s->hidden_before;
    real *to = s->h_next, *dh = s->dh, *dh_next = s->dh_next;
    for (int32_t k = 0; k < substeps; k++) {
        if (!*known) {
            sf_draw_held_latents(s, k);
            m->step_point(s->x, s->z, from, s->point, s->work, 1);
        }
        *known = substeps == 1;
        m->step_tangent(s->point, dx, k ? dh : NULL, dy, dh_next, s->work, count);
        real *const kept = dh;
        dh = dh_next;
        dh_next = kept;
        if (k + 1 < substeps) {
            m->step(s->x, s->z, from, s->y_next, to, s->work, 1);
            from = to;
            to = to == s->h_next ? s->h_other : s->h_next;
        }
    }
}

/* How many columns to calculate when one that is not there is asked for. */
static int32_t columns_wanted(const sf_columns *c)
{
    if (c->asked_first == c->expected_first && c->asked_count <= c->expected_count)
        return c->expected_count - c->asked_count + 1;
    return c->asked_count > 1 ? SF_COLUMNS_MOST : 1;
}

static void note_request(sf_columns *c, int32_t element)
{
    if (c->asked_count && element == c->asked_last)
        return;
    if (c->asked_count && element == c->asked_last + 1)
        c->asked_count++;
    else {
        c->asked_first = element;
        c->asked_count = 1;
    }
    c->asked_last = element;
}

const real *sf_tangent(sf_session *s)
{
    s->columns.steps_with_point = SF_STEPS_WITH_POINT;
    if (s->run->domain_policy == SF_CLAMP)
        sf_clamp_tangent(s->condition_used, s->dx);
    propagate(s, s->dx, s->dy, 1);
    return s->dy;
}

const real *sf_column(sf_session *s, int32_t element)
{
    sf_columns *const c = &s->columns;
    const size_t dim = (size_t)s->model->condition_dim, outputs = (size_t)s->model->output_dim;
    /* Behind the first rows of dx and dy are those of the columns. */
    real *const seeds = s->dx + dim, *const columns = s->dy + outputs;
    c->steps_with_point = SF_STEPS_WITH_POINT;
    note_request(c, element);
    if (element >= c->first && element < c->first + c->count)
        return columns + (size_t)(element - c->first) * outputs;
    /* Once the run has begun there is no derivative by parameters, which are the last elements. */
    const int32_t left = (s->run->substeps > 0 ? s->input_dim : s->model->condition_dim) - element;
    int32_t count = columns_wanted(c);
    count = count < s->column_room ? count : s->column_room;
    count = count < left ? count : left;
    memset(seeds, 0, (size_t)count * dim * sizeof(real));
    for (int32_t i = 0; i < count; i++) {
        seeds[(size_t)i * dim + (size_t)(element + i)] = (real)1;
        if (s->run->domain_policy == SF_CLAMP)
            sf_clamp_tangent(s->condition_used, seeds + (size_t)i * dim);
    }
    propagate(s, seeds, columns, count);
    c->first = element;
    c->count = count;
    return columns;
}
