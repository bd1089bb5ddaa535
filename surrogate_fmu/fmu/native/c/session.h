/* One instance of a surrogate. The FMI shells convert, call one function of this file, and convert back.
 *
 * An instance is one block of memory, made by sf_session_new and freed by sf_session_free; nothing else allocates but
 * sf_state_get and sf_state_deserialize, whose result is the caller's to free. There is no global mutable state, so
 * instances are independent; one instance is for one thread at a time, as FMI asks (2.0.4, section 2.1.1).
 *
 * A call that is refused logs one sentence, returns what the shell returns, and leaves the instance as it was:
 *
 *     SF_DISCARD  a value or a step that cannot be taken: not finite, outside min to max, a step size that does not fit,
 *                 outside the training domain under the policy refuse, outputs that are not finite
 *     SF_ERROR    a call out of order, an unknown reference, a null pointer, something that this FMU does not do
 *
 * The sentence is `Class: sentence` with a class of surrogate_fmu/errors.py, so that a master in Python raises that class.
 */
#ifndef SF_SESSION_H
#define SF_SESSION_H

#ifdef __FAST_MATH__
#error "compile without -ffast-math: NaN has to be seen, and the latent stream is the same to the bit everywhere"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latent.h"
#include "model.h"
#include "surrogate.h"

/* The values are those of fmi2Status and fmi3Status. */
typedef enum { SF_OK, SF_WARNING, SF_DISCARD, SF_ERROR, SF_FATAL } sf_status;

/* isfinite and round are no functions of every C library that this is linked with. */
static inline bool sf_is_finite(double value)
{
    return value - value == 0.0;
}

typedef enum { SF_INSTANTIATED = 1, SF_INITIALIZATION = 2, SF_STEPPING = 4, SF_TERMINATED = 8 } sf_phase;

typedef enum {
    SF_CALL_SETUP,
    SF_CALL_ENTER_INITIALIZATION,
    SF_CALL_EXIT_INITIALIZATION,
    SF_CALL_DO_STEP,
    SF_CALL_TERMINATE,
    SF_CALL_DERIVATIVE,
    SF_CALL_COUNT
} sf_call;

/* Delivers a message to the host. */
typedef void (*sf_log)(void *owner, sf_status status, const char *category, const char *message);

/* All that changes. Snapshots are copies of this head and the arrays behind it. */
typedef struct sf_run {
    int32_t phase, z_mode, domain_policy;
    int32_t substeps;       /* of the last communication step; 0 at the start */
    int32_t stale;          /* outputs have to be calculated before they are read */
    int32_t outside;        /* the last outputs lay outside the training domain, which was said */
    int32_t latents_written, latents_warned;
    int64_t seed, step_index; /* steps of the generator since the start */
    double time;            /* of the master [s] */
    double domain_distance;
    double kept_distance;   /* of what is not modelled from where it is kept */
    double tuned_distance;  /* the largest of tunable parameters from where the run began, as the generator saw them */
} sf_run;

/* Columns of a Jacobian that are calculated together: two passes of the kernels' rows; and the bytes that they may take. */
enum { SF_COLUMNS_MOST = 12, SF_COLUMN_BYTES_MOST = 1 << 20 };
/* Steps after a derivative that give their point: about as many as cost together what one point alone does. */
enum { SF_STEPS_WITH_POINT = 64 };

/* What tangent.c keeps while an instance stays at one point, beside the arrays `point` and `dy`. */
typedef struct sf_columns {
    bool point_is_known;
    int32_t steps_with_point;                     /* how many more steps give theirs */
    int32_t first, count;                         /* elements of x whose columns are there */
    int32_t asked_first, asked_last, asked_count; /* elements asked for in order */
    int32_t expected_first, expected_count;       /* the same at the point before */
} sf_columns;

typedef struct sf_session {
    uint64_t magic; /* tells a live instance from what is none */
    const sf_model *model;
    const char *kernels;
    sf_log log;
    void *log_owner;
    uint32_t muted; /* bit per category */
    int32_t members, latent_dim, input_dim; /* x is (inputs, parameters) */
    size_t run_size;

    sf_run *run; /* head of the block that snapshots copy; the arrays below up to `hidden_before` are in it */
    double *condition, *condition_used;   /* x as it was set, and at the last step */
    double *condition_start;              /* x when the run began */
    double *latent, *latent_used;         /* the same for z from outside */
    double *kept;                         /* what is not modelled, as it was set */
    real *outputs;                        /* (members, output_dim) */
    real *hidden, *hidden_before;         /* (members, hidden_dim): now, and before the last communication step */

    int64_t drawn_step;                   /* whose latents are in z; -1: none */
    int32_t statistics_are_stale;
    int32_t word_count;                   /* drawn, but not yet in z */
    int32_t word_places[SF_NORMALS_MOST]; /* in z */
    uint64_t words[SF_NORMALS_MOST];
    real *x, *z, *y_next, *h_next, *h_other;
    int32_t column_room;
    sf_columns columns;
    real *point;                          /* what tangents meet */
    real *dx, *dy;                        /* one row, and one per column */
    real *dh, *dh_next;                   /* one row per column */
    double *statistics, *sorted;
    void *work;

    char sentence[1024];
} sf_session;

/* NULL when there is not enough memory. */
sf_session *sf_session_new(sf_log log, void *log_owner);
void sf_session_free(sf_session *session);
bool sf_session_is_live(const sf_session *session);

/* Log a sentence and return `status`. */
sf_status sf_refuse(sf_session *session, sf_status status, const char *error_class, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 4, 5)))
#endif
    ;
void sf_say(sf_session *session, sf_status status, const char *message);
/* Switch categories on or off; no categories: all of them. */
sf_status sf_set_logging(sf_session *session, bool on, size_t count, const char *const categories[]);

/* SF_OK if the phase allows the call, which the host knows as `function`. */
sf_status sf_check_call(sf_session *session, sf_call call, const char *function);
sf_status sf_set_start_time(sf_session *session, const char *function, double start_time);
sf_status sf_enter_initialization(sf_session *session, const char *function);
sf_status sf_exit_initialization(sf_session *session, const char *function);
sf_status sf_do_step(sf_session *session, const char *function, double time, double step_size);
sf_status sf_terminate(sf_session *session, const char *function);
sf_status sf_reset(sf_session *session);
/* Calculate the outputs as the run would start with, unless they are up to date. */
sf_status sf_start_run(sf_session *session);
/* Latents of a step of the generator into session->z, (members, latent_dim); `external` are those of z_mode external. */
void sf_draw_latents(sf_session *session, int64_t step, const double *external);
/* Whether parameters can be set. */
bool sf_is_before_run(const sf_session *session);

/* values.c: by reference; value_count counts elements of arrays. All are taken, or none. */
const sf_variable *sf_search_variable(uint32_t reference);
static inline const sf_variable *sf_find_variable(uint32_t reference)
{
    const sf_variable *const variables = sf_surrogate_data.variables;
    /* As a rule they are 0, 1, 2, ... */
    if (reference < (uint32_t)sf_surrogate_data.variable_count && variables[reference].reference == reference)
        return &variables[reference];
    return sf_search_variable(reference);
}
sf_status sf_get_reals(sf_session *session, const uint32_t *references, size_t count, double *values, size_t value_count);
sf_status sf_set_reals(sf_session *session, const uint32_t *references, size_t count, const double *values,
                       size_t value_count);
/* The variable of that reference among the kinds of real numbers; NULL if there is none. */
const sf_variable *sf_find_real(uint32_t reference);
/* Element k of a variable of one kind, 0 for a scalar: a check that leaves all as it was, then the write of what was found good. */
sf_status sf_get_integer(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, int64_t *value);
sf_status sf_check_integer(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, int64_t value);
void sf_set_integer(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, int64_t value);
sf_status sf_get_boolean(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, bool *value);
sf_status sf_check_boolean(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, bool value);
void sf_set_boolean(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, bool value);
sf_status sf_get_float(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, float *value);
sf_status sf_check_float(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, float value);
void sf_set_float(sf_session *session, uint32_t reference, enum sf_kind kind, int32_t k, float value);
/* Elements of the variable of that reference and kind; 0 if there is none. */
int32_t sf_element_count(uint32_t reference, enum sf_kind kind);
/* SF_OK if all references are of that kind, and have so many elements together. */
sf_status sf_check_count(sf_session *session, const uint32_t *references, size_t count, enum sf_kind kind, size_t value_count);
/* How far what is not modelled is from where it was when the plant was recorded, into the head of the run. */
void sf_update_kept(sf_session *session);
/* Which variable that is not modelled is farthest. */
void sf_describe_kept(const sf_session *session, char *text, size_t size);
sf_status sf_get_string(sf_session *session, uint32_t reference, const char **value);
sf_status sf_set_string(sf_session *session, uint32_t reference, const char *value);
sf_status sf_unknown_reference(sf_session *session, uint32_t reference, const char *kind);
sf_status sf_wrong_count(sf_session *session, size_t given, size_t expected);

/* statistics.c */
void sf_update_statistics(sf_session *session);

/* snapshot.c: a state is a block that sf_state_free frees. */
typedef struct sf_state sf_state;
sf_status sf_state_get(sf_session *session, sf_state **state);
sf_status sf_state_set(sf_session *session, const sf_state *state);
sf_status sf_state_free(sf_session *session, sf_state **state);
sf_status sf_state_size(sf_session *session, const sf_state *state, size_t *size);
sf_status sf_state_serialize(sf_session *session, const sf_state *state, unsigned char *bytes, size_t size);
sf_status sf_state_deserialize(sf_session *session, const unsigned char *bytes, size_t size, sf_state **state);

/* derivative.c: of the outputs at the end of the last communication step by the inputs that were held over it; before the
 * first step, of the outputs at the start by inputs and parameters. Counts are elements. */
sf_status sf_directional_derivative(sf_session *session, const uint32_t *unknowns, size_t unknown_count,
                                    const uint32_t *knowns, size_t known_count, const double *seed, size_t seed_count,
                                    double *sensitivity, size_t sensitivity_count);
sf_status sf_adjoint_derivative(sf_session *session, const uint32_t *unknowns, size_t unknown_count,
                                const uint32_t *knowns, size_t known_count, const double *seed, size_t seed_count,
                                double *sensitivity, size_t sensitivity_count);

/* tangent.c */
/* The derivatives (output_dim) in the direction dx, one row, which is used up; and by an element of x. */
const real *sf_tangent(sf_session *session);
const real *sf_column(sf_session *session, int32_t element);
/* Forget what was calculated: the results of the last step or the start are others now. */
void sf_leave_point(sf_session *session);
/* The first rows of x and z as the last communication step had them; of its substep k. */
void sf_take_held_condition(sf_session *session);
void sf_draw_held_latents(sf_session *session, int32_t k);

/* dispatch.c: the model for this processor, and the name of its kernels. */
const sf_model *sf_choose_model(const char **kernels);

#endif
