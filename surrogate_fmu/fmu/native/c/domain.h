/* The training domain as a box, and the distance from it. */
#ifndef SF_DOMAIN_H
#define SF_DOMAIN_H

#include <stddef.h>

#include "model.h"
#include "surrogate.h"

/* How far outside the worst of the values lies, in widths of its range; 0 inside. */
double sf_condition_distance(const double *x);
double sf_output_distance(const real *y);

/* How far the worst of the tunable parameters is from where the run began, in widths of its range; 0 there. */
double sf_tuned_distance(const double *x, const double *start);

/* The nearest value inside the range of element i of x, for all of them; of tunable parameters that with which the run began. */
void sf_clamp_condition(const double *x, const double *start, real *clamped);
/* Set `tangent` to 0 where clamping holds x fast. */
void sf_clamp_tangent(const double *x, real *tangent);

/* The value farthest outside, in words. */
void sf_describe_condition(const double *x, char *text, size_t size);
void sf_describe_tuned(const double *x, const double *start, char *text, size_t size);
void sf_describe_output(const real *y, char *text, size_t size);

#endif
