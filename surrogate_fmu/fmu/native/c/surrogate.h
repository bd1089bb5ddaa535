/* What is fixed about one FMU: generated from the manifest and the build options as the constant `sf_surrogate_data`. */
#ifndef SF_SURROGATE_H
#define SF_SURROGATE_H

#include <stdbool.h>
#include <stdint.h>

/* Which functions read and write it. SF_INTEGER is fmi2Integer and fmi3Int64; the kinds behind SF_STRING are of FMI 3 alone. */
enum sf_kind {
    SF_REAL,
    SF_INTEGER,
    SF_BOOLEAN,
    SF_STRING,
    SF_FLOAT32,
    SF_INT8,
    SF_UINT8,
    SF_INT16,
    SF_UINT16,
    SF_INT32,
    SF_UINT32,
    SF_UINT64
};

enum sf_causality { SF_INPUT, SF_PARAMETER, SF_OUTPUT, SF_INDEPENDENT, SF_TUNABLE };

/* Where a variable's value lies. */
enum sf_role {
    SF_CONDITION,       /* x at `offset`, in physical units */
    SF_RESULT,          /* y of the first member at `offset` */
    SF_STATISTIC,       /* over the members, at `offset` */
    SF_LATENT,          /* z from outside at `offset` */
    SF_SEED,
    SF_Z_MODE,
    SF_DOMAIN_POLICY,
    SF_DEVICE,
    SF_IN_DOMAIN,
    SF_DOMAIN_DISTANCE,
    SF_TIME,
    SF_KEPT /* a variable of the plant that is not modelled, at `offset` */
};

/* Values as FMI reads and writes them, counted from 1. */
enum sf_z_mode { SF_SAMPLED = 1, SF_MEAN, SF_HELD, SF_EXTERNAL };
enum sf_domain_policy { SF_WARN = 1, SF_CLAMP, SF_REFUSE };

/* One variable of the model description: with FMI 2 a scalar, with FMI 3 possibly an array of `size` elements. */
typedef struct sf_variable {
    uint32_t reference;
    uint8_t kind, causality, role;
    int32_t offset, size;
    const char *name, *unit;
    double min, max; /* finite: the largest numbers where there is no bound */
    const int64_t *items; /* rising values of an enumeration that leaves some out, else NULL */
    int32_t item_count;
    const char *text; /* the start value of a string */
    /* Of an array whose elements are variables of their own, some modelled and some kept: `size` scalars, which say where each
     * lies in place of `role` and `offset` above; else NULL. */
    const struct sf_variable *elements;
} sf_variable;

/* The training range of one variable of the manifest; width is 1 where the range is a point. Tunable are parameters that may be
 * changed during a run, which none was in training. */
typedef struct sf_range {
    const char *name;
    int32_t size, rank;
    const int32_t *shape;
    double low, high, width;
    bool tunable;
} sf_range;

typedef struct sf_surrogate {
    const char *model_identifier, *token;
    double step_size; /* of the generator [s] */
    int64_t seed_max;
    int32_t external_latents;
    int32_t member_count;                            /* 1 without an ensemble */
    int32_t quantile_count;                          /* statistics are mean, std, then these, each (output_dim) */
    const double *quantiles;
    int32_t variable_count;
    const sf_variable *variables;                    /* rising references; of one reference, other kinds */
    const double *start;                             /* (condition_dim) */
    int32_t kept_count;
    const double *kept_start, *kept_recorded;        /* (kept_count): at the start, and when the plant was recorded */
    int32_t condition_range_count, output_range_count;
    const sf_range *condition_ranges, *output_ranges; /* in the order of x and y */
} sf_surrogate;

extern const sf_surrogate sf_surrogate_data;

#endif
