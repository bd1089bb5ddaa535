"""Array variables of FMI 3.0 as a plant has them: elements count as variables, and the FMU gets and gives whole arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surrogate_fmu.errors import ConfigError, PlantError
from surrogate_fmu.plant.design import Design, Excitation, InputDesign, Range
from surrogate_fmu.plant.excitation import draw_schedules
from surrogate_fmu.plant.fmu_arrays import ARRAY_LIMIT
from surrogate_fmu.plant.fmu_plant import FmuPlant
from surrogate_fmu.plant.record import record
from surrogate_fmu.plant.run import simulate
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.variables import Causality, VariableType, with_causality
from tests.plant.rod import GAINS, ROD, TRIM, build_rod, rod_steps, with_variables

STEPS = 8
RANDOM = np.random.default_rng(5)
HEATERS, OPEN, MODE = RANDOM.uniform(0.0, 4.0, (STEPS, 3)), RANDOM.integers(0, 2, (STEPS, 2)), RANDOM.integers(1, 3, STEPS)
INPUTS = {f"heaters[{i + 1}]": HEATERS[:, i] for i in range(3)}
INPUTS |= {f"open[{i + 1}]": OPEN[:, i].astype(float) for i in range(2)} | {"mode": MODE.astype(float)}


@pytest.fixture(scope="module")
def rod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_rod(tmp_path_factory.mktemp("rod") / "Rod.fmu")


def test_elements_are_variables_with_what_the_array_says_of_them(rod: Path) -> None:
    plant = FmuPlant(rod, PlantSettings(parameters=("gains",)))
    names = [v.name for v in plant.variables]
    assert names == [
        *(f"stage[{i}]" for i in (1, 2, 3)),
        *(f"heaters[{i}]" for i in (1, 2, 3)),
        *("open[1]", "open[2]", "mode"),
        *(f"gains[{i},{j}]" for i in (1, 2) for j in (1, 2, 3)),
        *(f"T[{i}]" for i in (1, 2, 3)),
        *(f"flux[{i},{j}]" for i in (1, 2) for j in (1, 2, 3)),
        *(f"hot[{i}]" for i in (1, 2, 3)),
    ]
    by_name = {v.name: v for v in plant.variables}
    heater = by_name["heaters[2]"]
    assert (heater.start, heater.min, heater.max, heater.nominal, heater.unit) == (0.5, 0.0, 10.0, 2.0, "W")
    assert heater.description == "of the nodes" and heater.causality is Causality.INPUT
    assert [by_name[f"gains[{i},{j}]"].start for i in (1, 2) for j in (1, 2, 3)] == GAINS.ravel().tolist()
    assert [by_name[f"open[{i}]"].start for i in (1, 2)] == [1.0, 0.0] and by_name["open[1]"].type is VariableType.BOOLEAN
    assert by_name["stage[3]"].type is VariableType.INTEGER and by_name["hot[1]"].type is VariableType.BOOLEAN
    kept = {v.name: v.start for v in plant.face.kept}
    assert kept == {"material[1]": 1.0, "material[2]": 4.0, "material[3]": 1.0, "version[1]": 3.0, "version[2]": 1.0}
    arrays = {array.name: (array.shape, array.value_reference) for array in plant.face.arrays}
    assert arrays["T"] == ((3,), 40) and arrays["flux"] == ((2, 3), 41) and arrays["material"] == ((3,), 21)
    assert [alias.of for alias in plant.face.aliases] == ["heaters", "T"]
    assert plant.interface.seed == "seed"
    plant.close()


def test_the_fmu_gets_and_gives_whole_arrays(rod: Path) -> None:
    plant = FmuPlant(rod)
    seen = simulate(plant, 1, {}, INPUTS)
    outputs = [v.name for v in with_causality(plant.variables, Causality.OUTPUT)]
    columns = {name: seen[:, place] for place, name in enumerate(outputs)}
    temperatures, fluxes = rod_steps(HEATERS, OPEN, MODE)
    for i in range(3):
        np.testing.assert_allclose(columns[f"T[{i + 1}]"], temperatures[:, i], rtol=1e-12)
        np.testing.assert_array_equal(columns[f"stage[{i + 1}]"], np.floor(temperatures[:, i] / 2.0))
        np.testing.assert_array_equal(columns[f"hot[{i + 1}]"], temperatures[:, i] > 25.0)
        for row in range(2):
            np.testing.assert_allclose(columns[f"flux[{row + 1},{i + 1}]"], fluxes[:, row, i], rtol=1e-12, atol=1e-12)
    assert columns["hot[3]"].any() and not columns["hot[3]"].all()
    plant.close()


def test_elements_that_are_set_alone_leave_the_others_where_they_start(rod: Path) -> None:
    settings = PlantSettings(
        inputs=("heaters[2]",),
        outputs=("T", "flux[2,1]"),
        parameters=("gains[1,2]", "gains[2,2]"),
        values={"material": 4.0, "material[3]": 1.0},
    )
    plant = FmuPlant(rod, settings)
    assert [v.name for v in plant.variables] == ["heaters[2]", "gains[1,2]", "gains[2,2]", "T[1]", "T[2]", "T[3]", "flux[2,1]"]
    assert plant.face.values == {"material[1]": 4.0}  # material[2] starts there
    heaters = np.full((STEPS, 3), 0.5)
    heaters[:, 1] = HEATERS[:, 1]
    gains = GAINS.copy()
    gains[0, 1] = 7.0
    known, fluxes = rod_steps(heaters, np.tile([1, 0], (STEPS, 1)), np.ones(STEPS), gains=gains, material=np.array([4.0, 4.0, 1.0]))
    for _ in range(2):
        seen = simulate(plant, 1, {"gains[1,2]": 7.0}, {"heaters[2]": HEATERS[:, 1]})
        np.testing.assert_allclose(seen[:, :3], known, rtol=1e-12)
        np.testing.assert_allclose(seen[:, 3], fluxes[:, 1, 0], rtol=1e-12, atol=1e-12)
    gains = GAINS.copy()
    gains[1, 1] = 0.25  # and nothing of the runs before
    known, _ = rod_steps(heaters, np.tile([1, 0], (STEPS, 1)), np.ones(STEPS), gains=gains, material=np.array([4.0, 4.0, 1.0]))
    seen = simulate(plant, 1, {"gains[2,2]": 0.25}, {"heaters[2]": HEATERS[:, 1]})
    np.testing.assert_allclose(seen[:, :3], known, rtol=1e-12)
    kept = {v.name: (v.causality, v.start) for v in plant.face.kept if v.name.startswith(("flux", "heaters", "gains"))}
    assert kept["flux[1,1]"] == (Causality.OUTPUT, 0.0) and kept["heaters[1]"] == (Causality.INPUT, 0.5)
    assert "gains[1,2]" not in kept and kept["gains[2,3]"] == (Causality.PARAMETER, 0.3)
    left_out = plant.interface.left_out
    assert "output hot was not chosen" in left_out and "output stage was not chosen" in left_out
    others = "flux[1,1], flux[1,2], flux[1,3], flux[2,2], flux[2,3]"
    assert f"elements of outputs that were not chosen: {others}; they stay where they start" in left_out
    assert not [array for array in plant.face.arrays if array.name in ("hot", "stage")]
    plant.close()


def test_it_is_recorded_as_any_other(rod: Path, tmp_path: Path) -> None:
    from surrogate_fmu.dataset.store import read_trajectories, write_trajectories

    source = PlantSource(rod.name, rod.parent, PlantSettings(outputs=("T", "stage"), parameters=("gains[1,1]",)))
    every = InputDesign(0.0, 2.0, (Excitation.STEPS,), (1.0, 3.0))
    design = Design(dict.fromkeys(INPUTS, every), {"gains[1,1]": Range(0.5, 2.0)})
    schedules = draw_schedules(design, 3, STEPS, 0.5, 1)
    runs = record(source, schedules, 1, 2, tmp_path / "runs", 2).trajectories
    assert runs.names(Causality.INPUT) == tuple(INPUTS)
    assert set(np.unique(runs.inputs[..., 3:5])) <= {0.0, 1.0} and set(np.unique(runs.inputs[..., 5])) <= {1.0, 2.0}
    gains = GAINS.copy()
    for run in range(3):
        gains[0, 0] = runs.parameters[run, 0]
        known, _ = rod_steps(runs.inputs[run, :, :3], runs.inputs[run, :, 3:5], runs.inputs[run, :, 5], gains=gains)
        np.testing.assert_allclose(runs.outputs[run, :, 3:6], known, rtol=1e-12)
    write_trajectories(runs, tmp_path / "rod.nc")
    read = read_trajectories(tmp_path / "rod.nc")
    assert read.variables == runs.variables and read.face == runs.face and read.face is not None and read.face.arrays
    np.testing.assert_allclose(read.outputs, runs.outputs, rtol=1e-6)


def test_small_types_are_set_and_read_too(tmp_path: Path) -> None:
    plant = FmuPlant(build_rod(tmp_path / "Small.fmu", with_variables(TRIM)), PlantSettings(outputs=("T",)))
    trim = {"trim[1]": np.full(STEPS, 0.5), "trim[2]": np.full(STEPS, -0.25)}
    known, _ = rod_steps(HEATERS, OPEN, MODE, trim=(0.5, -0.25))
    np.testing.assert_allclose(simulate(plant, 1, {}, INPUTS | trim), known, rtol=1e-12)
    plant.close()


def test_what_the_fmu_refuses_is_told_by_the_arrays_name(rod: Path) -> None:
    plant = FmuPlant(rod, PlantSettings(outputs=("T",), parameters=("gains[1,2]",)))
    plant.reset(1, {})
    with pytest.raises(PlantError, match=r"Rod\.fmu: setting gains failed .* it logged: a variable that cannot be set now"):
        plant.do_step({"gains[1,2]": 2.0}, 0.5)
    plant.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"outputs": ("T[4]",)}, r"has no numeric output 'T\[4\]'; it has stage, T, flux, hot, version, temperatures$"),
        ({"inputs": ("heat",)}, r"has no numeric input 'heat'; it has heaters, open, mode, powers$"),
        ({"outputs": ("temperatures",)}, r"'temperatures' is another name of 'T'; name that one"),
        (
            {"values": {"size": 4.0}},
            r"'size' is a size of the array 'material', and arrays are recorded with the sizes that they",
        ),
        ({"parameters": ("size",)}, r"leave it out, or export the FMU with another start value of 'size'"),
    ],
)
def test_names_and_sizes_that_cannot_be_are_refused(rod: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"Rod\.fmu.*" + message):
        FmuPlant(rod, PlantSettings(**settings))


def test_what_cannot_be_taken_is_left_out_or_refused_in_words(tmp_path: Path) -> None:
    large = (
        f'<Float64 name="field" valueReference="90" causality="input" start="0.0"><Dimension start="{ARRAY_LIMIT + 1}"/></Float64>'
        '<String name="labels" valueReference="91" causality="parameter"><Dimension start="2"/><Start value="a"/><Start value="b"/>'
        "</String>"
        '<Float64 name="wide" valueReference="92" causality="local"><Dimension start="1000000"/></Float64>'
    )
    fmu = build_rod(tmp_path / "Large.fmu", with_variables(large))
    plant = FmuPlant(fmu)
    assert (
        "input field is an array of 1025 elements, more than the 1024 that can be columns of a recording"
        in plant.interface.left_out
    )
    assert "parameter labels is no number" in plant.interface.left_out
    assert "1 local variables, which a master can only read" in plant.interface.left_out
    assert not {array.name for array in plant.face.arrays} & {"field", "labels", "wide"}
    np.testing.assert_allclose(simulate(plant, 1, {}, INPUTS)[:, 3:6], rod_steps(HEATERS, OPEN, MODE)[0], rtol=1e-12)
    plant.close()
    with pytest.raises(
        ConfigError, match=r"'field' is an array of 1025 elements, .*; leave it out, or export the FMU with smaller"
    ):
        FmuPlant(fmu, PlantSettings(inputs=("field",)))
    starts = build_rod(tmp_path / "Starts.fmu", ROD.replace('start="true false"', 'start="true false true"'))
    with pytest.raises(ConfigError, match=r"the array 'open' has 2 elements and 3 start values; expected 2, or one for all"):
        FmuPlant(starts)
    same = build_rod(
        tmp_path / "Same.fmu", with_variables('<Float64 name="T[2]" valueReference="90" causality="input" start="0"/>')
    )
    with pytest.raises(ConfigError, match=r"has the array 'T' and a variable 'T\[2\]', as which an element of it counts here"):
        FmuPlant(same)
