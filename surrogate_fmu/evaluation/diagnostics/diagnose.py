"""Detectors of known failures: each a figure with its floor, a level, and a sentence with what to do.

Floors are the plant's own: one half of its individuals in the surrogate's place, against the other half. So nothing is called a
failure that the plant itself would show on so few runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.evaluation import metrics
from surrogate_fmu.evaluation.config import Balance
from surrogate_fmu.evaluation.diagnostics.case import Case, make_case
from surrogate_fmu.evaluation.diagnostics.finding import Finding, Level
from surrogate_fmu.evaluation.diagnostics.latents import LatentGain, find_weak_latents, measure_gain
from surrogate_fmu.evaluation.diagnostics.measures import Measure, find_blindness, measure
from surrogate_fmu.evaluation.diagnostics.modes import Modes, find_modes
from surrogate_fmu.evaluation.diagnostics.ranks import find_misplaced_ranks
from surrogate_fmu.evaluation.diagnostics.time_scales import find_other_time_scales
from surrogate_fmu.evaluation.ensembles import Ensembles, PlantEnsemble, group_by_schedule, long_conditions
from surrogate_fmu.evaluation.members import Members
from surrogate_fmu.manifest import Manifest

Array = NDArray[np.float64]
_LONG_RUNS, _LONG = 32, 20


@dataclass(frozen=True)
class Diagnosis:
    """All findings, the measures that none of them is a verdict of, and what both were taken of.

    Attributes:
        findings: one for each detector.
        measures: two-sample measures by name, with the plant's own beside them.
        case: what detectors looked at.
        ensembles: the runs of both, for pictures.
        gain: what the latents do; None where no bundle was given.
    """

    findings: tuple[Finding, ...]
    measures: dict[str, Measure]
    case: Case
    ensembles: Ensembles
    gain: LatentGain | None = None

    @property
    def worst(self) -> Level:
        """The worst level."""
        return max((finding.level for finding in self.findings), key=list(Level).index)


def diagnose(
    make_members: Members,
    manifest: Manifest,
    test: Trajectories,
    training: Trajectories | None = None,
    members: int = 64,
    seed: int = 0,
    bundle: Bundle | None = None,
    balances: Sequence[Balance] = (),
) -> Diagnosis:
    """Look for every known failure.

    Args:
        make_members: runs of the surrogate.
        manifest: of the surrogate.
        test: runs that were not trained on, many individuals for each schedule.
        training: runs that were trained on, to look for overfitting.
        members: surrogate runs per schedule.
        seed: of runs and floors.
        bundle: whose generator is differentiated by its latents; None leaves that out.
        balances: conserved quantities that long runs must keep in the recorded range, as `[verify]` has them.

    Raises:
        DatasetError: there are too few individuals per schedule.
    """
    ensemble = group_by_schedule(test)
    rng = np.random.default_rng(seed)
    count = len(ensemble.schedules)
    seeds = rng.integers(1, 2**31, count * members)
    surrogate = make_members(ensemble.conditions.repeat(members, axis=0), seeds).reshape(
        count, members, *ensemble.outputs.shape[2:]
    )
    case = make_case(ensemble, surrogate, rng)
    findings = [
        _start(case),
        _spread(case),
        _calibration(case),
        find_misplaced_ranks(case),
        _memory(case),
        *find_other_time_scales(case),
        _modes(case),
        _tails(case),
        _divergence(case, make_members, ensemble, balances),
        find_blindness(case),
        _domain(ensemble, manifest),
    ]
    gain = None
    if bundle is not None:
        gain = measure_gain(bundle, ensemble, case.resolution, seed)
        findings.append(find_weak_latents(case, gain))
    if training is not None:
        findings.append(_overfitting(case, make_members, training, test))
    return Diagnosis(tuple(findings), measure(case), case, Ensembles(ensemble, case.surrogate), gain)


def _start(case: Case) -> Finding:
    """Point 0, which a session shows before its first step and no score of steps looks at."""

    def off(plant: Array, surrogate: Array) -> Array:
        difference = surrogate[:, :, 0].mean(axis=1) - plant[:, :, 0].mean(axis=1)
        return np.asarray(np.sqrt((difference**2).mean(axis=0)) / (case.plant.std(axis=(0, 1, 2)) + case.resolution))

    errors = off(case.plant, case.surrogate)
    chance = case.chance(lambda a, b: float(off(a, b).max()))
    error, output = float(errors.max()), case.outputs[int(errors.argmax())]
    level = Level.OK if error <= max(0.1, chance) else Level.WARN if error <= max(0.3, chance) else Level.FAIL
    sentence = (
        "runs start where the plant's do"
        if level is Level.OK
        else f"{output} before the first step is off by {error:.2f} of its standard deviation; give it a balance with its start, "
        "or do not read it before the first step"
    )
    return Finding("start", level, error, chance, sentence)


def _spread(case: Case) -> Finding:
    ratios = metrics.spread_ratio(case.plant, case.surrogate, case.resolution)
    chance = case.chance(lambda a, b: np.abs(np.log(metrics.spread_ratio(a, b, case.resolution))).max())
    worst = int(np.abs(np.log(ratios)).argmax())
    ratio, output = float(ratios[worst]), case.outputs[worst]
    floor = float(np.exp(chance))
    if abs(np.log(ratio)) <= max(np.log(1.2), chance):
        return Finding("spread", Level.OK, ratio, floor, "members scatter as the plant's individuals do")
    if ratio < 1.0:
        level = Level.FAIL if ratio < 0.5 else Level.WARN
        name = "collapse" if ratio < 0.3 else "variance loss"
        advice = "add a term that rewards spread (energy, crps, repulsion), or more latents"
    else:
        level, name = (Level.FAIL if ratio > 2.0 else Level.WARN), "variance overshoot"
        advice = "train longer, or on a score (energy, crps) in place of a critic alone"
    return Finding(name, level, ratio, floor, f"{output} scatters by {ratio:.2f} of the plant's own spread; {advice}")


def _calibration(case: Case) -> Finding:
    ratios = metrics.spread_skill(case.plant, case.surrogate, case.resolution, case.leads)
    chance = case.chance(lambda a, b: np.abs(np.log(metrics.spread_skill(a, b, case.resolution, case.leads))).max())
    lead, output = np.unravel_index(np.abs(np.log(ratios)).argmax(), ratios.shape)
    ratio = float(ratios[lead, output])
    off = abs(np.log(ratio))
    level = Level.OK if off <= max(np.log(1.15), chance) else Level.WARN if off <= max(np.log(1.5), chance) else Level.FAIL
    where = f"{case.outputs[output]} at step {case.leads[lead]}"
    sentence = (
        "spread matches the error at the first, the middle and the last step"
        if level is Level.OK
        else f"spread over error of {where} is {ratio:.2f}: too {'sure' if ratio < 1 else 'unsure'} of itself there; "
        + ("look at missing memory, or train on longer windows" if ratio < 1 else "train longer")
    )
    return Finding("calibration", level, ratio, float(np.exp(chance)), sentence)


def _memory(case: Case) -> Finding:
    if len(case.leads) < 2:
        return Finding("missing memory", Level.OK, 0.0, 0.0, "runs are too short to ask")
    errors = metrics.persistence_error(case.plant, case.surrogate, case.resolution, case.leads)
    chance = case.chance(lambda a, b: metrics.persistence_error(a, b, case.resolution, case.leads).max())
    error, output = float(errors.max()), case.outputs[int(errors.argmax())]
    level = Level.OK if error <= max(0.25, chance) else Level.WARN if error <= max(0.5, chance) else Level.FAIL
    sentence = (
        "a run that is high stays high as long as the plant's does"
        if level is Level.OK
        else f"deviations of {output} at two steps of a run correlate differently by {error:.2f}: what lasts in the plant is "
        "forgotten, or what passes is kept; use run latents for individuals, and a memory as long as the plant's"
    )
    return Finding("missing memory", level, error, chance, sentence)


def _modes(case: Case) -> Finding:
    worst, output_name, floor = 0.0, "", 0.0
    seen = False
    for column, name in enumerate(case.outputs):
        modes = find_modes(case.plant[..., column].ravel())
        if modes is None:
            continue
        seen = True

        off = partial(_mode_change, modes, column)
        figure = off(case.surrogate, case.plant)
        if figure >= worst:
            worst, output_name, floor = figure, name, case.chance(off)
    if not seen:
        return Finding("mode loss", Level.OK, 1.0, 1.0, "no output of the plant has two modes")
    level = Level.OK if worst <= max(0.16, floor) else Level.WARN if worst <= max(0.5, floor) else Level.FAIL
    sentence = (
        "both modes are visited as often as the plant visits them"
        if level is Level.OK
        else f"the two modes of {output_name} are visited, or changed, {np.exp(worst):.2f} times as often or seldom as by the "
        "plant; train on longer windows, check the memory, or take a score of whole windows"
    )
    return Finding("mode loss", level, float(np.exp(worst)), float(np.exp(floor)), sentence)


def _mode_change(modes: Modes, column: int, first: Array, second: Array) -> float:
    """How differently the modes are visited and changed, the larger of two |log ratio|."""
    figures = []
    for ensemble in (first, second):
        runs = ensemble[..., column].reshape(-1, ensemble.shape[2])
        share = modes.occupancy(runs)
        figures.append((share / (1.0 - share + 1e-9) + 1e-3, modes.transitions(runs) + 1e-4))
    return float(max(abs(np.log(a / b)) for a, b in zip(*figures, strict=True)))


def _tails(case: Case) -> Finding:
    levels = (0.001, 0.999)

    def off(first: Array, second: Array) -> float:
        mean = case.plant[:, :, 1:].mean(axis=1, keepdims=True)
        unit = np.sqrt(((case.plant[:, :, 1:] - mean) ** 2).mean(axis=(0, 1, 2)) + case.resolution**2)
        ours, theirs = (np.quantile(((e[:, :, 1:] - mean) / unit), levels, axis=(0, 1, 2)) for e in (second, first))
        return float(np.abs(ours - theirs).max())

    figure, chance = off(case.plant, case.surrogate), case.chance(off)
    level = Level.OK if figure <= max(0.4, chance) else Level.WARN if figure <= max(1.0, chance) else Level.FAIL
    sentence = (
        "rare values are as rare as in the plant"
        if level is Level.OK
        else f"the 0.1 % or 99.9 % quantile is off by {figure:.2f} spreads of the plant; record more runs, or raise path_weight"
    )
    return Finding("tails", level, figure, chance, sentence)


def _divergence(case: Case, make_members: Members, ensemble: PlantEnsemble, balances: Sequence[Balance]) -> Finding:
    steps = _LONG * (ensemble.outputs.shape[2] - 1)
    conditions = long_conditions(ensemble, _LONG_RUNS, steps, balances, case.rng)
    runs = make_members(conditions, case.rng.integers(1, 2**31, _LONG_RUNS))
    low, high = ensemble.range
    gone = int(metrics.diverging_runs(runs, low, high).sum())
    level = Level.OK if gone == 0 else Level.FAIL
    sentence = (
        f"{_LONG_RUNS} runs of {steps} steps stay in the plant's range"
        if gone == 0
        else f"{gone} of {_LONG_RUNS} runs of {steps} steps leave the plant's range; train on longer windows, or add a balance of "
        "known physics"
    )
    return Finding("divergence", level, float(gone), 0.0, sentence)


def _domain(ensemble: PlantEnsemble, manifest: Manifest) -> Finding:
    low = np.array([manifest.domain[v.name].min for v in manifest.condition for _ in range(v.size)])
    high = np.array([manifest.domain[v.name].max for v in manifest.condition for _ in range(v.size)])
    reach = 1e-6 * (high - low)
    outside = ((ensemble.conditions < low - reach) | (ensemble.conditions > high + reach)).any(axis=-1)
    share = float(outside.mean())
    level = Level.OK if share == 0.0 else Level.WARN if share < 0.05 else Level.FAIL
    sentence = (
        "the data lie inside the training domain"
        if share == 0.0
        else f"{share:.1%} of the steps lie outside the training domain; record there and train again, or do not ask there"
    )
    return Finding("domain", level, share, 0.0, sentence)


def _overfitting(case: Case, make_members: Members, training: Trajectories, test: Trajectories) -> Finding:
    """The score of runs that were trained on against that of fresh ones, one run of each schedule."""

    def score(runs: Trajectories) -> float:
        chosen = case.rng.permutation(len(runs))[:200]
        conditions = runs.conditions()[chosen]
        members = make_members(conditions.repeat(16, axis=0), case.rng.integers(1, 2**31, 16 * len(chosen)))
        members = members.reshape(len(chosen), 16, *members.shape[1:])[:, :, 1:]
        observed = runs.outputs[chosen][:, None, 1:]
        unit = np.maximum(members.std(axis=1, keepdims=True).mean(axis=(0, 2), keepdims=True), case.resolution)
        skill = np.abs((members - observed) / unit).mean(axis=(1, 2, 3))
        spread = np.abs((members[:, ::2] - members[:, 1::2]) / unit).mean(axis=(1, 2, 3))
        return float((skill - 0.5 * spread).mean())

    ratio = score(test) / max(score(training), 1e-9)
    level = Level.OK if ratio <= 1.25 else Level.WARN if ratio <= 1.6 else Level.FAIL
    sentence = (
        "fresh runs are predicted as well as those trained on"
        if level is Level.OK
        else f"fresh runs score {ratio:.2f} times those trained on: the generator knows them by heart; record more runs, or take a "
        "smaller width"
    )
    return Finding("overfitting", level, ratio, 1.0, sentence)
