"""The recorded cells that come with the reference model: whole, enough, and physical."""

from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.config import Split, load_config
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.variables import Causality

CONFIG = load_config(Path(__file__).parents[2] / "models" / "dfn_cell" / "surrogate.toml")


@pytest.fixture(scope="module")
def datasets() -> dict[Split, Trajectories]:
    return {split: read_trajectories(CONFIG.dataset_path(split)) for split in Split}


def test_they_are_small_enough_to_be_fetched():
    assert sum(CONFIG.dataset_path(split).stat().st_size for split in Split) < 15e6


def test_there_are_enough_runs_and_individuals(datasets: dict[Split, Trajectories]):
    assert len(datasets[Split.TRAIN]) >= 300
    _, individuals = np.unique(datasets[Split.TEST].schedule, return_counts=True)
    assert len(individuals) >= 10
    assert individuals.min() >= 24
    _, individuals = np.unique(datasets[Split.VALIDATION].schedule, return_counts=True)
    assert individuals.min() >= 3


@pytest.mark.parametrize("split", Split)
def test_they_are_what_the_configuration_says(datasets: dict[Split, Trajectories], split: Split):
    runs, entry = datasets[split], CONFIG.recording.sets[split]
    CONFIG.check_variables(runs.variables, split)
    assert runs.step_count == CONFIG.recording.steps
    assert len(runs) == entry.schedules * entry.individuals
    assert runs.provenance["set"] == {"schedules": entry.schedules, "individuals": entry.individuals, "seed": entry.seed}
    assert runs.provenance["plant"] == CONFIG.surrogate.plant


@pytest.mark.parametrize("split", Split)
def test_they_stay_within_the_cells_limits(datasets: dict[Split, Trajectories], split: Split):
    runs = datasets[split]
    columns = {name: runs.outputs[..., i] for i, name in enumerate(runs.names(Causality.OUTPUT))}
    assert columns["soc"].min() >= 0.0
    assert columns["soc"].max() <= 1.0
    assert columns["voltage"].min() > 2.0
    assert columns["voltage"].max() < 4.6
    assert columns["temperature"].min() > 273.15
    assert columns["temperature"].max() < 343.15
    for i, name in enumerate(runs.names(Causality.INPUT)):
        entry = CONFIG.recording.design.inputs[name]
        # Stored as float32: the bounds hold to its precision.
        assert runs.inputs[..., i].min() >= entry.min - 1e-4
        assert runs.inputs[..., i].max() <= entry.max + 1e-4


def test_no_cell_and_no_schedule_is_in_two_sets(datasets: dict[Split, Trajectories]):
    for first, second in ((Split.TRAIN, Split.VALIDATION), (Split.TRAIN, Split.TEST), (Split.VALIDATION, Split.TEST)):
        a, b = datasets[first], datasets[second]
        assert not set(a.plant_seed.tolist()) & set(b.plant_seed.tolist())
        assert not {run.tobytes() for run in a.inputs} & {run.tobytes() for run in b.inputs}


@pytest.mark.parametrize("split", [Split.VALIDATION, Split.TEST])
def test_runs_of_one_schedule_share_inputs_and_differ_in_outputs(datasets: dict[Split, Trajectories], split: Split):
    runs = datasets[split]
    for number in np.unique(runs.schedule):
        part = runs.select(runs.schedule == number)
        assert np.array_equal(part.inputs, np.broadcast_to(part.inputs[:1], part.inputs.shape))
        assert np.array_equal(part.parameters, np.broadcast_to(part.parameters[:1], part.parameters.shape))
        assert len({run.tobytes() for run in part.outputs}) == len(part)
