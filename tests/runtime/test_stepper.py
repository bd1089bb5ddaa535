"""Steps of many runs in one call: each is what it is alone, and no one harms another."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.errors import DomainError, InputError, SessionError, StepSizeError
from surrogate_fmu.manifest import DomainPolicy, Interval, Manifest, ZMode
from surrogate_fmu.runtime.run_state import RunState, hidden_numbers
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.runtime.stepper import Stepper
from surrogate_fmu.variables import Causality, Variable

Started = tuple[RunState, object]


@pytest.fixture(scope="module")
def net_bundle() -> Bundle:
    """A recurrent network, whose products a batch sums in another order than a row."""
    torch.manual_seed(0)
    variables = [Variable(f"u{k}", Causality.INPUT, start=0.1 * k) for k in range(5)] + [Variable("y", Causality.OUTPUT)]
    domain = {v.name: Interval(-2.0, 2.0) for v in variables}
    return export_bundle(Net(), Manifest("net", tuple(variables), 0.5, 2, 3, 24, domain))


class Net(torch.nn.Module):
    """A GRU cell and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = torch.nn.GRUCell(10, 24)
        self.head = torch.nn.Linear(24, 1)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """At rest."""
        return self.forward(x, z, torch.zeros(x.shape[0], 24))

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One step."""
        h = self.cell(torch.cat([x, z], 1), h)
        return self.head(h), h


@pytest.fixture(scope="module")
def stepper(net_bundle: Bundle) -> Stepper:
    return Stepper(net_bundle)


def started(stepper: Stepper, seed: int, **changes: object) -> Started:
    run = stepper.declared()._replace(seed=seed, **changes)
    draws = stepper.draws(run)
    return stepper.start(run, draws), draws


def bits(run: object) -> tuple[object, ...]:
    assert isinstance(run, RunState), run
    return run.step_index, run.outputs, hidden_numbers(run).tobytes(), run.condition, run.domain_distance


def test_the_sizes_of_reproducible_batches(stepper: Stepper, net_bundle: Bundle):
    assert stepper.reproducible_sizes[0] == stepper.reproducible_batch == 4
    assert Stepper(net_bundle, reproducible_batch=8).reproducible_sizes == (8,)
    assert Stepper(net_bundle, reproducible_batch=1).reproducible_sizes == (1,)


def test_a_generator_whose_rows_depend_on_their_place_is_run_row_by_row():
    class Ranked(torch.nn.Module):
        @torch.jit.export
        def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            return self.forward(x, z, x[:, :0])

        def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            return x + torch.arange(x.shape[0])[:, None], h

    variables = (Variable("u", Causality.INPUT, start=0.0), Variable("y", Causality.OUTPUT))
    manifest = Manifest("ranked", variables, 1.0, 0, 0, 0, {"u": Interval(0.0, 1.0), "y": Interval(0.0, 9.0)})
    assert Stepper(export_bundle(Ranked(), manifest)).reproducible_sizes == (1,)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 90), seed=st.integers(0, 1000))
def test_a_row_has_the_same_bits_whoever_is_beside_it(stepper: Stepper, count: int, seed: int):
    random = np.random.default_rng(seed)
    runs = [started(stepper, int(s)) for s in random.integers(0, 50, count)]
    inputs = [{"u0": float(u)} for u in random.uniform(-2.0, 2.0, count)]
    plans = [stepper.plan(run, draws, u) for (run, draws), u in zip(runs, inputs, strict=True)]
    order = random.permutation(count)
    together = stepper.advance_reproducibly([plans[place] for place in order])
    for rank, place in enumerate(order):
        (alone,) = stepper.advance_reproducibly([plans[place]])
        assert bits(together[rank]) == bits(alone)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 20), seed=st.integers(0, 1000))
def test_a_batch_of_any_size_is_the_steps_to_float32(stepper: Stepper, count: int, seed: int):
    random = np.random.default_rng(seed)
    plans = []
    for place in range(count):
        run, draws = started(stepper, place)
        plans.append(stepper.plan(run, draws, {"u1": float(random.uniform(-2, 2))}, None, 0.5 * int(random.integers(1, 4))))
    for plan, many in zip(plans, stepper.advance(plans), strict=True):
        one = stepper.advance_one(plan)
        assert isinstance(many, RunState) and many.step_index == one.step_index
        np.testing.assert_allclose(many.outputs, one.outputs, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(hidden_numbers(many), hidden_numbers(one), rtol=1e-5, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=12), st.sampled_from(list(DomainPolicy)))
def test_plans_from_columns_are_the_plans(stepper: Stepper, powers: list[float], policy: DomainPolicy):
    runs = [started(stepper, place, domain_policy=policy) for place in range(len(powers))]
    columns = {"u2": np.array(powers), "u3": np.full(len(powers), 0.5)}
    many = stepper.plan_columns([run for run, _ in runs], [draws for _, draws in runs], columns)
    for (run, draws), power, plan in zip(runs, powers, many, strict=True):
        try:
            expected = stepper.plan(run, draws, {"u2": power, "u3": 0.5})
        except DomainError as error:
            assert isinstance(plan, DomainError) and str(plan) == str(error)
        else:
            assert plan[2:] == expected[2:] and plan[0] is run


def test_columns_that_cannot_be_used(stepper: Stepper):
    runs, draws = zip(*(started(stepper, place) for place in range(3)), strict=True)
    good = stepper.plan_columns(runs, draws, {"u0": np.array([1.0, np.nan, np.inf])})
    assert [isinstance(plan, InputError) for plan in good] == [False, True, True]
    for columns, size, kind in (
        ({"u0": np.zeros(2)}, None, InputError),
        ({"nothing": np.zeros(3)}, None, InputError),
        ({"y": np.zeros(3)}, None, InputError),
        ({}, 0.7, StepSizeError),
    ):
        refused = stepper.plan_columns(runs, draws, columns, None, size)
        assert all(type(plan) is kind for plan in refused)
    given_z = stepper.plan_columns(runs, draws, {}, np.zeros((3, 5)))
    assert all("z_mode is sampled" in str(plan) for plan in given_z)


def test_external_latents_as_a_column(stepper: Stepper):
    runs, draws = zip(*(started(stepper, 0, z_mode=ZMode.EXTERNAL) for _ in range(6)), strict=True)
    z = np.random.default_rng(0).standard_normal((6, 5))
    many = stepper.advance_reproducibly(stepper.plan_columns(runs, draws, {}, z))
    for row, result in enumerate(many):
        (alone,) = stepper.advance_reproducibly([stepper.plan(runs[row], draws[row], None, z[row])])
        assert bits(result) == bits(alone)


def test_a_row_that_fails_leaves_the_others(toy_bundle: Bundle):
    stepper = Stepper(toy_bundle)
    runs = [started(stepper, place, domain_policy=DomainPolicy.REFUSE) for place in range(6)]
    broken = runs[2][0]._replace(hidden=np.full(stepper.manifest.hidden_dim, np.nan, np.float32))
    hot = runs[4][0]._replace(hidden=np.full(stepper.manifest.hidden_dim, 1e6, np.float32))
    states = [run for run, _ in runs]
    states[2], states[4] = broken, hot
    plans = [stepper.plan(run, draws) for run, (_, draws) in zip(states, runs, strict=True)]
    results = stepper.advance_reproducibly(plans)
    assert type(results[2]) is SessionError and "not finite" in str(results[2])
    assert isinstance(results[4], DomainError)
    for place in (0, 1, 3, 5):
        (alone,) = stepper.advance_reproducibly([plans[place]])
        assert bits(results[place]) == bits(alone)


def test_a_session_is_a_stepper_one_by_one(net_bundle: Bundle, stepper: Stepper):
    session = Session(net_bundle, seed=4)
    session.initialize()
    run, draws = started(stepper, 4)
    for step in range(70):
        run = stepper.advance_one(stepper.plan(run, draws, {"u0": step / 70.0}))
        assert tuple(session.do_step({"u0": step / 70.0}).values()) == run.outputs


def test_a_state_keeps_no_batch_alive(stepper: Stepper):
    plans = [stepper.plan(*started(stepper, place)) for place in range(64)]
    (state, *_) = stepper.advance_reproducibly(plans)
    assert isinstance(state, RunState) and state.hidden.base is None and state.hidden.nbytes == 24 * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_on_a_gpu(net_bundle: Bundle, stepper: Stepper):
    on_gpu = Stepper(net_bundle, "cuda")
    plans = [on_gpu.plan(*started(on_gpu, place)) for place in range(20)]
    for plan, result in zip(plans, on_gpu.advance_reproducibly(plans), strict=True):
        np.testing.assert_allclose(result.outputs, stepper.advance_one(plan).outputs, rtol=1e-4, atol=1e-5)
