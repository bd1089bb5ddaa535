"""Components with arrays in a system: SSP 1.0 has scalars, so their elements are wired by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.plant.fmu_plant import FmuPlant
from surrogate_fmu.plant.run import simulate
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.ssp.compare import compare
from surrogate_fmu.ssp.master import SystemMaster
from surrogate_fmu.ssp.structure import read_structure
from surrogate_fmu.ssp.swap import swap
from surrogate_fmu.ssp.tap import record_in_system
from tests.face.rods import SOME, rod_bundle
from tests.plant.rod import ROD, build_rod, rod_steps
from tests.ssp.systems import component, connection, connector, parameters, system, write_ssp

FACTOR = 0.05
INTO = {f"heaters[{i}]": f"T[{i}]" for i in (1, 2, 3)}
CONNECTORS = [
    *(connector(name, "input", unit="W") for name in INTO),
    *(connector(name, "output") for name in INTO.values()),
    connector("hot[3]", "output", "Boolean"),
    connector("open[2]", "input", "Boolean"),
    connector("gains[2,3]", "parameter"),
]


@pytest.fixture(scope="module")
def rod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_rod(tmp_path_factory.mktemp("rod") / "Rod.fmu")


@pytest.fixture
def pair(rod: Path, tmp_path: Path) -> Callable[..., Path]:
    """Two rods that heat each other, node by node."""

    def write(fmu: Path = rod, name: str = "pair") -> Path:
        transform = f'<ssd:LinearTransformation factor="{FACTOR}"/>'
        names = [(out, into, transform) for into, out in INTO.items()] + [("hot[3]", "open[2]", "")]
        wires = [connection(f"{a}.{out}", f"{b}.{into}", t) for a, b in (("one", "two"), ("two", "one")) for out, into, t in names]
        parts = [component(n, "resources/Rod.fmu", CONNECTORS, parameters({"gains[2,3]": 0.5})) for n in ("one", "two")]
        return write_ssp(tmp_path / f"{name}.ssp", system(name, parts, wires), {"resources/Rod.fmu": fmu}, stop=4.0)

    return write


def test_elements_are_wired_by_name(pair: Callable[..., Path]) -> None:
    with SystemMaster(read_structure(pair())) as master:
        runs = [master.run(0.5, 4.0) for _ in range(2)]
    gains = np.array([[1.0, 2.0, 3.0], [0.1, 0.2, 0.5]])
    heaters, is_open = [], []  # both rods are alike, so each heats itself
    for k in range(8):
        t = rod_steps(np.array(heaters), np.array(is_open), np.ones(k), gains=gains)[0][-1] if k else np.full(3, 20.0)
        heaters.append(FACTOR * t)
        is_open.append([1.0, float(t[2] > 25.0)])
    known, _ = rod_steps(np.array(heaters), np.array(is_open), np.ones(8), gains=gains)
    for run in runs:
        for i in (1, 2, 3):
            np.testing.assert_allclose(run.signals[f"two.T[{i}]"], known[:, i - 1], rtol=1e-12)
    assert runs[0].signals["one.hot[3]"].max() == 1.0


@pytest.mark.parametrize("fmi", FmiVersion)
def test_a_surrogate_takes_its_place_and_is_compared(pair: Callable[..., Path], fmi: FmiVersion, tmp_path: Path) -> None:
    """A surrogate as the plant, and its twin of either version in its place: the same numbers."""
    bundle = rod_bundle(tmp_path, SOME)
    first = build_native_fmu(bundle, tmp_path / "First.fmu", BuildConfig(fmi=FmiVersion.V3))
    second = build_native_fmu(bundle, tmp_path / "Second.fmu", BuildConfig(fmi=fmi))
    system_of_first = pair(first, "surrogates")
    done = swap(system_of_first, "two", second, tmp_path / "swapped.ssp")
    assert any("the system sets 'gains[2,3]' to 0.5; Second.fmu knows it at 0.3 alone" in warning for warning in done.warnings)
    result = compare(system_of_first, tmp_path / "swapped.ssp", 0.5)
    assert {"one.T[1]", "two.T[3]", "one.hot[3]"} <= {signal.name for signal in result.signals}
    assert max(signal.largest for signal in result.signals) < 1e-6 and result.swapped == ("two",)


def test_what_it_gets_in_the_system_is_recorded_by_elements(pair: Callable[..., Path], rod: Path) -> None:
    runs = record_in_system(pair(), "two", 0.5)
    assert [v.name for v in runs.variables][:4] == ["heaters[1]", "heaters[2]", "heaters[3]", "open[2]"]
    assert runs.face is not None and {"T", "heaters", "open"} <= {array.name for array in runs.face.arrays}
    inputs = [v.name for v in runs.variables if v.causality == "input"]
    outputs = tuple(v.name for v in runs.variables if v.causality == "output")
    plant = FmuPlant(rod, PlantSettings(inputs=tuple(inputs), outputs=outputs, values={"gains[2,3]": 0.5}))
    alone = simulate(plant, 1, {}, {name: runs.inputs[0, :, place] for place, name in enumerate(inputs)})
    np.testing.assert_allclose(runs.outputs[0], alone, rtol=1e-12)
    plant.close()


def test_whole_arrays_are_refused_by_the_master_and_looked_at_by_swap(rod: Path, tmp_path: Path) -> None:
    def written(name: str, wires: list[str], more: str = "") -> Path:
        parts = [
            component(n, "resources/Rod.fmu", [connector("heaters", "input"), connector("T", "output")], more)
            for n in ("one", "two")
        ]
        return write_ssp(tmp_path / f"{name}.ssp", system(name, parts, wires), {"resources/Rod.fmu": rod}, stop=4.0)

    wired = written("wired", [connection("one.T", "two.heaters")])
    message = (
        r"the system connects 'T' of 'one', an array of 3 elements; .* so let the system take the elements, 'T\[1\]' to 'T\[3\]'"
    )
    with pytest.raises(ConfigError, match=message):
        SystemMaster(read_structure(wired))
    with pytest.raises(ConfigError, match=r"the system sets 'gains' of 'one', an array of 6 elements"):
        SystemMaster(read_structure(written("set", [], parameters({"gains": 1.0}))))
    surrogate = build_native_fmu(rod_bundle(tmp_path, SOME), tmp_path / "Fast.fmu", BuildConfig(fmi=FmiVersion.V3))
    assert swap(wired, "two", surrogate, tmp_path / "swapped.ssp").member == "resources/Fast.fmu"
    flat = build_native_fmu(rod_bundle(tmp_path, SOME), tmp_path / "Flat.fmu", BuildConfig(fmi=FmiVersion.V2))
    with pytest.raises(ConfigError, match=r"Flat\.fmu does not fit 'two': it lacks 'heaters', which the system connects"):
        swap(wired, "two", flat, tmp_path / "other.ssp")
    longer = build_rod(
        tmp_path / "Longer.fmu",
        ROD.replace('start="0.5" description="of the nodes">\n      <Dimension start="3"/>', 'start="0.5"><Dimension start="4"/>'),
    )
    with pytest.raises(ConfigError, match=r"'heaters' with 3 elements \(there they are 4\)\. It has stage, heaters, open"):
        swap(wired, "two", longer, tmp_path / "other.ssp")
