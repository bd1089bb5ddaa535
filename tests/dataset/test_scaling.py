"""Scales on numbers whose means and spreads are known."""

import dataclasses

import numpy as np
import pytest

from surrogate_fmu.dataset.scaling import measure_scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from tests.dataset.test_trajectories import VARIABLES


def make(inputs: np.ndarray, outputs: np.ndarray, schedule: list[int]) -> Trajectories:
    runs = len(schedule)
    return Trajectories(
        VARIABLES, 1.0, inputs, np.full((runs, 1), 7.0), outputs, np.arange(runs), np.array(schedule, dtype=np.int64)
    )


def random_runs(schedule: list[int], seed: int, scale: float = 1.0) -> Trajectories:
    rng = np.random.default_rng(seed)
    runs = len(schedule)
    return make(scale * rng.normal(3.0, 2.0, (runs, 5, 2)), scale * rng.normal(5.0, 4.0, (runs, 6, 1)), schedule)


def test_means_and_spreads_of_known_numbers():
    inputs = np.zeros((2, 2, 2))
    inputs[..., 0] = [[0.0, 2.0], [4.0, 6.0]]
    outputs = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]])[..., None]
    scaling = measure_scaling(make(inputs, outputs, [0, 1]), make(inputs, outputs, [4, 4]))
    assert scaling.condition_mean.tolist() == [3.0, 0.0, 7.0]
    # The second input and the parameter never change; a spread of 0 would divide by zero, so 1 stands in.
    assert scaling.condition_std == pytest.approx([np.sqrt(5.0), 1.0, 1.0])
    assert scaling.output_mean == pytest.approx([4.0])
    assert scaling.output_std == pytest.approx([np.sqrt(14.0 / 3.0)])
    # Individuals 1 and 5, 2 and 6, 3 and 7: a variance of 8 with n - 1 at every point.
    assert scaling.conditional_std == pytest.approx([np.sqrt(8.0)])


def test_conditional_spread_is_pooled_over_schedules_and_blind_to_their_means():
    outputs = np.zeros((4, 6, 1))
    outputs[1] = 2.0
    outputs[2:] = 1000.0
    outputs[3] += 4.0
    repeated = make(np.zeros((4, 5, 2)), outputs, [0, 0, 1, 1])
    scaling = measure_scaling(random_runs([0, 1, 2], 0), repeated)
    assert scaling.conditional_std == pytest.approx([np.sqrt((2.0 + 8.0) / 2)])


def test_without_repeated_schedules_a_tenth_stands_in():
    training = random_runs([0, 1, 2], 1)
    scaling = measure_scaling(training, random_runs([0, 1, 2], 2))
    assert scaling.conditional_std == pytest.approx(0.1 * scaling.output_std)


def test_individuals_that_do_not_differ_leave_a_scale_above_zero():
    outputs = np.broadcast_to(np.arange(6.0)[:, None], (4, 6, 1))
    scaling = measure_scaling(random_runs([0, 1, 2], 1), make(np.zeros((4, 5, 2)), outputs, [0, 0, 1, 1]))
    assert np.all(scaling.conditional_std > 0)


@pytest.mark.parametrize("factor", [1e3, 1e-3, 1e-8])
def test_scales_follow_the_unit_of_the_data(factor: float):
    schedule = [0, 0, 1, 1]
    plain = measure_scaling(random_runs(schedule, 3), random_runs(schedule, 4))
    changed = measure_scaling(random_runs(schedule, 3, factor), random_runs(schedule, 4, factor))
    for field in dataclasses.fields(plain):
        columns = slice(0, 2) if field.name.startswith("condition_") else slice(None)
        expected = factor * getattr(plain, field.name)[columns]
        assert getattr(changed, field.name)[columns] == pytest.approx(expected, rel=1e-9), field.name
