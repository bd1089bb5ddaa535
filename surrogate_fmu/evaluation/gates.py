"""From ensembles to gate results.

Every metric of a finite test set is random even for a perfect surrogate: with 24 individuals and 24 members the CRPS ratio
of one schedule scatters by a tenth. So each metric is also measured on resamplings of the plant against itself, as many
individuals and members drawn from the recorded individuals as there were: this is the law of the metric when the surrogate
draws from the plant's law. The floor of a gate is where 99.8 % of the resamplings lie for all its outputs at once
(studentised maximum; Westfall and Young, Resampling-Based Multiple Testing, 1993), and its bands are widened to hold it.

This is a plug-in: it knows the plant's law by the recorded individuals alone, so it is somewhat too narrow. Of 30 synthetic
test sets (12 schedules x 24 individuals, 100 resamplings) judged against the very law that they came from, 25 gave REPLACE,
5 ASSIST (one gate each, one of them undecided) and none REJECT.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.evaluation import metrics
from surrogate_fmu.evaluation.card import GateResult
from surrogate_fmu.evaluation.config import Balance, Band, Gate, Metric, Verdict, VerifyConfig
from surrogate_fmu.evaluation.ensembles import Ensembles, PlantEnsemble

Array = NDArray[np.float64]
Progress = Callable[[Iterable[int], int], Iterable[int]]
Key = tuple[Metric, str, str | None]  # metric, name, output

_FLOOR_LEVEL = 0.998
_RANK_FACTOR = 1.6  # 1.6 / sqrt(n) is the Kolmogorov-Smirnov bound at about 1 %
_RATIOS = (Metric.SPREAD, Metric.SPREAD_SKILL)
_WHAT = {
    Metric.CRPS: "Continuous ranked probability score against the plant's individuals, over the plant's own; 1 is the plant's law.",
    Metric.CRPS_SCHEDULE: "The same ratio on the worst schedule.",
    Metric.ENERGY: "Energy score of all outputs together, over the plant's own; 1 is the plant's law.",
    Metric.SPREAD_SKILL: "Spread of the members over the error of their mean; 1 is calibrated, below 1 too sure.",
    Metric.SPREAD: "Spread over members by spread over individuals, all steps; 0 is a latent that is ignored.",
    Metric.BIAS: "Difference of the means in units of the plant's spread, beyond chance; 0 is best.",
    Metric.TAILS: "Error of the 5 % and 95 % quantiles in units of the plant's spread; 0 is best.",
    Metric.RANKS: "Distance of the individuals' ranks among the members from uniform, worst lead; 0 is best.",
    Metric.PERSISTENCE: "Difference of the correlations between leads, beyond chance; 0 is best, 1 if a lasting trait is redrawn.",
    Metric.BALANCE: "Error of the conserved amount relative to what was moved; 0 is best.",
    Metric.ERROR: "Root mean square error over the recorded range of the output; 0 is best.",
    Metric.ERROR_SCHEDULE: "The same on the worst schedule.",
    Metric.DIVERGENCE: "Runs that are not finite or leave the plant's range by more than its width.",
}


@dataclass(frozen=True)
class Measurement:
    """Values of all metrics on one pair of ensembles, and the intervals where one is estimated."""

    values: Mapping[Key, float]
    intervals: Mapping[Key, Band]
    crps_by_schedule: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class _Setting:
    """What the metrics need besides the ensembles."""

    outputs: tuple[str, ...]
    leads: tuple[int, ...]
    resolution: Array
    balances: tuple[tuple[Balance, Array], ...]  # with the expected change (schedule, point)


def all_leads(config: VerifyConfig, step_count: int) -> tuple[int, ...]:
    """The configured leads and the last step.

    Raises:
        ConfigError: a lead lies behind the end of the runs.
    """
    if config.leads[-1] > step_count:
        raise ConfigError(f"verify.leads holds {config.leads[-1]}, the test runs have {step_count} steps; lower it")
    return (*(lead for lead in config.leads if lead < step_count), step_count)


def check_config(plant: PlantEnsemble, config: VerifyConfig) -> None:
    """Look whether leads and balances fit the plant's runs, before the artefact is run.

    Raises:
        ConfigError: they do not, or the plant itself does not keep a balance.
    """
    setting = _setting(plant, config)
    for balance, expected in setting.balances:
        column = setting.outputs.index(balance.output)
        own = metrics.balance_errors(plant.outputs, plant.outputs, expected, balance.min_moved, column)[2]
        if own > 10 * balance.tolerance:
            raise ConfigError(
                f"verify.balances: the plant itself misses {balance.output} = start + {balance.gain:g} * integral of "
                f"{balance.input} by {own:.1%}; give the gain of the median individual, in output units per input unit and second"
            )


def judge(ensembles: Ensembles, config: VerifyConfig, progress: Progress) -> tuple[tuple[GateResult, ...], Measurement]:
    """Measure finite ensembles and apply every gate but divergence.

    Raises:
        ConfigError: a lead or a balance does not fit the data.
    """
    plant, surrogate = ensembles.plant.outputs, ensembles.surrogate
    setting = _setting(ensembles.plant, config)
    rng = np.random.default_rng((config.seed, 1))
    measured = _measure(plant, surrogate, setting, rng)
    floors = _floors(_resample(plant, surrogate.shape[1], setting, config.resamples, rng, progress))
    independent_runs = plant.shape[0] * plant.shape[1]
    results = tuple(
        _result(key, value, _gate(key, config, independent_runs), floors[key], measured.intervals.get(key))
        for key, value in measured.values.items()
    )
    return results, measured


def judge_errors(ensembles: Ensembles, config: VerifyConfig) -> tuple[GateResult, ...]:
    """The gates of a plant and a surrogate without randomness, one run of each per schedule.

    Raises:
        ConfigError: a balance does not fit the data.
    """
    plant, surrogate = ensembles.plant.outputs, ensembles.surrogate
    setting = _setting(ensembles.plant, config)
    errors = metrics.normalised_errors(plant, surrogate, setting.resolution)
    values = _per_output(Metric.ERROR, "error", np.sqrt((errors**2).mean(axis=0)), setting)
    values |= _per_output(Metric.ERROR_SCHEDULE, "error, worst schedule", errors.max(axis=0), setting)
    values |= _balance_values(plant, surrogate, setting)
    return tuple(_result(key, value, _gate(key, config, len(plant)), None, None) for key, value in values.items())


def divergence_result(diverging: int, name: str, config: VerifyConfig) -> GateResult:
    """The gate on the number of diverging runs."""
    return _result((Metric.DIVERGENCE, name, None), float(diverging), config.gates.divergence, None, None)


def _setting(plant: PlantEnsemble, config: VerifyConfig) -> _Setting:
    low, high = plant.range
    # An output that never changes still has digits: float32 storage keeps 7 of them.
    resolution = np.maximum(config.resolution * (high - low), 1e-6 * np.maximum(np.abs(low), np.abs(high)) + 1e-12)
    expected = []
    for balance in config.balances:
        for name, known, what in ((balance.output, plant.output_names, "output"), (balance.input, plant.input_names, "input")):
            if name not in known:
                raise ConfigError(f"verify.balances: there is no {what} {name!r}; there are {', '.join(known)}")
        moved = np.cumsum(plant.conditions[..., plant.input_names.index(balance.input)], axis=1)
        moved = np.concatenate([np.zeros((len(moved), 1)), moved], axis=1)
        expected.append((balance, balance.gain * plant.communication_step_size * moved))
    leads = all_leads(config, plant.conditions.shape[1])
    return _Setting(plant.output_names, leads, resolution, tuple(expected))


def _measure(plant: Array, surrogate: Array, setting: _Setting, rng: np.random.Generator) -> Measurement:
    values = _direct_values(plant, surrogate, setting, rng)
    intervals: dict[Key, Band] = {}
    by_output = metrics.output_distances(plant, surrogate)
    joint = metrics.joint_distances(plant, surrogate, setting.resolution)
    score_values, by_schedule = _score_values(metrics.scores(by_output), metrics.scores(joint), setting)
    for metric, distances, resolution in (
        (Metric.CRPS, by_output, setting.resolution),
        (Metric.ENERGY, joint, np.zeros(1)),
    ):
        low, high = metrics.bootstrap_interval(distances, resolution, rng)
        keys = [key for key in score_values if key[0] is metric]
        intervals |= {key: Band(float(a), float(b)) for key, a, b in zip(keys, low, high, strict=True)}
    ratios = {name: tuple(float(r) for r in by_schedule[:, column]) for column, name in enumerate(setting.outputs)}
    return Measurement(score_values | values, intervals, ratios)


def _score_values(by_output: tuple[Array, Array], joint: tuple[Array, Array], setting: _Setting) -> tuple[dict[Key, float], Array]:
    pooled = metrics.pooled_ratio(*by_output, setting.resolution)
    by_schedule = metrics.schedule_ratios(*by_output, setting.resolution)
    values = _per_output(Metric.CRPS, "CRPS ratio", pooled, setting)
    values |= _per_output(Metric.CRPS_SCHEDULE, "CRPS ratio, worst schedule", by_schedule.max(axis=0), setting)
    values[(Metric.ENERGY, "energy score ratio", None)] = float(metrics.pooled_ratio(*joint, np.zeros(1))[0])
    return values, by_schedule


def _direct_values(plant: Array, surrogate: Array, setting: _Setting, rng: np.random.Generator) -> dict[Key, float]:
    resolution, leads = setting.resolution, setting.leads
    values: dict[Key, float] = {}
    for lead, row in zip(leads, metrics.spread_skill(plant, surrogate, resolution, leads), strict=True):
        values |= _per_output(Metric.SPREAD_SKILL, f"spread / skill, step {lead}", row, setting)
    values |= _per_output(Metric.SPREAD, "spread ratio", metrics.spread_ratio(plant, surrogate, resolution), setting)
    values |= _per_output(Metric.BIAS, "bias", metrics.bias(plant, surrogate, resolution), setting)
    values |= _per_output(Metric.TAILS, "tail error", metrics.tail_error(plant, surrogate, resolution, leads), setting)
    positions = metrics.rank_positions(plant, surrogate, resolution, leads, rng)
    values |= _per_output(Metric.RANKS, "rank distance", metrics.uniform_distance(positions).max(axis=0), setting)
    if len(leads) > 1:
        lasting = metrics.persistence_error(plant, surrogate, resolution, leads)
        values |= _per_output(Metric.PERSISTENCE, "persistence error", lasting, setting)
    return values | _balance_values(plant, surrogate, setting)


def _balance_values(plant: Array, surrogate: Array, setting: _Setting) -> dict[Key, float]:
    values: dict[Key, float] = {}
    for balance, expected in setting.balances:
        column = setting.outputs.index(balance.output)
        pooled, worst, _ = metrics.balance_errors(plant, surrogate, expected, balance.min_moved, column)
        values[(Metric.BALANCE, f"balance with {balance.input}", balance.output)] = pooled
        values[(Metric.BALANCE, f"balance with {balance.input}, worst schedule", balance.output)] = worst
    return values


def _per_output(metric: Metric, name: str, row: Array, setting: _Setting) -> dict[Key, float]:
    return {(metric, name, output): float(value) for output, value in zip(setting.outputs, row, strict=True)}


def _resample(
    plant: Array, members: int, setting: _Setting, count: int, rng: np.random.Generator, progress: Progress
) -> dict[Key, Array]:
    """Values of every metric with the plant in the surrogate's place: (resample,) each."""
    schedules, individuals = plant.shape[:2]
    rows = np.arange(schedules)[:, None]
    by_output = metrics.output_distances(plant, plant[:, :2]).plant
    joint = metrics.joint_distances(plant, plant[:, :2], setting.resolution).plant
    collected: dict[Key, list[float]] = {}
    for _ in progress(range(count), count):
        drawn, drawn_members = (rng.integers(individuals, size=(schedules, n)) for n in (individuals, members))
        counts = [(d[..., None] == np.arange(individuals)).sum(axis=1).astype(np.float64) for d in (drawn, drawn_members)]
        score_values, _ = _score_values(
            metrics.resampled_scores(by_output, *counts), metrics.resampled_scores(joint, *counts), setting
        )
        values = score_values | _direct_values(plant[rows, drawn], plant[rows, drawn_members], setting, rng)
        for key, value in values.items():
            collected.setdefault(key, []).append(value)
    return {key: np.array(values) for key, values in collected.items()}


def _floors(resampled: Mapping[Key, Array]) -> dict[Key, Band]:
    """Studentised maximum over all gates of one metric; ratios are compared by their logarithm, so 0.8 is as far as 1.25."""
    floors: dict[Key, Band] = {}
    for metric in {key[0] for key in resampled}:
        keys = [key for key in resampled if key[0] is metric]
        table = np.stack([resampled[key] for key in keys], axis=1)
        table = np.log(table) if metric in _RATIOS else table
        centre, scale = table.mean(axis=0), table.std(axis=0) + 1e-12
        reach = float(np.quantile((np.abs(table - centre) / scale).max(axis=1), _FLOOR_LEVEL))
        low, high = centre - reach * scale, centre + reach * scale
        if metric in _RATIOS:
            low, high = np.exp(low), np.exp(high)
        floors |= {key: Band(float(a), float(b)) for key, a, b in zip(keys, low, high, strict=True)}
    return floors


def _gate(key: Key, config: VerifyConfig, independent_runs: int) -> Gate:
    metric, name, output = key
    if metric is Metric.RANKS:
        bound = _RANK_FACTOR / np.sqrt(independent_runs)
        gate = config.gates.ranks
        return Gate(gate.replace.widened(Band(high=float(bound))), gate.assist.widened(Band(high=float(bound))))
    if metric is not Metric.BALANCE:
        return config.gates.by_metric()[metric]
    (balance,) = (b for b in config.balances if b.output == output and f"balance with {b.input}" in name)
    factor = 2.0 if name.endswith("worst schedule") else 1.0  # the tolerance is for all schedules together
    return Gate(Band(high=factor * balance.tolerance), Band(high=factor * balance.assist_tolerance))


def _result(key: Key, value: float, gate: Gate, floor: Band | None, interval: Band | None) -> GateResult:
    metric, name, output = key
    if floor is not None:
        floor = Band(floor.low if gate.replace.low is not None else None, floor.high if gate.replace.high is not None else None)
    replace, assist = (band if floor is None else band.widened(floor) for band in (gate.replace, gate.assist))
    decisive = assist == gate.assist
    verdict = Verdict.REPLACE if replace.holds(value) else Verdict.ASSIST if assist.holds(value) else Verdict.REJECT
    if verdict is Verdict.REPLACE and not decisive:
        verdict = Verdict.ASSIST
    return GateResult(metric, name, _WHAT[metric], value, replace, assist, verdict, output, floor, interval, decisive)
