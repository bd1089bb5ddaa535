"""What an instance keeps between calls for derivatives changes no bit of any of them."""

from ctypes import byref, c_void_p

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.variables import Causality, Variable
from tests.fmu.native_fmu.library import DISCARD, OK, Library

INPUTS, FIELD, OUTPUTS, HIDDEN = 13, (2, 2), 3, 5
CONDITION = INPUTS + 1 + 4


class Recurrent(nn.Module):
    """A cell behind a dense layer; more inputs than columns go together, an array among them, and a parameter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.dense, self.cell, self.head = nn.Linear(CONDITION + 2, 20), nn.GRUCell(20, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(x[:, 1:6] * x[:, -1:])
        return self.head(h), h

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(torch.tanh(self.dense(torch.cat([x, z], 1))), h)
        return self.head(h), h


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    variables = [Variable(f"x{i}", Causality.INPUT, start=0.07 * i) for i in range(INPUTS)]
    variables += [Variable("field", Causality.INPUT, start=0.2, shape=FIELD), Variable("p", Causality.PARAMETER, start=0.7)]
    variables += [Variable(f"y{i}", Causality.OUTPUT) for i in range(OUTPUTS)]
    # Narrow, so that some steps end outside.
    domain = {v.name: Interval(-1.0, 1.0) for v in variables} | {"y0": Interval(-0.6, 0.1)}
    return export_bundle(Recurrent(), Manifest("recurrent", tuple(variables), 1.0, 1, 1, HIDDEN, domain))


@pytest.fixture(scope="module", params=[{}, {"float64": True}, {"ensemble": 3}], ids=["float32", "float64", "ensemble"])
def library(bundle: Bundle, fmi: FmiVersion, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("jacobians")
    return Library(build_native_fmu(bundle, folder / "recurrent.fmu", BuildConfig(fmi=fmi, **request.param)), folder)


class Instances:
    """An instance that is asked many things, and a twin that gets its state anew before each question."""

    def __init__(self, library: Library, domain_policy: int) -> None:
        self.library, names = library, library.references
        self.one, self.twin = library.instantiate(), library.instantiate()
        for instance in (self.one, self.twin):
            library.set_integer(instance, names["domain_policy"], domain_policy)
            assert library.initialize(instance) == OK
        scalars = [names[f"x{i}"] for i in range(INPUTS)]
        fields = [names["field"]] if library.third else [v for k, v in names.items() if k.startswith("field")]
        self.knowns = scalars + fields
        self.sizes = [1] * INPUTS + ([4] if library.third else [1] * 4)
        self.unknowns = [names[f"y{i}"] for i in range(OUTPUTS)]
        self.time, self.states = 0.0, list[tuple[c_void_p, float]]()

    def ask(self, unknowns: list[int], places: list[int], seed: list[float]) -> list[float]:
        knowns = [self.knowns[i] for i in places]
        status, found = self.library.directional(self.one, unknowns, knowns, seed)
        assert status == OK
        status, state = self.library.get_state(self.one)
        assert status == OK and self.library.function("SetFMUState")(c_void_p(self.twin), state) == OK
        self.library.function("FreeFMUState")(c_void_p(self.one), byref(state))
        assert (OK, found) == self.library.directional(self.twin, unknowns, knowns, seed)
        return found

    def unit(self, element: int) -> tuple[list[int], list[float]]:
        """The known that an element of x is part of, and the seed that moves it alone."""
        place = min(element, len(self.knowns) - 1) if self.library.third else element
        seed = [0.0] * self.sizes[place]
        seed[element - INPUTS if len(seed) > 1 else 0] = 1.0
        return [place], seed

    def jacobian(self, order: list[int]) -> np.ndarray:
        columns = {i: self.ask(self.unknowns, *self.unit(i)) for i in order}
        return np.array([columns[i] for i in sorted(columns)]).T

    def step(self, substeps: int) -> bool:
        """Whether it was taken."""
        status = self.library.do_step(self.one, self.time, float(substeps))
        assert status in (OK, DISCARD)
        self.time += substeps if status == OK else 0
        return status == OK

    def set(self, values: np.ndarray) -> None:
        assert self.library.set_reals(self.one, self.knowns, values.tolist()) == OK

    def keep(self) -> None:
        self.states.append((self.library.get_state(self.one)[1], self.time))

    def restore(self, number: int) -> None:
        state, self.time = self.states[number]
        assert self.library.function("SetFMUState")(c_void_p(self.one), state) == OK

    def free(self) -> None:
        for state, _ in self.states:
            self.library.function("FreeFMUState")(c_void_p(self.one), byref(state))
        for instance in (self.one, self.twin):
            self.library.free(instance)


@pytest.mark.parametrize("domain_policy", [1, 2, 3], ids=["warn", "clamp", "refuse"])
@pytest.mark.parametrize("seed", range(3))
def test_random_questions_have_the_answers_of_a_fresh_instance(library: Library, domain_policy: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    instances = Instances(library, domain_policy)
    elements, taken = list(range(INPUTS + 4)), list[bool]()
    instances.keep()
    for _ in range(150):
        action = rng.integers(10)
        if action == 0:
            # Some outside the domain; refused ones would end everything.
            instances.set(rng.normal(size=len(elements)) if domain_policy < 3 else rng.uniform(-1.0, 1.0, len(elements)))
        elif action == 1:
            taken.append(instances.step(int(rng.choice([1, 1, 1, 3]))))
        elif action == 2:
            instances.keep()
        elif action == 3:
            instances.restore(int(rng.integers(len(instances.states))))
        elif action == 4:
            assert library.do_step(instances.one, instances.time, 0.3) != OK  # refused
        elif action <= 6:
            first, last = sorted(rng.integers(len(elements) + 1, size=2))
            instances.jacobian(elements[first:last] if action == 5 else elements[first:last][::-1])
        elif action == 7:
            instances.ask(instances.unknowns[1:], *instances.unit(int(rng.integers(len(elements)))))
        else:
            places = sorted(rng.choice(len(instances.knowns), size=3, replace=False).tolist())
            count = sum(instances.sizes[i] for i in places)
            instances.ask(instances.unknowns, places, rng.choice([0.0, 1.0, 2.5, -1.0], size=count).tolist())
    assert any(taken) and all(taken) == (domain_policy < 3)
    instances.free()


@pytest.mark.parametrize("substeps", [1, 3])
def test_a_jacobian_is_that_of_torch(library: Library, substeps: int) -> None:
    """With latents of 0, as torch has no stream of them."""
    instances = Instances(library, 1)
    names, one = library.references, instances.one
    library.function("Reset")(c_void_p(one))
    library.set_integer(one, names["z_mode"], 2)
    assert library.initialize(one) == OK
    values = np.random.default_rng(1).uniform(-0.9, 0.9, INPUTS + 4)
    instances.step(1)
    instances.set(values)
    instances.step(substeps)
    module = Recurrent().double().eval()
    zero = torch.zeros(1, 2).double()
    start = torch.tensor([[*(0.07 * i for i in range(INPUTS)), *[0.2] * 4, 0.7]], dtype=torch.float64)
    _, h = module.initial(start, zero)
    _, h = module(start, zero, h)

    def outputs(inputs: Tensor) -> Tensor:
        x, after = torch.cat([inputs, start[0, -1:]])[None], h
        for _ in range(substeps):
            y, after = module(x, zero, after)
        return y[0]

    expected = torch.func.jacrev(outputs)(torch.from_numpy(values)).detach().numpy()
    found = instances.jacobian(list(range(INPUTS + 4)))
    # The module's numbers are float32 and the start values are rounded to it; twice as many roundings as layers.
    assert found == pytest.approx(expected, abs=2e-6)
    seed = np.linspace(-1.0, 1.0, INPUTS + 4)
    along = instances.ask(instances.unknowns, list(range(len(instances.knowns))), seed.tolist())
    assert along == pytest.approx((expected @ seed).tolist(), abs=5e-6)
    instances.free()


def test_instances_do_not_share_what_they_keep(library: Library) -> None:
    one, other = Instances(library, 1), Instances(library, 1)
    for instances, value in ((one, 0.5), (other, -0.5)):
        instances.set(np.full(INPUTS + 4, value))
        instances.step(1)
    first = one.jacobian(list(range(10)))
    second = other.jacobian(list(range(10)))
    assert (one.jacobian(list(range(10))) == first).all() and (first != second).all()
    library.function("Reset")(c_void_p(one.one))
    assert library.initialize(one.one) == OK
    one.time = 0.0
    assert (one.jacobian(list(range(10))) != first).any()
    for instances in (one, other):
        instances.free()
