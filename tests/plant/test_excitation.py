"""Schedules: each family has its shape, all stay in range, and they can be extended."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from surrogate_fmu.config import load_config
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.plant.design import Budget, Design, Excitation, InputDesign, Range, Sampling
from surrogate_fmu.plant.excitation import draw_schedules, excitation_counts, keep_budget
from surrogate_fmu.variables import Causality
from tests.plant.plants import DRAWN

MODELS = Path(__file__).parents[2] / "models"
STEP = 2.0
HOLD_S = (6.0, 20.0)  # 3 to 10 steps


def draw(excitation: Excitation, includes_zero: bool = False, count: int = 16, steps: int = 120) -> list[np.ndarray]:
    design = Design({"u": InputDesign(-3.0, 5.0, (excitation,), HOLD_S, includes_zero)})
    return [schedule.inputs["u"] for schedule in draw_schedules(design, count, steps, STEP, 7)]


def pieces(signal: np.ndarray) -> list[int]:
    """Lengths of the stretches of equal values."""
    return [len(list(group)) for _, group in itertools.groupby(signal.tolist())]


@pytest.mark.parametrize("excitation", DRAWN)
def test_every_family_fills_the_run_and_stays_in_range(excitation: Excitation):
    for includes_zero in (False, True):
        signals = draw(excitation, includes_zero)
        assert all(signal.shape == (120,) for signal in signals)
        assert all(signal.min() >= -3.0 and signal.max() <= 5.0 for signal in signals)
        assert len({signal.tobytes() for signal in signals}) == len(signals)


@pytest.mark.parametrize("excitation", DRAWN)
def test_the_schedules_of_a_family_reach_both_halves_of_the_range(excitation: Excitation):
    values = np.concatenate(draw(excitation, count=64))
    assert np.mean(values < 1.0) > 0.1
    assert np.mean(values > 1.0) > 0.1


def test_constants_are_constant():
    assert all(pieces(signal) == [120] for signal in draw(Excitation.CONSTANT))


def test_steps_hold_each_level_for_the_time_that_the_design_gives():
    for signal in draw(Excitation.STEPS):
        lengths = pieces(signal)
        assert all(3 <= length <= 10 for length in lengths[:-1])
        assert len(lengths) > 10


def test_ramps_are_straight_between_corners_and_do_not_jump():
    for signal in draw(Excitation.RAMPS):
        slopes = np.diff(signal)
        bends = np.flatnonzero(np.abs(np.diff(slopes)) > 1e-9)
        assert np.all(np.diff(bends) >= 2)
        assert 120 / 10 - 2 <= len(bends) <= 120 / 3
        # The steepest possible ramp crosses the whole range within the shortest time.
        assert np.abs(slopes).max() <= 8.0 / 3 + 1e-9


def test_pulses_fall_back_to_zero():
    for signal in draw(Excitation.PULSES, includes_zero=True):
        lengths = pieces(signal)
        assert all(1 <= length <= 10 for length in lengths[:-1])
        levels = [value for value, _ in itertools.groupby(signal.tolist())]
        assert all(value == 0.0 for value in levels[1::2])
        assert any(value != 0.0 for value in levels[0::2])


def test_pulses_fall_back_to_the_base_where_zero_is_not_included():
    for signal in draw(Excitation.PULSES, includes_zero=False):
        levels = [value for value, _ in itertools.groupby(signal.tolist())]
        assert len(set(levels[1::2])) == 1
        assert min(levels) == levels[1]


def test_rests_are_zero_for_some_of_the_time():
    shares = [np.mean(signal == 0.0) for signal in draw(Excitation.RESTS, includes_zero=True, count=32)]
    # Two in five pieces rest; 32 schedules of about 18 pieces.
    assert 0.25 < np.mean(shares) < 0.55
    assert np.mean(np.concatenate(draw(Excitation.RESTS, includes_zero=False)) == 0.0) == 0.0


def test_noise_moves_at_every_step_and_is_correlated():
    correlations = []
    for signal in draw(Excitation.NOISE, steps=400):
        inside = (signal > -3.0) & (signal < 5.0)
        assert np.all(np.diff(signal)[inside[1:] & inside[:-1]] != 0.0)
        correlations.append(np.corrcoef(signal[:-1], signal[1:])[0, 1])
    assert min(correlations) > 0.2


def test_decays_are_held_then_fall_towards_the_end_ever_more_slowly():
    for signal in draw(Excitation.DECAYS):
        assert max(pieces(signal)) >= 2
        moves = np.abs(np.diff(signal))
        # Within an exponential every move is smaller than the one before by the same factor.
        ratios = moves[2:] / np.where(moves[1:-1] > 1e-12, moves[1:-1], np.inf)
        steady = np.abs(ratios[1:] - ratios[:-1]) < 1e-6
        falling = steady & (ratios[1:] > 0) & (ratios[1:] < 1)
        assert falling.mean() > 0.15


BAND = (0.05, 0.5 / 3)  # per step: half a wave of 10 and of 3 steps


def spectrum(signal: np.ndarray, window: np.ndarray | float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies [1 / step] and power of a signal about its mean."""
    return np.fft.rfftfreq(len(signal)), np.abs(np.fft.rfft((signal - signal.mean()) * window)) ** 2


@pytest.mark.parametrize("excitation", [Excitation.CHIRP, Excitation.MULTISINE, Excitation.BAND_NOISE])
def test_the_power_of_waves_lies_in_the_band_that_the_hold_gives(excitation: Excitation):
    shares, low, high = [], [], []
    for signal in draw(excitation, steps=600):
        frequencies, power = spectrum(signal, np.hanning(len(signal)))
        inside = (frequencies > BAND[0] - 0.01) & (frequencies < BAND[1] + 0.01)
        shares.append(power[inside].sum() / power.sum())
        frequencies, power = spectrum(signal)  # the ends of a chirp are the ends of the run, which a window takes away
        low.append(power[frequencies < 0.07].sum() / power.sum())
        high.append(power[frequencies > 0.14].sum() / power.sum())
    # Clipping at the ends of the range makes harmonics of the noise.
    assert min(shares) > 0.9 and np.median(shares) > 0.97
    assert np.mean(low) > 0.1 and np.mean(high) > 0.05


def test_a_chirp_goes_through_the_band_once_up_or_down():
    rising = []
    for signal in draw(Excitation.CHIRP, steps=600):
        middle = 0.5 * (signal.min() + signal.max())
        crossings = np.flatnonzero(np.diff(np.sign(signal - middle)))
        lengths = np.diff(crossings)
        first, last = lengths[:4].mean(), lengths[-4:].mean()
        assert {round(min(first, last)), round(max(first, last))} <= {3, 9, 10}
        rising.append(last < first)
    assert 0 < sum(rising) < len(rising)


def test_a_multisine_has_one_line_in_each_part_of_the_band():
    for signal in draw(Excitation.MULTISINE, steps=2000):
        frequencies, power = spectrum(signal, np.hanning(len(signal)))
        edges = np.geomspace(*BAND, 9)
        part = np.searchsorted(edges, frequencies)
        assert all(power[part == number].max() > 0.05 * power.max() for number in range(1, 9))


@pytest.mark.parametrize("excitation", [Excitation.CHIRP, Excitation.MULTISINE, Excitation.BAND_NOISE])
@pytest.mark.parametrize(("hold_s", "steps"), [((0.1, 0.2), 30), ((1e6, 1e9), 30), ((2.0, 2.0), 1), ((6.0, 6.0), 50)])
def test_waves_can_be_drawn_where_the_hold_is_shorter_than_a_step_or_longer_than_the_run(
    excitation: Excitation, hold_s: tuple[float, float], steps: int
):
    design = Design({"u": InputDesign(-1.0, 1.0, (excitation,), hold_s)})
    for schedule in draw_schedules(design, 8, steps, STEP, 3):
        assert np.isfinite(schedule.inputs["u"]).all()
        assert np.ptp(schedule.inputs["u"]) > (0.01 if steps > 1 else -1)


def test_levels_last_at_least_one_step_where_the_hold_is_shorter():
    design = Design({"u": InputDesign(0.0, 1.0, DRAWN, (0.1, 0.2))})
    assert all(np.isfinite(s.inputs["u"]).all() for s in draw_schedules(design, 14, 30, STEP, 0))


DESIGN = Design(
    inputs={
        "current": InputDesign(-2.0, 3.0, DRAWN, HOLD_S, includes_zero=True),
        "ambient": InputDesign(280.0, 310.0, (Excitation.CONSTANT, Excitation.RAMPS), HOLD_S),
    },
    parameters={"charge": Range(20.0, 80.0), "start": Range(270.0, 280.0)},
    budgets=(Budget("current", "charge", -1.0, 0.0, 100.0, 10.0),),
)


def test_families_are_taken_in_turn_and_all_pairs_are_met():
    families = len(DRAWN)
    schedules = draw_schedules(DESIGN, 4 * families, 20, STEP, 1)
    assert excitation_counts(schedules, "current") == dict.fromkeys(DRAWN, 4)
    assert excitation_counts(schedules, "ambient") == {Excitation.CONSTANT: 2 * families, Excitation.RAMPS: 2 * families}
    assert len({(s.excitations["current"], s.excitations["ambient"]) for s in schedules}) == 2 * families


def test_parameters_fill_their_ranges_evenly():
    schedules = draw_schedules(DESIGN, 64, 4, STEP, 3)
    for name, entry in DESIGN.parameters.items():
        values = np.array([s.parameters[name] for s in schedules])
        counts, _ = np.histogram(values, bins=8, range=(entry.min, entry.max))
        # A Sobol sequence of 64 has exactly 8 in each eighth.
        assert counts.tolist() == [8] * 8


def test_a_latin_hypercube_has_one_schedule_in_each_stripe_of_every_range():
    design = dataclasses.replace(DESIGN, sampling=Sampling.LATIN_HYPERCUBE)
    schedules = draw_schedules(design, 50, 4, STEP, 3)  # no power of two, which a Sobol sequence needs for that
    for name, entry in DESIGN.parameters.items():
        values = np.array([s.parameters[name] for s in schedules])
        counts, _ = np.histogram(values, bins=50, range=(entry.min, entry.max))
        assert counts.tolist() == [1] * 50
    again = draw_schedules(design, 50, 4, STEP, 3)
    assert [s.parameters for s in again] == [s.parameters for s in schedules]
    assert [s.parameters for s in draw_schedules(design, 50, 4, STEP, 4)] != [s.parameters for s in schedules]
    assert len(draw_schedules(design, 1, 4, STEP, 3)) == 1


@pytest.mark.parametrize("model", ["dfn_cell", "double_well"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_schedules_of_shipped_data_are_drawn_as_ever(model: str, split: str):
    config = load_config(MODELS / model / "surrogate.toml")
    entry, runs = config.recording.sets[split], read_trajectories(config.dataset_path(split))
    schedules = draw_schedules(
        config.recording.design, entry.schedules, config.recording.steps, runs.communication_step_size, entry.seed
    )
    for place, name in enumerate(runs.names(Causality.INPUT)):
        drawn = np.array([schedules[number].inputs[name] for number in runs.schedule])
        assert np.array_equal(drawn.astype("float32"), runs.inputs[..., place])
    for place, name in enumerate(runs.names(Causality.PARAMETER)):
        if name in config.recording.design.parameters:
            drawn = np.array([schedules[number].parameters[name] for number in runs.schedule])
            assert np.array_equal(drawn.astype("float32"), runs.parameters[..., place])


@settings(max_examples=20, deadline=None)
@given(few=st.integers(1, 20), more=st.integers(0, 30), seed=st.integers(0, 9))
def test_the_first_schedules_stay_when_more_are_drawn(few: int, more: int, seed: int):
    short, long = draw_schedules(DESIGN, few, 15, STEP, seed), draw_schedules(DESIGN, few + more, 15, STEP, seed)
    assert (len(short), len(long)) == (few, few + more)
    for a, b in zip(short, long, strict=False):
        assert a.parameters == b.parameters
        assert a.excitations == b.excitations
        assert all(np.array_equal(a.inputs[name], b.inputs[name]) for name in a.inputs)


def test_another_seed_gives_other_schedules():
    first, second = draw_schedules(DESIGN, 8, 15, STEP, 0), draw_schedules(DESIGN, 8, 15, STEP, 1)
    assert all(a.parameters != b.parameters for a, b in zip(first, second, strict=True))
    assert all(not np.array_equal(a.inputs["current"], b.inputs["current"]) for a, b in zip(first, second, strict=True))


@settings(max_examples=200, deadline=None)
@given(
    signal=st.lists(st.floats(-50, 50), min_size=1, max_size=60),
    start=st.floats(0.1, 0.9),
    gain=st.sampled_from([0.02, -0.02, 1.0, -1.0]),
    reserve_s=st.floats(2.0, 100.0),
)
@example(signal=[-19.0, -1.0], start=0.7518384838203981, gain=0.02, reserve_s=2.0)  # rounding carries the level past the bound
def test_a_budget_is_kept_and_only_ever_limits(signal: list[float], start: float, gain: float, reserve_s: float):
    wanted = np.array(signal)
    kept = keep_budget(Budget("u", "p", gain, 0.0, 1.0, reserve_s), start, wanted, STEP)
    levels = start + gain * STEP * np.cumsum(kept)
    assert levels.min() >= -1e-9
    assert levels.max() <= 1 + 1e-9
    assert np.all(np.abs(kept) <= np.abs(wanted) + 1e-9)
    assert np.all(kept * wanted >= 0)


def test_a_budget_that_does_not_bind_changes_nothing():
    signal = np.array([0.1, -0.1, 0.2])
    assert np.array_equal(keep_budget(Budget("u", "p", 0.01, 0.0, 1.0, 10.0), 0.5, signal, STEP), signal)


def test_a_budget_tapers_the_input_towards_the_bound():
    kept = keep_budget(Budget("u", "p", 1.0, 0.0, 1.0, 8.0), 0.5, np.full(30, 10.0), STEP)
    assert np.all(np.diff(kept) < 0)
    # Each step uses a quarter of what is left: 2 s of a reserve of 8 s.
    assert kept[1:] / kept[:-1] == pytest.approx(0.75)


def test_schedules_keep_their_budget():
    for schedule in draw_schedules(DESIGN, 42, 200, STEP, 5):
        level = schedule.parameters["charge"] - STEP * np.cumsum(schedule.inputs["current"])
        assert level.min() >= -1e-9
        assert level.max() <= 100 + 1e-9
    free = draw_schedules(dataclasses.replace(DESIGN, budgets=()), 42, 200, STEP, 5)
    assert any((s.parameters["charge"] - STEP * np.cumsum(s.inputs["current"])).min() < 0 for s in free)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InputDesign(1.0, 1.0, (Excitation.STEPS,), (1.0, 2.0)), "min 1 is not below max 1"),
        (lambda: InputDesign(0.0, 1.0, (), (1.0, 2.0)), "excitations is empty"),
        (lambda: InputDesign(0.0, 1.0, (Excitation.STEPS,), (0.0, 2.0)), "two ascending times above 0"),
        (lambda: InputDesign(0.0, 1.0, (Excitation.STEPS,), (3.0, 2.0)), "two ascending times above 0"),
        (lambda: Range(2.0, 1.0), "min 2 is not below max 1"),
    ],
)
def test_a_design_that_makes_no_sense_is_refused(make: object, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("family", [family for family in Excitation if family is not Excitation.PROFILE], ids=str)
def test_a_level_may_last_one_time_alone(family: Excitation):
    """The band is one frequency then, whose edges rounding sets apart in either direction."""
    for hold in range(2, 40):
        design = Design({"u": InputDesign(-1.0, 1.0, (family,), (float(hold), float(hold)))})
        (schedule,) = draw_schedules(design, 1, 50, 1.0, hold)
        assert np.isfinite(schedule.inputs["u"]).all() and np.abs(schedule.inputs["u"]).max() <= 1.0


@pytest.mark.parametrize("ends", [(math.nan, 1.0), (0.0, math.nan), (-math.inf, 1.0), (0.0, math.inf), (1.0, 1.0), (2.0, 1.0)])
def test_ranges_have_two_finite_ends(ends: tuple[float, float]):
    """TOML knows nan and inf as numbers."""
    said = "must be finite numbers|is not below max"
    with pytest.raises(ValueError, match=said):
        Range(*ends)
    with pytest.raises(ValueError, match=said):
        InputDesign(*ends, (Excitation.STEPS,), (1.0, 2.0))
    with pytest.raises(ValueError, match=said):
        Budget("u", "start", 1.0, *ends, 1.0)


def test_other_numbers_of_a_design_are_finite_too():
    with pytest.raises(ValueError, match=r"hold_s .* two ascending times above 0"):
        InputDesign(0.0, 1.0, (Excitation.STEPS,), (1.0, math.inf))
    entry = InputDesign(0.0, 1.0, (Excitation.STEPS,), (1.0, 2.0))
    with pytest.raises(ValueError, match="held has nan for 'v'; give the value that it keeps"):
        Design({"u": entry}, held={"v": math.nan})
    for gain, reserve in ((math.nan, 1.0), (0.0, 1.0), (1.0, math.nan), (1.0, 0.0)):
        with pytest.raises(ValueError, match=r"gain|reserve_s"):
            Budget("u", "start", gain, 0.0, 1.0, reserve)
