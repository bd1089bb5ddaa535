/* The run: latents, domain, start and steps. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "domain.h"
#include "session.h"

/* Which communication steps are taken; runtime/communication_step.py states the rule and has the same numbers. */
static const double SIZE_TOLERANCE = 1e-9;             /* relative to a whole multiple */
static const double POINT_TOLERANCE = 1e-6;            /* relative to the generator's step: masters sum floats */
static const double ROUNDINGS = 4.0 * DBL_EPSILON;     /* relative to the times that a step size is made of */
/* In one call, which holds the instance. */
static const double SUBSTEPS_MAX = 1e6;

/* -- latents, domain, results ---------------------------------------------------------------------------------------- */

/* Draws are collected, over members too, because many go through the normal map at the price of few. */
static void flush_draws(sf_session *s)
{
    float normals[SF_NORMALS_MOST];
    sf_normals_from_words(s->words, s->word_count, normals);
    for (int32_t i = 0; i < s->word_count; i++)
        s->z[s->word_places[i]] = (real)normals[i];
    s->word_count = 0;
}

/* `count` latents of a member from its place `first` on. */
static void draw(sf_session *s, int64_t seed, enum sf_stream stream, uint64_t word, int32_t member, int32_t first, int32_t count)
{
    for (int32_t done = 0; done < count;) {
        const int32_t space = SF_NORMALS_MOST - s->word_count, left = count - done, now = left < space ? left : space;
        sf_words(seed, stream, word + (uint64_t)done, now, s->words + s->word_count);
        for (int32_t i = 0; i < now; i++)
            s->word_places[s->word_count++] = member * s->latent_dim + first + done + i;
        done += now;
        if (s->word_count == SF_NORMALS_MOST)
            flush_draws(s);
    }
}

void sf_draw_latents(sf_session *s, int64_t step, const double *external)
{
    const sf_run *run = s->run;
    const int32_t run_dim = s->model->run_latent_dim, step_dim = s->model->step_latent_dim;
    if (run->z_mode == SF_EXTERNAL) {
        for (int32_t m = 0; m < s->members; m++)
            for (int32_t i = 0; i < s->latent_dim; i++)
                s->z[m * s->latent_dim + i] = (real)external[i];
        s->drawn_step = -1;
        return;
    }
    if (run->z_mode == SF_HELD || step_dim == 0)
        step = 0;
    if (s->drawn_step == step)
        return;
    const int fresh = s->drawn_step < 0;
    s->drawn_step = step;
    if (run->z_mode == SF_MEAN) {
        for (int32_t i = 0; i < s->members * s->latent_dim; i++)
            s->z[i] = (real)0;
        return;
    }
    for (int32_t m = 0; m < s->members; m++) {
        /* Member m is what an instance of its own with the seed + m would be. */
        if (fresh)
            draw(s, run->seed + m, SF_RUN_STREAM, 0, m, 0, run_dim);
        draw(s, run->seed + m, SF_STEP_STREAM, (uint64_t)step * (uint64_t)step_dim, m, run_dim, step_dim);
    }
    flush_draws(s);
}

/* The distance of tunable parameters from where the run began, in this run. */
static double tuned_distance(const sf_session *s)
{
    const double now = sf_tuned_distance(s->condition, s->condition_start);
    return now > s->run->tuned_distance ? now : s->run->tuned_distance;
}

/* What is worst about the condition, in words, and what to do. */
static const char *describe_condition(const sf_session *s, char *text, size_t size)
{
    if (sf_condition_distance(s->condition) >= tuned_distance(s)) {
        sf_describe_condition(s->condition, text, size);
        return "stay inside";
    }
    sf_describe_tuned(s->condition, s->condition_start, text, size);
    return "set it back";
}

/* x of all members from `condition`; clamped or refused outside the domain. */
static sf_status apply_domain(sf_session *s, double *distance)
{
    const int32_t dim = s->model->condition_dim;
    const double tuned = tuned_distance(s);
    *distance = sf_condition_distance(s->condition);
    *distance = tuned > *distance ? tuned : *distance;
    if (*distance > 0.0 && s->run->domain_policy == SF_REFUSE) {
        char text[512];
        const char *const hint = describe_condition(s, text, sizeof text);
        return sf_refuse(s, SF_DISCARD, "DomainError", "%s; %s, or choose the domain policy 'warn' or 'clamp'", text, hint);
    }
    if (s->run->kept_distance > 0.0 && s->run->domain_policy == SF_REFUSE) {
        char text[512];
        sf_describe_kept(s, text, sizeof text);
        return sf_refuse(s, SF_DISCARD, "DomainError", "%s; set it so, or choose the domain policy 'warn' or 'clamp'", text);
    }
    if (*distance > 0.0 && s->run->domain_policy == SF_CLAMP)
        sf_clamp_condition(s->condition, s->condition_start, s->x);
    else
        for (int32_t i = 0; i < dim; i++)
            s->x[i] = (real)s->condition[i];
    for (int32_t m = 1; m < s->members; m++)
        memcpy(s->x + (size_t)m * (size_t)dim, s->x, (size_t)dim * sizeof(real));
    *distance = s->run->kept_distance > *distance ? s->run->kept_distance : *distance;
    return SF_OK;
}

/* A sum of zeros unless there is an infinity or a NaN. */
static bool all_finite(const real *values, size_t count)
{
    real sum = (real)0;
    for (size_t i = 0; i < count; i++)
        sum += values[i] * (real)0;
    return sum == (real)0;
}

/* Refuse y_next and `hidden` if they are not finite, or outside the domain under the policy refuse. `distance` is that of
 * the condition, and then of condition and outputs; `farthest` is the row of outputs that is farther out, or NULL. */
static sf_status check_results(sf_session *s, const char *what, const real *hidden, double *distance, const real **farthest)
{
    const size_t outputs = (size_t)s->model->output_dim, hiddens = (size_t)s->members * (size_t)s->model->hidden_dim;
    if (!all_finite(s->y_next, (size_t)s->members * outputs) || !all_finite(hidden, hiddens))
        return sf_refuse(s, SF_DISCARD, "SessionError",
                         "%s: the generator gave values that are not finite; the state is as before", what);
    double worst = 0.0;
    const real *row = s->y_next;
    for (int32_t m = 0; m < s->members; m++) {
        const double outside = sf_output_distance(s->y_next + (size_t)m * outputs);
        if (outside > worst) {
            worst = outside;
            row = s->y_next + (size_t)m * outputs;
        }
    }
    if (worst > 0.0 && s->run->domain_policy == SF_REFUSE) {
        char text[512];
        sf_describe_output(row, text, sizeof text);
        return sf_refuse(s, SF_DISCARD, "DomainError", "the step would end where %s; the state is as before", text);
    }
    *farthest = worst > *distance ? row : NULL;
    *distance = worst > *distance ? worst : *distance;
    return SF_OK;
}

/* Make checked results the present ones. */
static void take_results(sf_session *s, const real *hidden, double distance, const real *farthest)
{
    const size_t outputs = (size_t)s->members * (size_t)s->model->output_dim;
    const size_t hiddens = (size_t)s->members * (size_t)s->model->hidden_dim;
    if (distance > 0.0 && !s->run->outside) { /* once, not at every step outside */
        char text[512];
        if (farthest)
            sf_describe_output(farthest, text, sizeof text);
        else if (s->run->kept_distance == distance)
            sf_describe_kept(s, text, sizeof text);
        else
            describe_condition(s, text, sizeof text);
        sf_say(s, SF_WARNING, text);
    }
    s->run->tuned_distance = s->run->domain_policy == SF_CLAMP ? 0.0 : tuned_distance(s);
    s->run->domain_distance = distance;
    s->run->outside = distance > 0.0;
    memcpy(s->outputs, s->y_next, outputs * sizeof(real));
    if (hiddens) {
        memcpy(s->hidden_before, s->hidden, hiddens * sizeof(real));
        memcpy(s->hidden, hidden, hiddens * sizeof(real));
    }
    if (s->latent_dim)
        memcpy(s->latent_used, s->latent, (size_t)s->latent_dim * sizeof(double));
    if (s->model->condition_dim)
        memcpy(s->condition_used, s->condition, (size_t)s->model->condition_dim * sizeof(double));
    s->statistics_are_stale = 1;
    sf_leave_point(s);
}

sf_status sf_start_run(sf_session *s)
{
    if (!s->run->stale)
        return SF_OK;
    if (s->run->z_mode == SF_EXTERNAL && !sf_surrogate_data.external_latents)
        return sf_refuse(s, SF_DISCARD, "InputError",
                         "z_mode is external, but this FMU was built without latent inputs; build it with --external-latents, "
                         "or use z_mode 1 (sampled), 2 (mean) or 3 (held)");
    if (s->model->condition_dim)
        memcpy(s->condition_start, s->condition, (size_t)s->model->condition_dim * sizeof(double));
    s->run->tuned_distance = 0.0;
    double distance;
    sf_status status = apply_domain(s, &distance);
    if (status != SF_OK)
        return status;
    s->drawn_step = -1; /* the seed may be another one */
    sf_draw_latents(s, 0, s->latent);
    /* The step part of z plays no role at the start. */
    for (int32_t m = 0; m < s->members; m++)
        for (int32_t i = s->model->run_latent_dim; i < s->latent_dim; i++)
            s->z[m * s->latent_dim + i] = (real)0;
    s->drawn_step = -1;
    s->model->initial(s->x, s->z, s->y_next, s->h_next, s->work, s->members);
    const real *farthest;
    status = check_results(s, "initialize", s->h_next, &distance, &farthest);
    if (status != SF_OK)
        return status;
    take_results(s, s->h_next, distance, farthest);
    s->run->step_index = 0;
    s->run->substeps = 0;
    s->run->stale = 0;
    return SF_OK;
}

/* -- the run ------------------------------------------------------------------------------------------------------------- */

static sf_status count_substeps(sf_session *s, double time, double size, int32_t *substeps)
{
    const double step = sf_surrogate_data.step_size;
    const double ratio = size / step;
    const double count = sf_is_finite(ratio) ? floor(ratio + 0.5) : 0.0;
    const double rounding = ROUNDINGS * (fabs(time) + fabs(size)) / step;
    if (count > SUBSTEPS_MAX)
        return sf_refuse(s, SF_DISCARD, "StepSizeError",
                         "a communication step of %g s is %g steps of the generator, more than the %.0f that one call takes; "
                         "use a smaller one", size, count, SUBSTEPS_MAX);
    if (!(count >= 1.0) || fabs(ratio - count) > SIZE_TOLERANCE * count + rounding)
        return sf_refuse(s, SF_DISCARD, "StepSizeError",
                         "a communication step of %g s is no whole multiple of the generator's step of %g s; use %g s or a "
                         "multiple of it", size, step, step);
    *substeps = (int32_t)count;
    return SF_OK;
}

sf_status sf_do_step(sf_session *s, const char *function, double time, double step_size)
{
    sf_run *run = s->run;
    sf_status status = sf_check_call(s, SF_CALL_DO_STEP, function);
    if (status != SF_OK)
        return status;
    const double tolerance = POINT_TOLERANCE * sf_surrogate_data.step_size + ROUNDINGS * fabs(run->time);
    if (!(fabs(time - run->time) <= tolerance)) /* true for NaN */
        return sf_refuse(s, SF_DISCARD, "StepSizeError",
                         "a step from t = %.9g s was asked, but the run stands at t = %.9g s; continue there, or set an FMU "
                         "state of the other time first", time, run->time);
    int32_t substeps = 0;
    double distance;
    status = count_substeps(s, time, step_size, &substeps);
    if (status == SF_OK)
        status = apply_domain(s, &distance);
    if (status != SF_OK)
        return status;
    if (run->latents_written && run->z_mode != SF_EXTERNAL && !run->latents_warned) {
        static const char *const names[] = {"", "sampled", "mean", "held"};
        char text[128] = "the latent inputs z are not used: z_mode is ";
        strcat(strcat(text, names[run->z_mode]), "; set it to 4 (external)");
        run->latents_warned = 1;
        sf_say(s, SF_WARNING, text);
    }
    /* The point belongs to the last step until this one is taken. */
    const bool keeps_point = s->columns.steps_with_point > 0 && substeps == 1 && s->members == 1;
    s->columns.point_is_known &= !keeps_point;
    real *from = s->hidden, *to = s->h_next;
    for (int32_t k = 0; k < substeps; k++) {
        sf_draw_latents(s, run->step_index + k, s->latent);
        if (keeps_point)
            s->model->step_with_point(s->x, s->z, from, s->y_next, to, s->point, s->work, 1);
        else
            s->model->step(s->x, s->z, from, s->y_next, to, s->work, s->members);
        from = to;
        to = to == s->h_next ? s->h_other : s->h_next;
    }
    const real *farthest;
    status = check_results(s, "do_step", from, &distance, &farthest);
    if (status != SF_OK)
        return status;
    take_results(s, from, distance, farthest);
    s->columns.point_is_known = keeps_point;
    s->columns.steps_with_point -= s->columns.steps_with_point > 0;
    run->latents_written = 0;
    run->step_index += substeps;
    run->substeps = substeps;
    run->time = time + step_size;
    return SF_OK;
}
