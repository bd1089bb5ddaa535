"""Names with brackets and commas through the verbs: flattened arrays of FMI 2.0, arrays of FMI 3.0 by name or by element."""

import json
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import read_bundle
from surrogate_fmu.cli.main import main
from surrogate_fmu.cli.names import split_names
from surrogate_fmu.config import find_line, load_config
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.variables import Causality
from tests.face.test_same_face import face_of, parsed
from tests.plant.rod import build_rod, rod_steps

GRID = '''
"""A grid of two cells."""

from surrogate_fmu.variables import Causality, Variable


class Grid:
    """A grid."""

    communication_step_size = 0.5
    variables = (
        Variable("u[1]", Causality.INPUT, "W", start=0.0),
        Variable("u[2]", Causality.INPUT, "W", start=0.0),
        Variable("K[1,2]", Causality.PARAMETER, start=0.5),
        Variable("T[1]", Causality.OUTPUT, "K"),
        Variable("M[1,2]", Causality.OUTPUT),
    )

    def reset(self, seed, parameters):
        self.t, self.k = 290.0, parameters.get("K[1,2]", 0.5)
        return {"T[1]": self.t, "M[1,2]": 0.0}

    def do_step(self, inputs, communication_step_size):
        self.t += 0.1 * (inputs["u[1]"] - self.k * (self.t - 290.0))
        return {"T[1]": self.t, "M[1,2]": inputs["u[1]"] - inputs["u[2]"]}
'''
REST = """
[recording]
steps = 8
sets.train = { schedules = 8, seed = 1 }
sets.validation = { schedules = 2, seed = 2 }
sets.test = { schedules = 2, seed = 3 }

[training]
objective = "terms"
updates = 6
batch_size = 4
window_steps = [2, 4]
validations = 2
validation_members = 2

[[training.terms]]
name = "mean-error"
options = { members = 1 }

[training.generator]
linear = true
run_latent_dim = 0
memory_dim = 2
width = 4

[verify]
leads = [1, 2]
rollout_count = 0
"""
FLATTENED = """
[surrogate]
name = "grid"
plant = "Grid.fmu"

[plant]
parameters = ["K[1,2]"]

[variables]
"u[1]" = "W"
"u[2]" = "W"
"K[1,2]" = "1"
"T[1]" = "K"
"M[1,2]" = "1"

[recording.design.parameters]
"K[1,2]" = { min = 0.2, max = 0.9 }

[recording.design.inputs."u[1]"]
min = -2.0
max = 2.0
excitations = ["steps", "profile"]
hold_s = [1, 3]
profile = { file = "drive.csv" }

[recording.design.inputs."u[2]"]
min = -2.0
max = 2.0
excitations = ["steps"]
hold_s = [1, 3]
"""
WHOLE = """
[surrogate]
name = "rod"
plant = "Rod.fmu"

[plant]
outputs = ["T", "flux[2,3]"]
parameters = ["gains[1,2]"]

[variables]
heaters = "W"
open = "1"
mode = "1"
"gains[1,2]" = "1"
T = "degC"
"flux[2,3]" = "W"

[recording.design]
held = { open = 1.0, mode = 2.0 }

[recording.design.parameters]
"gains[1,2]" = { min = 1.0, max = 3.0 }

[recording.design.inputs.heaters]
min = 0.0
max = 2.0
excitations = ["steps"]
hold_s = [1, 3]

[recording.design.inputs."heaters[3]"]
min = 0.0
max = 4.0
excitations = ["steps"]
hold_s = [1, 3]
"""


def through_the_verbs(folder: Path, text: str, name: str, fmi: str, capsys: pytest.CaptureFixture[str]) -> Path:
    """record, train, build, verify, inspect; the surrogate's FMU."""
    config, bundle, fmu = folder / "surrogate.toml", folder / f"{name}.bundle", folder / f"{name}.fmu"
    config.write_text(text + REST)
    assert main(["record", str(config), "--jobs", "1"]) == 0
    assert main(["train", str(config)]) == 0
    assert main(["build", str(bundle), "--fmi", fmi, "-o", str(fmu)]) == 0
    assert main(["verify", str(fmu), "--config", str(config), "--time-plant", "-o", str(folder / "card")]) in (0, 8)
    capsys.readouterr()
    for file in (folder / "data" / "train.nc", bundle, fmu):
        assert main(["inspect", str(file)]) == 0
        assert "T" in capsys.readouterr().out
    return fmu


def test_flattened_arrays_go_through_every_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "grid.py").write_text(GRID)
    build_plant_fmu("grid.py:Grid", tmp_path, tmp_path / "Grid.fmu")
    (tmp_path / "drive.csv").write_text("time,u[1] [W]\n" + "".join(f"{0.5 * k},{np.sin(k):.3f}\n" for k in range(40)))
    fmu = through_the_verbs(tmp_path, FLATTENED, "grid", "2.0", capsys)
    assert {"u[1]", "K[1,2]", "M[1,2]"} <= set(face_of(parsed(fmu)))
    assert main(["verify", str(fmu), "--plant", str(tmp_path / "Grid.fmu"), "--steps", "6", "--schedules", "2", "--jobs", "1"]) in (
        0,
        8,
    )
    (tmp_path / "inputs.csv").write_text('"u[2]"\n' + "1.0\n-1.0\n" * 3)
    command = ["rollout", str(tmp_path / "grid.bundle"), "--members", "2", "--inputs", str(tmp_path / "inputs.csv")]
    command += ["--set", "K[1,2]=0.4", "--vary", "u[1]=-1:1", "--outputs", "M[1,2],T[1]", "-o", str(tmp_path / "out.npz")]
    assert main(command) == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["M[1,2]"].shape == arrays["T[1]"].shape == (2, 7) and arrays["u[1]"].shape == (2,)
    assert main([*command, "--set", "u[2]=1.0"]) == 2
    assert "'u[2]' is given twice" in capsys.readouterr().err


def test_the_name_of_an_array_stands_for_its_elements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_rod(tmp_path / "Rod.fmu")
    fmu = through_the_verbs(tmp_path, WHOLE, "rod", "3.0", capsys)
    runs = read_trajectories(tmp_path / "data" / "train.nc")
    assert runs.names(Causality.OUTPUT) == ("T[1]", "T[2]", "T[3]", "flux[2,3]")
    inputs = dict(zip(runs.names(Causality.INPUT), np.moveaxis(runs.inputs, -1, 0), strict=True))
    assert inputs["heaters[1]"].max() <= 2.0 < inputs["heaters[3]"].max()
    assert (inputs["open[2]"] == 1.0).all() and (inputs["mode"] == 2.0).all()
    gains = np.array([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]])
    gains[0, 1] = runs.parameters[0, 0]
    heaters = np.stack([inputs[f"heaters[{i}]"][0] for i in (1, 2, 3)], axis=-1)
    known, _ = rod_steps(heaters, np.ones((8, 2)), np.full(8, 2), gains=gains)
    np.testing.assert_allclose(runs.outputs[0, :, :3], known, rtol=1e-6)
    manifest = read_bundle(tmp_path / "rod.bundle").manifest
    assert manifest.face is not None and [a.name for a in manifest.face.arrays if a.name in ("T", "stage")] == ["T"]
    assert face_of(parsed(fmu))["T"]["valueReference"] == "40"
    assert main(["inspect", str(fmu), "--json"]) == 0
    listed = {v["name"]: v for v in json.loads(capsys.readouterr().out)["variables"]}
    assert listed["flux"]["dimensions"] == [2, 3] and "dimensions" not in listed["mode"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_plant_with_arrays_is_distilled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rod, fast = build_rod(tmp_path / "Rod.fmu"), tmp_path / "Fast.fmu"
    command = ["distill", str(rod), "-o", str(fast), "--range", "heaters=0:2", "--range", "heaters[2]=0:1", "--hold", "open=0"]
    assert main([*command, "--outputs", "T,flux[2,3]", "--budget", "60s", "--jobs", "2"]) in (0, 8)
    said = capsys.readouterr().out
    assert "input heaters[1] from 0 to 2" in said and "input heaters[2] from 0 to 1" in said and "input open[2] held at 0" in said
    plant, surrogate = face_of(parsed(rod)), face_of(parsed(fast))
    assert [name for name in surrogate if name in plant][:4] == ["heaters", "open", "mode", "gains"]
    heaters = np.tile([1.0, 0.5, 1.5], (60, 1))
    known, _ = rod_steps(heaters, np.zeros((60, 2)), np.ones(60))
    with FmuSession(fast) as session:
        values = {"heaters[1]": 1.0, "heaters[2]": 0.5, "heaters[3]": 1.5, "open[1]": 0.0, "open[2]": 0.0, "mode": 1.0}
        session.set_values(values)
        points = [session.initialize(), *(session.do_step(values) for _ in range(60))]
    seen = np.array([[point[f"T[{i}]"] for i in (1, 2, 3)] for point in points])
    assert np.abs(seen - known).max() < 0.05 * np.ptp(known)


def test_what_is_said_of_no_array_is_refused_with_its_line(tmp_path: Path) -> None:
    build_rod(tmp_path / "Rod.fmu")
    text = WHOLE + REST
    (tmp_path / "bad.toml").write_text(text.replace('inputs."heaters[3]"]\nmin = 0.0', 'inputs."heaters[3]"]\nmin = 9.0'))
    with pytest.raises(ConfigError, match=r"bad\.toml:\d+: recording\.design\.inputs\.heaters\[3\]: min 9 is not below max 4"):
        load_config(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text(text.replace('inputs."heaters[3]"', 'inputs."boilers[3]"'))
    with pytest.raises(ConfigError, match=r"there is no 'boilers\[3\]' here; there are heaters, open, mode, gains\[1,2\], T"):
        load_config(tmp_path / "bad.toml")
    config = load_config(_written(tmp_path, text.replace('T = "degC"\n', "")))
    with pytest.raises(ConfigError, match=r'the plant has the variable \'T\[1\]\', it is missing here; add "T\[1\]" = "degC"'):
        config.check_variables(config.plant_source.load().variables, "the plant")
    config = load_config(_written(tmp_path, text.replace('heaters = "W"', 'heaters = "K"')))
    with pytest.raises(ConfigError, match=r"the unit is 'K' here, the plant has 'W'"):
        config.check_variables(config.plant_source.load().variables, "the plant")
    lines = text.splitlines()
    header = lines.index('[recording.design.inputs."heaters[3]"]') + 1
    assert find_line(text, ("recording", "design", "inputs", "heaters[3]", "max")) == header + 2
    assert find_line(text, ("variables", "flux[2,3]")) == lines.index('"flux[2,3]" = "W"') + 1


def _written(folder: Path, text: str) -> Path:
    (folder / "other.toml").write_text(text)
    return folder / "other.toml"


def test_a_comma_within_an_index_parts_no_names() -> None:
    assert split_names(" T[1], M[2,3] ,a,") == ["T[1]", "M[2,3]", "a"]
