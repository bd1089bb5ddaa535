/* Reading and writing of variables by reference. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

const sf_variable *sf_search_variable(uint32_t reference)
{
    const sf_variable *variables = sf_surrogate_data.variables;
    const uint32_t count = (uint32_t)sf_surrogate_data.variable_count;
    uint32_t low = 0, high = count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (variables[middle].reference < reference)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && variables[low].reference == reference ? &variables[low] : NULL;
}

sf_status sf_unknown_reference(sf_session *s, uint32_t reference, const char *kind)
{
    return sf_refuse(s, SF_ERROR, "InputError",
                     "value reference %lu is no %s variable of this FMU; see its modelDescription.xml",
                     (unsigned long)reference, kind);
}

sf_status sf_wrong_count(sf_session *s, size_t given, size_t expected)
{
    return sf_refuse(s, SF_ERROR, "InputError", "%lu values were given for variables with %lu elements", (unsigned long)given,
                     (unsigned long)expected);
}

/* In FMI 2 variables of several kinds may have one reference; they are neighbours. */
static const sf_variable *find(uint32_t reference, enum sf_kind kind)
{
    const sf_variable *const first = sf_surrogate_data.variables, *const end = first + sf_surrogate_data.variable_count;
    const sf_variable *variable = sf_find_variable(reference);
    if (!variable || variable->kind == kind)
        return variable;
    while (variable > first && variable[-1].reference == reference)
        variable--;
    for (; variable < end && variable->reference == reference; variable++)
        if (variable->kind == kind)
            return variable;
    return NULL;
}

const sf_variable *sf_find_real(uint32_t reference)
{
    const sf_variable *variable = find(reference, SF_REAL);
    return variable ? variable : find(reference, SF_FLOAT32);
}

/* Element k as a scalar. */
static sf_variable element_of(const sf_variable *v, int32_t k)
{
    if (v->elements)
        return v->elements[k];
    sf_variable element = *v;
    element.offset += k;
    element.size = 1;
    return element;
}

int32_t sf_element_count(uint32_t reference, enum sf_kind kind)
{
    const sf_variable *v = find(reference, kind);
    return v ? v->size : 0;
}

static bool is_settable(const sf_session *s, const sf_variable *v)
{
    return v->causality == SF_INPUT || v->causality == SF_TUNABLE || (v->causality == SF_PARAMETER && sf_is_before_run(s));
}

/* The shortest digits that read back as the same number, with a point, as Python writes floats. */
static const char *digits(double value, char text[40])
{
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, 40, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    if (!strpbrk(text, ".en"))
        strcat(text, ".0");
    return text;
}

static sf_status refuse_write(sf_session *s, const sf_variable *v, const char *value, bool is_finite)
{
    if (v->causality == SF_OUTPUT || v->causality == SF_INDEPENDENT)
        return sf_refuse(s, SF_ERROR, "InputError", "'%s' is calculated and cannot be set", v->name);
    if (v->causality == SF_PARAMETER && !sf_is_before_run(s))
        return sf_refuse(s, SF_ERROR, "CallOrderError",
                         "'%s' is a parameter and fixed during a run; reset the instance and set it before", v->name);
    if (!is_finite)
        return sf_refuse(s, SF_DISCARD, "InputError", "'%s': expected a finite number in '%s', got %s", v->name, v->unit, value);
    if (v->items)
        return sf_refuse(s, SF_DISCARD, "InputError", "'%s': %s is no item of its enumeration; see modelDescription.xml", v->name,
                         value);
    char low[40], high[40];
    if (v->min > -DBL_MAX && v->max < DBL_MAX)
        snprintf(low, sizeof low, "%g", v->min), snprintf(high, sizeof high, "%g", v->max);
    else
        snprintf(low, sizeof low, v->min > -DBL_MAX ? "%g" : "-inf", v->min),
            snprintf(high, sizeof high, v->max < DBL_MAX ? "%g" : "inf", v->max);
    return sf_refuse(s, SF_DISCARD, "InputError", "'%s': %s is outside the allowed range [%s, %s] %s", v->name, value, low, high,
                     v->unit);
}

/* -- what is kept and not modelled ----------------------------------------------------------------------------------- */

static double kept_distance(const sf_session *s, int32_t offset)
{
    return fabs(s->kept[offset] - sf_surrogate_data.kept_recorded[offset]);
}

void sf_update_kept(sf_session *s)
{
    s->run->kept_distance = 0.0;
    for (int32_t i = 0; i < sf_surrogate_data.kept_count; i++)
        if (kept_distance(s, i) > s->run->kept_distance)
            s->run->kept_distance = kept_distance(s, i);
}

static void describe_kept(const sf_session *s, const sf_variable *v, char *text, size_t size)
{
    if (v->kind == SF_STRING)
        snprintf(text, size, "%s is not modelled, the surrogate knows it at '%s' alone", v->name, v->text);
    else
        snprintf(text, size, "%s = %.6g is not modelled, the surrogate knows it at %.6g alone", v->name, s->kept[v->offset],
                 sf_surrogate_data.kept_recorded[v->offset]);
}

void sf_describe_kept(const sf_session *s, char *text, size_t size)
{
    text[0] = '\0';
    for (int32_t i = 0; i < sf_surrogate_data.variable_count; i++) {
        const sf_variable *const whole = &sf_surrogate_data.variables[i];
        const sf_variable *v = whole->elements ? whole->elements : whole;
        for (const sf_variable *const end = v + (whole->elements ? whole->size : 1); v < end; v++)
            if (v->role == SF_KEPT && kept_distance(s, v->offset) == s->run->kept_distance) {
                describe_kept(s, v, text, size);
                return;
            }
    }
}

/* Where the numbers of a variable lie that can be set. */
static double *place_of(sf_session *s, const sf_variable *v)
{
    return (v->role == SF_LATENT ? s->latent : v->role == SF_KEPT ? s->kept : s->condition) + v->offset;
}

/* As it lies there: an output is not rounded yet. */
static double value_of(sf_session *s, const sf_variable *v)
{
    return v->role == SF_RESULT ? (double)s->outputs[v->offset] : *place_of(s, v);
}

/* -- real numbers ---------------------------------------------------------------------------------------------------- */

static sf_status null_pointer(sf_session *s)
{
    return sf_refuse(s, SF_ERROR, "InputError", "a null pointer was given for the value references or the values");
}

sf_status sf_get_reals(sf_session *s, const uint32_t *references, size_t count, double *values, size_t value_count)
{
    if ((count && !references) || (value_count && !values))
        return null_pointer(s);
    size_t expected = 0;
    bool calculated = false;
    for (size_t i = 0; i < count; i++) {
        const sf_variable *v = find(references[i], SF_REAL);
        if (!v)
            return sf_unknown_reference(s, references[i], "Real");
        expected += (size_t)v->size;
        calculated |= v->causality == SF_OUTPUT && v->role != SF_KEPT;
    }
    if (expected != value_count)
        return sf_wrong_count(s, value_count, expected);
    if (calculated && s->run->stale) {
        const sf_status status = sf_start_run(s);
        if (status != SF_OK) {
            for (size_t i = 0; i < value_count; i++)
                values[i] = NAN;
            return status;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const sf_variable *v = find(references[i], SF_REAL);
        if (v->elements) {
            for (int32_t k = 0; k < v->size; k++)
                *values++ = value_of(s, &v->elements[k]);
            continue;
        }
        switch (v->role) {
        case SF_CONDITION: memcpy(values, s->condition + v->offset, (size_t)v->size * sizeof(double)); break;
        case SF_KEPT: *values = s->kept[v->offset]; break;
        case SF_LATENT: memcpy(values, s->latent + v->offset, (size_t)v->size * sizeof(double)); break;
        case SF_RESULT:
            for (int32_t k = 0; k < v->size; k++)
                values[k] = (double)s->outputs[v->offset + k];
            break;
        case SF_STATISTIC:
            sf_update_statistics(s);
            memcpy(values, s->statistics + v->offset, (size_t)v->size * sizeof(double));
            break;
        case SF_TIME: *values = s->run->time; break;
        case SF_IN_DOMAIN: *values = s->run->domain_distance == 0.0 ? 1.0 : 0.0; break;
        default: *values = s->run->domain_distance; break;
        }
        values += v->size;
    }
    return SF_OK;
}

sf_status sf_set_reals(sf_session *s, const uint32_t *references, size_t count, const double *values, size_t value_count)
{
    if ((count && !references) || (value_count && !values))
        return null_pointer(s);
    const bool before_run = sf_is_before_run(s);
    size_t expected = 0;
    for (size_t i = 0; i < count; i++) {
        const sf_variable *v = find(references[i], SF_REAL);
        if (!v)
            return sf_unknown_reference(s, references[i], "Real");
        for (int32_t k = 0; k < v->size; k++) {
            const size_t place = expected + (size_t)k;
            if (place >= value_count)
                break;
            const double value = values[place];
            const sf_variable *const e = v->elements ? &v->elements[k] : v;
            /* A parameter that is written again as it is during a run changes nothing. */
            const bool same = e->causality == SF_PARAMETER && value == place_of(s, e)[v->elements ? 0 : k];
            if (!(is_settable(s, e) && e->min <= value && value <= e->max) && !(same && !before_run)) { /* NaN comes here */
                char text[40];
                return refuse_write(s, e, digits(value, text), sf_is_finite(value));
            }
        }
        expected += (size_t)v->size;
    }
    if (expected != value_count)
        return sf_wrong_count(s, value_count, expected);
    for (size_t i = 0; i < count; i++) {
        const sf_variable *v = find(references[i], SF_REAL);
        for (int32_t k = 0; v->elements && k < v->size; k++)
            *place_of(s, &v->elements[k]) = values[k];
        if (!v->elements)
            memcpy(place_of(s, v), values, (size_t)v->size * sizeof(double));
        values += v->size;
        if (v->role == SF_LATENT)
            s->run->latents_written = 1;
        if (v->role == SF_KEPT || v->elements)
            sf_update_kept(s);
    }
    if (before_run && count)
        s->run->stale = 1;
    return SF_OK;
}

/* -- other numbers -------------------------------------------------------------------------------------------------------- */

static const char *kind_name(enum sf_kind kind)
{
    static const char *const names[] = {"Real",  "Integer", "Boolean", "String", "Float32", "Int8",
                                        "UInt8", "Int16",   "UInt16",  "Int32",  "UInt32",  "UInt64"};
    return names[kind];
}

static sf_status read_number(sf_session *s, const sf_variable *v, double *value)
{
    const sf_status status = v->role == SF_RESULT && s->run->stale ? sf_start_run(s) : SF_OK;
    *value = status == SF_OK ? value_of(s, v) : 0.0;
    return status;
}

sf_status sf_check_count(sf_session *s, const uint32_t *references, size_t count, enum sf_kind kind, size_t value_count)
{
    size_t expected = 0;
    for (size_t i = 0; i < count; i++) {
        const sf_variable *v = find(references[i], kind);
        if (!v)
            return sf_unknown_reference(s, references[i], kind_name(kind));
        expected += (size_t)v->size;
    }
    return expected == value_count ? SF_OK : sf_wrong_count(s, value_count, expected);
}

static sf_status check_number(sf_session *s, const sf_variable *v, double value, const char *text)
{
    bool is_item = !v->items;
    for (int32_t i = 0; i < v->item_count; i++)
        is_item |= (double)v->items[i] == value;
    if (is_settable(s, v) && is_item && v->min <= value && value <= v->max)
        return SF_OK;
    if (v->causality == SF_PARAMETER && !sf_is_before_run(s) && value == *place_of(s, v))
        return SF_OK;
    return refuse_write(s, v, text, sf_is_finite(value));
}

static void write_number(sf_session *s, const sf_variable *v, double value)
{
    *place_of(s, v) = value;
    if (v->role == SF_KEPT)
        sf_update_kept(s);
    if (sf_is_before_run(s))
        s->run->stale = 1;
}

/* The whole number of the variable's range, or the item, that is nearest; the upper one of two. */
static int64_t nearest(const sf_variable *v, double value)
{
    if (v->items) {
        int64_t found = v->items[0];
        for (int32_t i = 1; i < v->item_count; i++)
            if (fabs((double)v->items[i] - value) <= fabs((double)found - value))
                found = v->items[i];
        return found;
    }
    const double inside = floor((value < v->min ? v->min : value > v->max ? v->max : value) + 0.5);
    return inside >= 9223372036854775807.0 ? INT64_MAX : (int64_t)inside;
}

static bool is_own(const sf_variable *v)
{
    return v->role == SF_SEED || v->role == SF_Z_MODE || v->role == SF_DOMAIN_POLICY;
}

sf_status sf_get_integer(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, int64_t *value)
{
    const sf_variable *v = find(reference, kind);
    if (!v)
        return sf_unknown_reference(s, reference, kind_name(kind));
    if (is_own(v)) {
        *value = v->role == SF_SEED ? s->run->seed : v->role == SF_Z_MODE ? s->run->z_mode : s->run->domain_policy;
        return SF_OK;
    }
    const sf_variable e = element_of(v, k);
    double number;
    const sf_status status = read_number(s, &e, &number);
    *value = nearest(&e, number);
    return status;
}

sf_status sf_check_integer(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, int64_t value)
{
    const sf_variable *v = find(reference, kind);
    if (!v)
        return sf_unknown_reference(s, reference, kind_name(kind));
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    if (!is_own(v)) {
        const sf_variable e = element_of(v, k);
        return check_number(s, &e, (double)value, text);
    }
    int64_t present;
    if (!sf_is_before_run(s) && sf_get_integer(s, reference, kind, k, &present) == SF_OK && present == value)
        return SF_OK;
    /* 2^63 - 1 is no float64, so the seed's range is kept apart. */
    const bool inside = v->role == SF_SEED ? value >= 0 && value <= sf_surrogate_data.seed_max
                                           : (double)value >= v->min && (double)value <= v->max;
    if (inside && sf_is_before_run(s))
        return SF_OK;
    return refuse_write(s, v, text, true);
}

void sf_set_integer(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, int64_t value)
{
    const sf_variable *v = find(reference, kind);
    if (!is_own(v)) {
        const sf_variable e = element_of(v, k);
        write_number(s, &e, (double)value);
        return;
    }
    if (!sf_is_before_run(s))
        return;
    if (v->role == SF_SEED)
        s->run->seed = value;
    else if (v->role == SF_Z_MODE)
        s->run->z_mode = (int32_t)value;
    else
        s->run->domain_policy = (int32_t)value;
    s->run->stale = 1;
}

sf_status sf_get_boolean(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, bool *value)
{
    const sf_variable *v = find(reference, kind);
    if (!v)
        return sf_unknown_reference(s, reference, kind_name(kind));
    if (v->role != SF_IN_DOMAIN) {
        const sf_variable e = element_of(v, k);
        double number;
        const sf_status status = read_number(s, &e, &number);
        *value = number >= 0.5;
        return status;
    }
    const sf_status status = s->run->stale ? sf_start_run(s) : SF_OK;
    *value = status == SF_OK && s->run->domain_distance == 0.0;
    return status;
}

sf_status sf_check_boolean(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, bool value)
{
    const sf_variable *v = find(reference, kind);
    if (!v)
        return sf_unknown_reference(s, reference, kind_name(kind));
    const sf_variable e = element_of(v, k);
    return check_number(s, &e, value ? 1.0 : 0.0, value ? "true" : "false");
}

void sf_set_boolean(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, bool value)
{
    const sf_variable e = element_of(find(reference, kind), k);
    write_number(s, &e, value ? 1.0 : 0.0);
}

sf_status sf_get_float(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, float *value)
{
    const sf_variable *v = find(reference, kind);
    if (!v)
        return sf_unknown_reference(s, reference, kind_name(kind));
    const sf_variable e = element_of(v, k);
    double number;
    const sf_status status = read_number(s, &e, &number);
    *value = status == SF_OK ? (float)number : NAN;
    return status;
}

sf_status sf_check_float(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, float value)
{
    char text[40];
    const sf_variable *v = find(reference, kind);
    if (!v)
        return sf_unknown_reference(s, reference, kind_name(kind));
    const sf_variable e = element_of(v, k);
    return check_number(s, &e, (double)value, digits((double)value, text));
}

void sf_set_float(sf_session *s, uint32_t reference, enum sf_kind kind, int32_t k, float value)
{
    const sf_variable e = element_of(find(reference, kind), k);
    write_number(s, &e, (double)value);
}

/* -- texts ---------------------------------------------------------------------------------------------------------------- */

sf_status sf_get_string(sf_session *s, uint32_t reference, const char **value)
{
    const sf_variable *v = find(reference, SF_STRING);
    *value = v ? v->text : "";
    return v ? SF_OK : sf_unknown_reference(s, reference, "String");
}

sf_status sf_set_string(sf_session *s, uint32_t reference, const char *value)
{
    const sf_variable *v = find(reference, SF_STRING);
    if (!v)
        return sf_unknown_reference(s, reference, "String");
    const bool same = value && strcmp(value, v->text) == 0;
    if (same && (v->role != SF_KEPT || !sf_is_before_run(s)))
        return SF_OK;
    if (!sf_is_before_run(s))
        return refuse_write(s, v, "", true);
    if (v->role == SF_KEPT) {
        write_number(s, v, same ? 0.0 : 1.0);
        return SF_OK;
    }
    return sf_refuse(s, SF_DISCARD, "DeviceError",
                     "device '%.60s' is not in a native FMU, which computes on the CPU; use 'cpu', or build the FMU with "
                     "--backend python", value ? value : "");
}
