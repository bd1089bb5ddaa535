"""The graph generator: one law for all nodes, no influence beyond the rounds, linear steps found, shipped as all others are."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu

from surrogate_fmu.bundle.torchscript import _DeprecationsIgnored
from surrogate_fmu.dataset.scaling import Scaling, measure_scaling
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.fmu.native.generate import generate_sources
from surrogate_fmu.runtime.contract import check_session
from surrogate_fmu.runtime.ensemble import rollout
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.runtime.stepper import Stepper
from surrogate_fmu.training.config import (
    EnergyConfig,
    ExecutionConfig,
    GeneratorConfig,
    Precision,
    Structure,
    TrainingConfig,
)
from surrogate_fmu.training.export import make_trained_bundle
from surrogate_fmu.training.generators.graph import GraphGenerator
from surrogate_fmu.training.generators.messages import MessageRound
from surrogate_fmu.training.graph_config import EdgeSet, GraphConfig
from surrogate_fmu.training.graph_step import fit_step
from surrogate_fmu.training.loop import TrainingResult, train
from surrogate_fmu.training.rollout import draw_latents
from tests.fmu.native.compare import assert_close
from tests.fmu.native.lowered import lower
from tests.training.runs import same_weights
from tests.training.tanks import CONDITION_DIM, PIPES, TANKS, VARIABLES, graph, record

SHARED = graph(shared_run_latents=1, shared_step_latents=1)
CONFIG = GeneratorConfig(TANKS + 1, 2 * TANKS + 1, 3, 12, structure=Structure.GRAPH, graph=SHARED)
INPUTS = [*(f"feed{k}" for k in range(1, TANKS + 1)), "pump"]
CONDITION = [*INPUTS, *(v.name for v in VARIABLES if v.causality == "parameter")]
OUTPUTS = [v.name for v in VARIABLES if v.causality == "output"]


def make(network: GraphConfig = SHARED, seed: int = 0, **changes: Any) -> GraphGenerator:
    random = np.random.default_rng(3)
    condition, outputs = random.uniform(0.5, 2.0, (2, CONDITION_DIM)), random.uniform(0.5, 2.0, (3, 2 * TANKS))
    config = dataclasses.replace(CONFIG, graph=network, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = GraphGenerator(VARIABLES, config, Scaling(*condition, *outputs), (1.0, 16.0), {})
        with torch.no_grad():
            generator.step_scale.copy_(torch.tensor([0.3, 0.2]))
        return generator


def draw(batch: int, steps: int, run_latent_dim: int = TANKS + 1, step_latent_dim: int = 2 * TANKS + 1) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(batch, steps, CONDITION_DIM, generator=random)
    x[..., len(INPUTS) :] = x[:, :1, len(INPUTS) :]
    return x, draw_latents(batch, steps, run_latent_dim, step_latent_dim, random)


def step_through(generator: Any, x: Tensor, z: Tensor) -> Tensor:
    y, h = generator.initial(x[:, 0], z[:, 0])
    path = [y]
    for step in range(x.shape[1]):
        y, h = generator(x[:, step], z[:, step], h)
        path.append(y)
    return torch.stack(path, dim=1)


VARIANTS: dict[str, dict[str, Any]] = {
    "shared latents": {"network": SHARED},
    "gated": {"network": SHARED, "gated": True},
    "directed": {"network": graph(directed=True, shared_run_latents=1, shared_step_latents=1)},
    "set": {"network": GraphConfig(graph().nodes, EdgeSet.ALL, shared_run_latents=1, shared_step_latents=1, rounds=1)},
    "unlike": {"network": dataclasses.replace(SHARED, alike=False)},
}


@pytest.mark.parametrize("directed", [False, True])
def test_a_round_adds_up_what_neighbours_say_over_their_mean_number(directed: bool):
    neighbours = graph(directed=directed).neighbours
    messages, nodes = MessageRound(4, neighbours), torch.randn(2, TANKS, 4)
    mean = sum(map(len, neighbours)) / TANKS
    with torch.no_grad():
        own, receiver, sender = messages.ends(nodes).chunk(3, dim=2)
        for node, some in enumerate(neighbours):
            heard = sum(silu(receiver[:, node] + sender[:, other]) for other in some) if some else torch.zeros(2, 4)
            expected = nodes[:, node] + silu(own[:, node] + messages.heard(heard / mean))
            assert torch.allclose(messages(nodes)[:, node], expected, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_law_whether_rolled_stepped_or_scripted(variant: str):
    generator = make(**VARIANTS[variant])
    x, z = draw(3, 8)
    with torch.no_grad():
        rolled = generator.roll(x, z)
        assert rolled.shape == (3, 9, 2 * TANKS)
        assert torch.allclose(rolled, step_through(generator, x, z), atol=1e-5)
        with _DeprecationsIgnored():
            scripted = torch.jit.script(generator)
        assert torch.allclose(rolled, step_through(scripted, x, z), atol=1e-5)
        assert torch.equal(rolled[:, [0, 5]], generator.roll(x, z, torch.tensor([0, 5])))


def test_copies_go_round_the_conditions():
    generator = make()
    x, _ = draw(3, 4)
    _, z = draw(6, 4)
    with torch.no_grad():
        assert torch.allclose(generator.roll(x, z)[3:], generator.roll(x, z[3:]), atol=1e-6)


def test_levels_start_at_their_parameters_and_overflows_are_learned():
    generator, (x, z) = make(), draw(4, 1)
    with torch.no_grad():
        start, _ = generator.initial(x[:, 0], z[:, 0])
    for k in range(1, TANKS + 1):
        assert torch.allclose(start[:, OUTPUTS.index(f"level{k}")], x[:, 0, CONDITION.index(f"level{k}_start")], atol=1e-5)
    assert start[:, :TANKS].std() > 0.0


def test_gates_begin_as_none_and_then_decide_how_fast_a_memory_follows():
    plain, gated = make(), make(gated=True)
    assert set(gated.load_state_dict(plain.state_dict(), strict=False).missing_keys) == {"gate.weight", "gate.bias"}
    x, z = draw(2, 5)
    with torch.no_grad():
        torch.testing.assert_close(gated.roll(x, z), plain.roll(x, z))
        gated.gate.bias.fill_(-50.0)  # shut
        _, h = gated.initial(x[:, 0], z[:, 0])
        for step in range(5):
            _, after = gated(x[:, step], z[:, step], h)
            assert torch.equal(after[:, 2 * TANKS :], h[:, 2 * TANKS :]) and not torch.equal(after, h)
            h = after


def permuted(values: Tensor, names: list[str], order: list[int]) -> Tensor:
    """Values of tank k are those that tank order[k - 1] had."""
    places = []
    for name in names:
        digits = [c for c in name if c.isdigit()]
        places.append(names.index(name.replace(digits[0], str(order[int(digits[0]) - 1]))) if digits else names.index(name))
    return values[..., places]


@pytest.mark.parametrize("directed", [False, True])
def test_permuting_nodes_and_edges_permutes_the_outputs(directed: bool):
    order = [3, 5, 1, 2, 4]  # tank k of the second plant is tank order[k - 1] of the first
    moved = [(order.index(a) + 1, order.index(b) + 1) for a, b in PIPES]
    options: dict[str, Any] = {"shared_run_latents": 1, "shared_step_latents": 1, "directed": directed}
    first, second = make(graph(**options)), make(graph(edges=moved, **options))
    weights = dict(first.named_parameters())
    second.load_state_dict({**second.state_dict(), **weights})
    x, z = draw(3, 6)
    tanks = range(1, TANKS + 1)
    names = ["run", *(f"run {k}" for k in tanks), "step", *(f"step {k} {i}" for k in tanks for i in "ab")]
    with torch.no_grad():
        expected = permuted(first.roll(x, z), OUTPUTS, order)
        found = second.roll(permuted(x, CONDITION, order), permuted(z, names, order))
        assert torch.allclose(found, expected, atol=1e-5)
        assert not torch.allclose(first.roll(permuted(x, CONDITION, order), permuted(z, names, order)), expected, atol=1e-2)


def distances(directed: bool) -> np.ndarray:
    """Pipes between tanks, from row to column; many where no way leads."""
    found = np.where(np.eye(TANKS, dtype=bool), 0, 99)
    edges = {*PIPES} | (set() if directed else {(b, a) for a, b in PIPES})
    for _ in range(TANKS):
        for a, b in edges:
            found[:, b - 1] = np.minimum(found[:, b - 1], found[:, a - 1] + 1)
    return found


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("linear", [False, True])
def test_a_step_feels_what_is_as_many_edges_away_as_there_are_rounds(rounds: int, directed: bool, linear: bool):
    network = graph(rounds=rounds, directed=directed)
    generator = make(network, run_latent_dim=0, step_latent_dim=0, linear=linear)
    fit_step(generator, record(100, 1, 4, 1), network, linear)
    x, z = draw(1, 1, 0, 0)
    _, h = generator.initial(x[:, 0], z[:, 0])
    h = h.detach()

    def levels(x: Tensor, h: Tensor) -> Tensor:
        return generator(x, z[:, 0], h)[0][0, TANKS:]

    by_x, by_h = (part[:, 0].abs().T.numpy() > 0.0 for part in torch.autograd.functional.jacobian(levels, (x[:, 0], h)))
    near = distances(directed) <= rounds
    assert not near.all()
    for role in ("feed", "size"):
        np.testing.assert_array_equal(by_x[[CONDITION.index(f"{role}{k}") for k in range(1, TANKS + 1)]], near)
    state, memory = by_h[: 2 * TANKS].reshape(TANKS, 2, TANKS), by_h[2 * TANKS :].reshape(TANKS, -1, TANKS)
    for part in (state, memory):
        np.testing.assert_array_equal(part.all(axis=1), near)
        np.testing.assert_array_equal(part.any(axis=1), near)
    assert by_x[[CONDITION.index("pump"), CONDITION.index("slope")]].all()
    assert not by_x[[CONDITION.index(f"level{k}_start") for k in range(1, TANKS + 1)]].any()


def test_latents_of_a_node_are_its_own_and_shared_ones_act_everywhere():
    network = graph(rounds=1, shared_run_latents=1, shared_step_latents=1)
    generator, (x, z) = make(network), draw(1, 1)
    _, h = generator.initial(x[:, 0], z[:, 0])
    jacobian = torch.autograd.functional.jacobian(lambda z: generator(x[:, 0], z, h.detach())[0][0, TANKS:], z[:, 0])[:, 0]
    acts = (jacobian.abs() > 0.0).T.numpy()
    near = distances(False) <= 1
    assert acts[0].all() and acts[TANKS + 1].all()
    np.testing.assert_array_equal(acts[1 : TANKS + 1], near)
    np.testing.assert_array_equal(acts[TANKS + 2 :], near.repeat(2, axis=0))


def test_the_linear_step_of_a_linear_plant_is_found_from_a_few_short_runs():
    runs, fresh = record(4, 1, 6, 1, noise=0.0, curved=0.0), record(8, 1, 20, 2, noise=0.0, curved=0.0)
    generator = GraphGenerator(VARIABLES, CONFIG, measure_scaling(runs, runs), (1.0, 6.0), {})
    fit_step(generator, runs, CONFIG.graph, linear=True)
    assert (generator.step_scale == 1e-5).all() and (generator.start_scale == 1e-5).all()  # nothing is left
    x = torch.tensor(fresh.conditions(), dtype=torch.float32)
    with torch.no_grad():
        rolled = generator.roll(x, torch.zeros(8, 20, 3 * TANKS + 2)).numpy()
    np.testing.assert_allclose(rolled, fresh.outputs, atol=1e-3 * np.ptp(fresh.outputs))
    fit_step(generator, runs, CONFIG.graph, linear=False)
    assert (generator.step_scale > 0.05).all()


def test_nodes_that_are_not_alike_have_a_linear_step_each():
    runs = record(60, 1, 8, 1, noise=0.0, curved=0.0)
    faster = runs.outputs.copy()
    faster[..., TANKS] *= 3.0  # the first tank in another unit, which the others feel
    runs = dataclasses.replace(runs, outputs=faster)
    scales = []
    for alike in (True, False):
        network = graph(alike=alike)
        generator = GraphGenerator(VARIABLES, CONFIG, measure_scaling(runs, runs), (1.0, 6.0), {})
        fit_step(generator, runs, network, linear=True)
        scales.append(generator.step_scale)
    assert scales[0][0] > 0.1 and (scales[1] == 1e-5).all()


TRAINING = TrainingConfig(
    updates=120, batch_size=32, window_steps=(3, 6), validations=3, validation_members=16, learning_rate=5e-3,
    generator=GeneratorConfig(TANKS, TANKS, 8, 16, structure=Structure.GRAPH, graph=graph(rounds=1), linear=True, gated=True),
    energy=EnergyConfig(encoder_width=8),
)  # fmt: skip


@pytest.fixture(scope="module")
def runs() -> tuple[Trajectories, Trajectories]:
    return record(100, 1, 8, 1), record(8, 8, 8, 2)


@pytest.fixture(scope="module")
def result(runs: tuple[Trajectories, Trajectories]) -> TrainingResult:
    return train(*runs, TRAINING)


def test_training_lowers_the_score(runs: tuple[Trajectories, Trajectories], result: TrainingResult):
    first = train(*runs, dataclasses.replace(TRAINING, updates=1))
    assert np.mean(result.best.crps_ratio) < 0.85 * np.mean(first.best.crps_ratio)
    assert 0.8 < np.mean(result.best.spread_ratio) < 1.25
    assert (result.generator.step_scale < 0.5).all()  # of an output's spread: what the linear step leaves


def test_equal_seeds_give_equal_weights(runs: tuple[Trajectories, Trajectories]):
    short = dataclasses.replace(TRAINING, updates=5)
    assert same_weights(train(*runs, short), train(*runs, short))


def test_what_sets_nodes_apart_is_learned(runs: tuple[Trajectories, Trajectories]):
    sizes = dataclasses.replace(TRAINING.generator, graph=graph(rounds=1, alike=False))
    apart = train(*runs, dataclasses.replace(TRAINING, updates=3, generator=sizes)).generator
    assert isinstance(apart, GraphGenerator)
    assert apart.known_offset.shape == (TANKS, 16) and apart.known_offset.std(dim=0).min() > 0.0


def test_mixed_precision_trains_to_the_same_within_its_rounding(runs: tuple[Trajectories, Trajectories]):
    short = dataclasses.replace(TRAINING, updates=20)
    plain, mixed = (
        train(*runs, dataclasses.replace(short, execution=ExecutionConfig(precision=precision))) for precision in Precision
    )
    assert not same_weights(plain, mixed)
    assert np.allclose(plain.best.crps_ratio, mixed.best.crps_ratio, rtol=0.03)


def test_the_bundle_and_its_native_fmu_follow_the_generator(
    runs: tuple[Trajectories, Trajectories], result: TrainingResult, tmp_path: Path
):
    training, validation = runs
    bundle = make_trained_bundle("tanks", "", result, training, validation, TRAINING)
    names = [v.name for v in bundle.manifest.outputs]
    inputs = [dict(zip(INPUTS, row, strict=True)) for row in validation.inputs[3].tolist()]
    parameters = dict(zip(CONDITION[len(INPUTS) :], validation.parameters[3].tolist(), strict=True))

    def follow(session: Any) -> np.ndarray:
        session.set_values(parameters | inputs[0])
        points = [session.initialize(), *(session.do_step(some) for some in inputs)]
        return np.array([[point[name] for name in names] for point in points])

    conditions = torch.tensor(validation.conditions()[3:4], dtype=torch.float32)
    with torch.no_grad():
        eager = result.generator.roll(conditions, torch.zeros(1, len(inputs), 2 * TANKS))[0].numpy()
    np.testing.assert_allclose(follow(Session(bundle, z_mode="mean")), eager, atol=1e-4)
    drawn = follow(Session(bundle, seed=5))
    assert np.abs(drawn - eager).max() > 0.05
    check_session(lambda **options: Session(bundle, **options), bundle.manifest)
    together = rollout(bundle, validation.conditions()[[3, 3, 0]], np.array([4, 5, 6]))
    np.testing.assert_allclose(together[1], drawn, atol=1e-4)
    assert Stepper(bundle).reproducible_batch > 1  # rows of a batch have equal bits whatever the others are
    for fmi in FmiVersion:
        path = build_native_fmu(bundle, tmp_path / f"{fmi}" / "tanks.fmu", BuildConfig(fmi=fmi, external_latents=True))
        with FmuSession(path, seed=5) as session:
            np.testing.assert_allclose(follow(session), drawn, atol=1e-4)
        check_session(lambda path=path, **options: FmuSession(path, **options), bundle.manifest)


def test_native_code_knows_what_outputs_depend_on(runs: tuple[Trajectories, Trajectories], result: TrainingResult):
    alone = make(graph(rounds=1), run_latent_dim=TANKS, step_latent_dim=TANKS)  # without a linear step, so by messages
    model = generate_sources(make_trained_bundle("tanks", "", dataclasses.replace(result, generator=alone), *runs, TRAINING))
    near = distances(False) <= 1
    for k in range(1, TANKS + 1):
        output = OUTPUTS.index(f"level{k}")
        assert {CONDITION[i] for i in model.initial_dependencies[output]} == {f"level{k}_start"}
        tanks = [other for other in range(1, TANKS + 1) if near[other - 1, k - 1]]
        names = {f"{role}{other}" for role in ("feed", "size") for other in tanks} | {"pump", "slope"}
        assert {CONDITION[i] for i in model.dependencies[output]} == names


@pytest.mark.parametrize("variant", VARIANTS)
def test_native_values_and_derivatives_are_those_of_torch(runs: tuple[Trajectories, Trajectories], variant: str):
    generator = make(**VARIANTS[variant])
    fit_step(generator, runs[0], VARIANTS[variant]["network"], linear=True)
    config = dataclasses.replace(
        TRAINING, generator=dataclasses.replace(CONFIG, graph=VARIANTS[variant]["network"], gated=generator.gated)
    )
    result = TrainingResult(generator, train(*runs, dataclasses.replace(TRAINING, updates=1)).best, 1, 1, 0.0, "updates")
    native = lower(make_trained_bundle("tanks", "", result, *runs, config), float64=True)
    double = generator.double()
    x, z = (part[:, 0].double() for part in draw(4, 1))
    with torch.no_grad():
        y, h = double.initial(x, z)
        for mine, theirs in zip(native.initial(x.numpy(), z.numpy()), (y, h), strict=True):
            assert_close(mine, theirs.numpy(), 1e-12, "the start")
        for mine, theirs in zip(native.step(x.numpy(), z.numpy(), h.numpy()), double(x, z, h), strict=True):
            # Rates that depend on nothing are constants of the graph, calculated in single precision.
            assert_close(mine, theirs.numpy(), 1e-12 if generator.gated else 1e-7, "a step")
    random = np.random.default_rng(0)
    x, z, h = x[:1], z[:1], h[:1]
    dx, dh, dy = (random.normal(size=(3, size)) for size in (CONDITION_DIM, h.shape[1], y.shape[1]))
    by_x, by_h = torch.autograd.functional.jacobian(lambda x, h: double(x, z, h)[0][0], (x, h))
    by_x, by_h = by_x[:, 0].numpy(), by_h[:, 0].numpy()
    found = native.step_tangent(x.numpy(), z.numpy(), h.numpy(), dx, dh)[0]
    assert_close(found, dx @ by_x.T + dh @ by_h.T, 1e-10, "tangents")
    found = native.step_adjoint(x.numpy(), z.numpy(), h.numpy(), dy, np.zeros((3, len(h[0]))))[0]
    assert_close(found, dy @ by_x, 1e-10, "adjoints")
