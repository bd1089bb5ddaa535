"""Energy score and CRPS: brute force, closed forms, fairness, gradients; the validation score built on them."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import DatasetError
from surrogate_fmu.training.objectives.energy import fair_crps, fair_energy_score, path_score
from surrogate_fmu.training.objectives.reconstruction import draw_posterior, negative_elbo
from surrogate_fmu.training.rollout import draw_latents
from surrogate_fmu.training.validation import Validation, ValidationScore
from tests.training.runs import STEPS, make_runs


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def brute_force(members: np.ndarray, observed: np.ndarray) -> float:
    """Members (member, feature), observed (feature): the definition, pair by pair."""
    skill = np.mean([np.linalg.norm(member - observed) for member in members])
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(members, 2)]
    return float(skill - 0.5 * np.mean(gaps))


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.lists(st.floats(-100, 100), min_size=3, max_size=3), min_size=3, max_size=7),
)
def test_scores_equal_their_definition(values: list[list[float]]):
    table = np.array(values)
    members, observed = torch.tensor(table[1:]), torch.tensor(table[0])
    energy = fair_energy_score(members[:, None], observed[None])
    # Under each root stands 1e-12, which moves a norm by 1e-6 at most.
    assert energy.item() == pytest.approx(brute_force(table[1:], table[0]), abs=4e-6)
    crps = fair_crps(members, observed)
    assert crps.numpy() == pytest.approx([brute_force(table[1:, i : i + 1], table[0, i : i + 1]) for i in range(3)], abs=1e-9)


def test_crps_keeps_every_trailing_shape():
    members, observed = randn(5, 2, 3, 4), randn(2, 3, 4, seed=1)
    scores = fair_crps(members, observed)
    assert scores.shape == (2, 3, 4)
    assert scores[1, 2, 3] == fair_crps(members[:, 1, 2, 3], observed[1, 2, 3])


@pytest.mark.parametrize(("mean", "std", "observed"), [(0.0, 1.0, 0.0), (0.0, 1.0, 2.5), (3.0, 0.2, 2.0)])
def test_crps_of_a_normal_is_the_closed_form(mean: float, std: float, observed: float):
    """Gneiting et al., Monthly Weather Review 133, 2005, equation 5."""
    members = mean + std * randn(40000)
    scaled = (observed - mean) / std
    expected = std * (scaled * (2 * norm.cdf(scaled) - 1) + 2 * norm.pdf(scaled) - 1 / math.sqrt(math.pi))
    # The error of the skill is below std / sqrt(40000); that of the spread is smaller.
    assert fair_crps(members, torch.tensor(observed)).item() == pytest.approx(expected, abs=5 * std / 200)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_expected_score_does_not_depend_on_the_number_of_members(count: int):
    trials = 60000
    members, observed = randn(count, trials, seed=count), randn(trials, seed=99)
    scores = fair_crps(members, observed)
    # Members and observation from one normal: E|X - Y| / 2 = 1 / sqrt(pi).
    assert scores.mean().item() == pytest.approx(1 / math.sqrt(math.pi), abs=5 * scores.std().item() / math.sqrt(trials))
    energy = fair_energy_score(members[:, :, None], observed[:, None])
    assert energy.numpy() == pytest.approx(scores.numpy(), abs=4e-6)


@pytest.mark.parametrize(("shift", "factor"), [(0.5, 1.0), (0.0, 0.4), (0.0, 2.0), (-0.5, 1.5)])
def test_a_wrong_law_scores_worse_than_the_right_one(shift: float, factor: float):
    members, observed = randn(4, 20000, 2), randn(20000, 2, seed=1)
    right, wrong = (fair_energy_score(m, observed).mean() for m in (members, shift + factor * members))
    assert wrong > right + 0.01


def test_gradients_are_finite_where_members_tie_with_each_other_and_the_data():
    members = torch.zeros(4, 3, 2, 2, requires_grad=True)
    score = path_score(members, torch.zeros(3, 2, 2), 0.5)
    score.backward()
    assert torch.isfinite(score)
    assert torch.isfinite(members.grad).all()


@pytest.mark.parametrize("function", [fair_crps, fair_energy_score])
def test_gradients_are_those_of_finite_differences(function: object):
    members, observed = randn(4, 3, 2).requires_grad_(), randn(3, 2, seed=1)
    assert torch.autograd.gradcheck(lambda m: function(m, observed), (members,))


def test_the_path_weight_goes_from_single_scores_to_whole_windows():
    members, observed = randn(4, 3, 5, 2), randn(3, 5, 2, seed=1)
    single = fair_crps(members, observed).mean().item()
    path = fair_energy_score(members.flatten(2), observed.flatten(1)).mean().item() / math.sqrt(10)
    assert path_score(members, observed, 0.0).item() == pytest.approx(single)
    assert path_score(members, observed, 1.0).item() == pytest.approx(path)
    assert path_score(members, observed, 0.25).item() == pytest.approx(0.75 * single + 0.25 * path)


def test_only_the_path_score_sees_that_steps_belong_together():
    """Members of the right law at each step, but with steps shuffled among members, score worse as paths."""
    run = randn(8, 4000, 1, 1).expand(-1, -1, 6, -1)
    observed = randn(4000, 1, 1, seed=1).expand(-1, 6, -1)
    shuffled = torch.stack([run[:, :, k].roll(k, dims=0) for k in range(6)], dim=2)
    assert path_score(run, observed, 0.0).item() == pytest.approx(path_score(shuffled, observed, 0.0).item(), rel=1e-9)
    assert path_score(shuffled, observed, 1.0) > path_score(run, observed, 1.0) + 0.02


def test_the_bound_is_the_closed_form_of_normal_divergence_and_noise():
    error, mean, log_variance = 0.5 * torch.ones(3, 4, 2), torch.tensor([[1.0]] * 3), torch.tensor([[math.log(0.25)]] * 3)
    divergence = 0.5 * (1.0 + 0.25 - 1.0 - math.log(0.25))
    expected = 0.5 * math.log(0.25 + 1e-6) + divergence / 8
    assert negative_elbo(error, mean, log_variance).item() == pytest.approx(expected, rel=1e-5)


def test_posterior_draws_have_the_mean_and_variance_asked_for():
    random = torch.Generator().manual_seed(0)
    draws = draw_posterior(torch.full((20000, 1), 2.0), torch.full((20000, 1), math.log(0.09)), random)
    assert draws.mean().item() == pytest.approx(2.0, abs=5 * 0.3 / math.sqrt(20000))
    assert draws.std().item() == pytest.approx(0.3, rel=0.03)


def test_run_latents_stay_and_step_latents_change_along_a_run():
    latents = draw_latents(6, 5, 2, 3, torch.Generator().manual_seed(0))
    assert latents.shape == (6, 5, 5)
    assert torch.equal(latents[:, 1:, :2], latents[:, :1, :2].expand(-1, 4, -1))
    assert len(torch.unique(latents[:, :, 2:])) == 6 * 5 * 3
    assert len(torch.unique(latents[:, 0, :2])) == 12


class _Resampling:
    """A generator that rolls other individuals of the plant itself."""

    def __init__(self, bundle: Bundle, shift: float = 0.0, factor: float = 1.0) -> None:
        self._bundle, self._shift, self._factor = bundle, shift, factor

    def roll(self, x: Tensor, z: Tensor) -> Tensor:
        from surrogate_fmu.runtime.ensemble import rollout

        outputs = torch.tensor(rollout(self._bundle, x.double().numpy(), np.arange(1, len(x) + 1)), dtype=torch.float32)
        blocks = outputs.reshape(-1, MEMBERS, *outputs.shape[1:])
        mean = blocks.mean(dim=1, keepdim=True)
        return (mean + self._shift + self._factor * (blocks - mean)).flatten(0, 1)


MEMBERS = 32


@pytest.fixture(scope="module")
def validation(toy_bundle: Bundle) -> Validation:
    return Validation(make_runs(toy_bundle, 12, 10, 5), 1, 2, MEMBERS, seed=0)


def test_the_plant_itself_scores_one(validation: Validation, toy_bundle: Bundle):
    score = validation.score(_Resampling(toy_bundle))
    assert score.crps_ratio == pytest.approx((1.0, 1.0), abs=0.1)
    assert score.spread_ratio == pytest.approx((1.0, 1.0), abs=0.15)


@pytest.mark.parametrize(("shift", "factor"), [(1.5, 1.0), (0.0, 0.1), (0.0, 4.0)])
def test_a_shifted_or_wrongly_spread_generator_scores_worse(
    validation: Validation, toy_bundle: Bundle, shift: float, factor: float
):
    right, wrong = validation.score(_Resampling(toy_bundle)), validation.score(_Resampling(toy_bundle, shift, factor))
    assert wrong.score > right.score + 0.1
    assert wrong.spread_ratio == pytest.approx(tuple(factor * ratio for ratio in right.spread_ratio), rel=1e-2)


def test_the_order_of_the_runs_does_not_matter(toy_bundle: Bundle):
    runs = make_runs(toy_bundle, 4, 5, 5)
    order = np.random.default_rng(0).permutation(len(runs))
    scores = [Validation(r, 1, 2, MEMBERS, 0).score(_Resampling(toy_bundle)) for r in (runs, runs.select(order))]
    assert scores[0].crps_ratio == pytest.approx(scores[1].crps_ratio, rel=1e-4)


@pytest.mark.parametrize("kept", [[0, 1, 3, 4], [0, 1, 2, 3, 4]])
def test_too_few_or_unequal_individuals_are_refused(toy_bundle: Bundle, kept: list[int]):
    runs = make_runs(toy_bundle, 2, 3, 5).select(kept)
    with pytest.raises(DatasetError, match="validation needs at least 3 individuals per schedule, the same number for each; got 2"):
        Validation(runs, 1, 2, 8, 0)


def test_scores_of_an_output_that_is_the_same_for_all_individuals_are_finite(toy_bundle: Bundle):
    """An output that the inputs fix, as an exact level: its error must not drown the others."""
    runs = make_runs(toy_bundle, 4, 5, 5)
    runs.outputs[:, 1:, 1] = runs.inputs[..., 0]
    runs.outputs[:, 0, 1] = 0.0

    class Exact:
        def roll(self, x: Tensor, z: Tensor) -> Tensor:
            outputs = torch.zeros(len(x), STEPS + 1, 2)
            outputs[:, 1:, 1] = x[..., 0]
            outputs[..., 0] = 290.0 + z[:, :1, 0]
            return outputs

    assert math.isfinite(Validation(runs, 1, 2, MEMBERS, 0).score(Exact()).score)


def test_a_score_reads_as_a_line_of_names():
    assert ValidationScore((1.0, 2.5), (1.0, 1.0)).line(("voltage", "heat")) == "voltage 1.000  heat 2.500"
    assert ValidationScore((1.0, 2.0), (1.0, 1.0)).score == pytest.approx(1.5)
