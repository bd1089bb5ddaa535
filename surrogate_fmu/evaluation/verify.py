"""Verification: run the artefact on the plant's test schedules, measure, apply the gates, write the card."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import VerdictError
from surrogate_fmu.evaluation.card import Artefact, Card, Counts, GateResult, Speed, worst_verdict
from surrogate_fmu.evaluation.config import VerifyConfig
from surrogate_fmu.evaluation.ensembles import Ensembles, PlantEnsemble, group_by_schedule, has_randomness, rollout_conditions
from surrogate_fmu.evaluation.gates import all_leads, check_config, divergence_result, judge, judge_errors
from surrogate_fmu.evaluation.members import Members, Progress
from surrogate_fmu.evaluation.metrics import diverging_runs

Array = NDArray[np.float64]
_MEMBERS_PER_INDIVIDUAL = 4
_VERSIONED = ("surrogate-fmu", "torch", "numpy", "fmpy")


@dataclass(frozen=True)
class Verification:
    """The card, and the ensembles behind it for plots; `leads` are the steps at which it was read."""

    card: Card
    ensembles: Ensembles
    leads: tuple[int, ...]


def verify(
    make_members: Members,
    trajectories: Trajectories,
    config: VerifyConfig,
    artefact: Artefact,
    date: str,
    speeds: Mapping[str, Speed] | None = None,
    make_rollouts: Members | None = None,
    progress: Progress = lambda steps, total: steps,
    latent_dim: int = 1,
) -> Verification:
    """Judge an artefact on a test set in which every schedule was run with many individuals.

    An artefact without latents, of a plant whose runs with equal inputs are equal, is judged by its error in one run per
    schedule.

    Args:
        make_members: runs of the artefact; called once with every schedule `members` times.
        trajectories: the plant's test runs, none of which were trained on.
        config: size and gates.
        artefact: what the runs come from, for the card.
        date: for the card, ISO 8601.
        speeds: for the card.
        make_rollouts: runs of the artefact for the long rollouts; the same as `make_members` if None.
        progress: wraps the iterator of resamplings, given their number.
        latent_dim: of the artefact.

    Raises:
        DatasetError: there are too few individuals per schedule.
        ConfigError: a lead or a balance does not fit the data.
        VerdictError: the members have another shape than they were asked for.
    """
    random = latent_dim > 0 or has_randomness(trajectories)
    plant = group_by_schedule(trajectories) if random else group_by_schedule(_first_individuals(trajectories), fewest=1)
    check_config(plant, config)
    schedules, individuals = plant.outputs.shape[:2]
    members = config.members or _MEMBERS_PER_INDIVIDUAL * individuals if random else 1
    run_count = schedules * members
    first_seed = config.seed * 2**16 % 2**30  # an FMU's seed is an Integer, below 2^31
    seeds = first_seed + np.arange(run_count + config.rollout_count, dtype=np.int64)
    runs = _run(make_members, np.repeat(plant.conditions, members, axis=0), seeds[:run_count], plant)
    ensembles = Ensembles(plant, runs.reshape(schedules, members, *runs.shape[1:]))

    low, high = plant.range
    gates: list[GateResult] = [divergence_result(int(diverging_runs(runs, low, high).sum()), "diverging members", config)]
    if config.rollout_count:
        rollouts = _run(make_rollouts or make_members, rollout_conditions(plant, config), seeds[run_count:], plant)
        gates.append(divergence_result(int(diverging_runs(rollouts, low, high).sum()), "diverging long runs", config))
    by_schedule: Mapping[str, tuple[float, ...]] = {}
    if np.isfinite(runs).all() and not random:
        gates = [*judge_errors(ensembles, config), *gates]
    elif np.isfinite(runs).all():  # no other number means anything otherwise, and the verdict is settled
        judged, measured = judge(ensembles, config, progress)
        gates, by_schedule = [*judged, *gates], measured.crps_by_schedule
    card = Card(
        verdict=worst_verdict(tuple(gates)),
        gates=tuple(gates),
        artefact=artefact,
        dataset_checksum=trajectories.checksum(),
        counts=Counts(schedules, individuals, members, trajectories.step_count, config.rollout_count, config.rollout_steps),
        date=date,
        communication_step_size=trajectories.communication_step_size,
        speeds=dict(speeds or {}),
        versions=installed_versions(),
        crps_by_schedule=by_schedule,
    )
    return Verification(card, ensembles, all_leads(config, trajectories.step_count))


def _first_individuals(trajectories: Trajectories) -> Trajectories:
    _, first = np.unique(trajectories.schedule, return_index=True)
    return trajectories.select(np.isin(np.arange(len(trajectories)), first))


def describe_artefact(path: Path) -> Artefact:
    """Name, kind (the file's suffix) and checksum of an artefact."""
    return Artefact(path.name, path.suffix.lstrip("."), hashlib.sha256(path.read_bytes()).hexdigest())


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers, as far as installed."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _run(make_members: Members, conditions: Array, seeds: NDArray[np.int64], plant: PlantEnsemble) -> Array:
    outputs = np.asarray(make_members(conditions, seeds), dtype=np.float64)
    expected = (len(conditions), conditions.shape[1] + 1, plant.outputs.shape[-1])
    if outputs.shape != expected:
        raise VerdictError(f"the members have the shape {outputs.shape}, expected (run, step + 1, output) = {expected}")
    return outputs
