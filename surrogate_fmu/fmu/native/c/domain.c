#include "domain.h"

#include <math.h>
#include <stdio.h>

static double excess(double value, const sf_range *range)
{
    if (value >= range->low && value <= range->high)
        return 0.0;
    return (value < range->low ? range->low - value : value - range->high) / range->width;
}

double sf_condition_distance(const double *x)
{
    const sf_surrogate *data = &sf_surrogate_data;
    double worst = 0.0;
    for (int32_t r = 0; r < data->condition_range_count; r++) {
        const sf_range *range = &data->condition_ranges[r];
        for (int32_t i = 0; i < range->size; i++) {
            const double distance = excess(*x++, range);
            worst = distance > worst ? distance : worst;
        }
    }
    return worst;
}

double sf_output_distance(const real *y)
{
    const sf_surrogate *data = &sf_surrogate_data;
    double worst = 0.0;
    for (int32_t r = 0; r < data->output_range_count; r++) {
        const sf_range *range = &data->output_ranges[r];
        for (int32_t i = 0; i < range->size; i++) {
            const double distance = excess((double)*y++, range);
            worst = distance > worst ? distance : worst;
        }
    }
    return worst;
}

static double moved(double value, double start, const sf_range *range)
{
    return range->tunable ? fabs(value - start) / range->width : 0.0;
}

double sf_tuned_distance(const double *x, const double *start)
{
    const sf_surrogate *data = &sf_surrogate_data;
    double worst = 0.0;
    for (int32_t r = 0; r < data->condition_range_count; r++) {
        const sf_range *range = &data->condition_ranges[r];
        for (int32_t i = 0; range->tunable && i < range->size; i++) {
            const double distance = moved(x[i], start[i], range);
            worst = distance > worst ? distance : worst;
        }
        x += range->size, start += range->size;
    }
    return worst;
}

void sf_clamp_condition(const double *x, const double *start, real *clamped)
{
    const sf_surrogate *data = &sf_surrogate_data;
    for (int32_t r = 0; r < data->condition_range_count; r++) {
        const sf_range *range = &data->condition_ranges[r];
        for (int32_t i = 0; i < range->size; i++, x++, start++) {
            const double value = range->tunable ? *start : *x;
            const double low = value < range->low ? range->low : value;
            *clamped++ = (real)(low > range->high ? range->high : low);
        }
    }
}

void sf_clamp_tangent(const double *x, real *tangent)
{
    const sf_surrogate *data = &sf_surrogate_data;
    for (int32_t r = 0; r < data->condition_range_count; r++) {
        const sf_range *range = &data->condition_ranges[r];
        for (int32_t i = 0; i < range->size; i++, x++, tangent++)
            if (*x < range->low || *x > range->high)
                *tangent = (real)0;
    }
}

static void label_of(const sf_range *range, int32_t element, char *label, size_t size)
{
    size_t length = (size_t)snprintf(label, size, "%s", range->name);
    int32_t stride = range->size;
    for (int32_t axis = 0; axis < range->rank && length < size; axis++) {
        stride /= range->shape[axis];
        length += (size_t)snprintf(label + length, size - length, "%s%d", axis ? "," : "[",
                                   (int)(element / stride % range->shape[axis]) + 1);
    }
    if (range->rank && length < size)
        snprintf(label + length, size - length, "]");
}

static void describe(const sf_range *range, int32_t element, double value, char *text, size_t size)
{
    char label[256];
    label_of(range, element, label, sizeof label);
    snprintf(text, size, "%s = %.6g lies outside the training range [%.6g, %.6g]", label, value, range->low, range->high);
}

void sf_describe_condition(const double *x, char *text, size_t size)
{
    const sf_surrogate *data = &sf_surrogate_data;
    const double worst = sf_condition_distance(x);
    for (int32_t r = 0; r < data->condition_range_count; r++)
        for (int32_t i = 0; i < data->condition_ranges[r].size; i++, x++)
            if (excess(*x, &data->condition_ranges[r]) == worst) {
                describe(&data->condition_ranges[r], i, *x, text, size);
                return;
            }
}

void sf_describe_tuned(const double *x, const double *start, char *text, size_t size)
{
    const sf_surrogate *data = &sf_surrogate_data;
    const double worst = sf_tuned_distance(x, start);
    snprintf(text, size, "a tunable parameter was changed in this run, and in training all were constant over a run");
    if (worst == 0.0)
        return;
    for (int32_t r = 0; r < data->condition_range_count; r++)
        for (int32_t i = 0; i < data->condition_ranges[r].size; i++, x++, start++)
            if (moved(*x, *start, &data->condition_ranges[r]) == worst) {
                char label[256];
                label_of(&data->condition_ranges[r], i, label, sizeof label);
                snprintf(text, size, "%s = %.6g was %.6g when the run began, and in training it was constant over a run", label, *x,
                         *start);
                return;
            }
}

void sf_describe_output(const real *y, char *text, size_t size)
{
    const sf_surrogate *data = &sf_surrogate_data;
    const double worst = sf_output_distance(y);
    for (int32_t r = 0; r < data->output_range_count; r++)
        for (int32_t i = 0; i < data->output_ranges[r].size; i++, y++)
            if (excess((double)*y, &data->output_ranges[r]) == worst) {
                describe(&data->output_ranges[r], i, (double)*y, text, size);
                return;
            }
}
