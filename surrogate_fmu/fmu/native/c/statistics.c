/* Mean, standard deviation and quantiles of the outputs over the members of an ensemble. */
#include <math.h>

#include "session.h"

static void sort(double *values, int32_t count)
{
    for (int32_t gap = count / 2; gap > 0; gap = gap == 2 ? 1 : (int32_t)((double)gap / 2.2))
        for (int32_t i = gap; i < count; i++) {
            const double value = values[i];
            int32_t k = i;
            for (; k >= gap && values[k - gap] > value; k -= gap)
                values[k] = values[k - gap];
            values[k] = value;
        }
}

void sf_update_statistics(sf_session *s)
{
    if (!s->statistics_are_stale)
        return;
    const sf_surrogate *data = &sf_surrogate_data;
    const int32_t dim = s->model->output_dim, members = s->members;
    for (int32_t i = 0; i < dim; i++) {
        double sum = 0.0, square = 0.0;
        for (int32_t m = 0; m < members; m++) {
            s->sorted[m] = (double)s->outputs[(size_t)m * (size_t)dim + (size_t)i];
            sum += s->sorted[m];
        }
        const double mean = sum / members;
        for (int32_t m = 0; m < members; m++)
            square += (s->sorted[m] - mean) * (s->sorted[m] - mean);
        s->statistics[i] = mean;
        s->statistics[dim + i] = members > 1 ? sqrt(square / (members - 1)) : 0.0;
        if (data->quantile_count)
            sort(s->sorted, members);
        for (int32_t q = 0; q < data->quantile_count; q++) {
            /* Linear between order statistics, as numpy.quantile does. */
            const double place = data->quantiles[q] * (members - 1);
            const int32_t below = (int32_t)place, above = below + 1 < members ? below + 1 : below;
            const double part = place - below;
            s->statistics[(2 + q) * dim + i] = s->sorted[below] + part * (s->sorted[above] - s->sorted[below]);
        }
    }
    s->statistics_are_stale = 0;
}
