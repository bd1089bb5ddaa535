"""`surrogate-fmu distill` as a user runs it."""

from pathlib import Path

import numpy as np
import pytest
from fmpy import read_model_description

from surrogate_fmu.cli.main import main
from surrogate_fmu.evaluation.card import Card
from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.plant.fmu_plant import FmuPlant
from surrogate_fmu.plant.run import simulate

PENDULUM = '''
"""A damped pendulum that is driven by a torque; solved by small steps of Euler-Cromer."""

import math

from surrogate_fmu.variables import Causality, Variable


class Pendulum:
    """A pendulum."""

    communication_step_size = 0.1
    variables = (
        Variable("torque", Causality.INPUT, "N.m", start=0.0, min=-2.0, max=2.0),
        Variable("gravity", Causality.INPUT, "m/s2", start=9.81),
        Variable("angle", Causality.OUTPUT, "rad"),
        Variable("speed", Causality.OUTPUT, "rad/s"),
    )

    def reset(self, seed, parameters):
        self.angle, self.speed = 0.3, 0.0
        return {"angle": self.angle, "speed": self.speed}

    def do_step(self, inputs, communication_step_size):
        for _ in range(100):
            self.speed += 1e-3 * (inputs["torque"] - inputs["gravity"] * math.sin(self.angle) - self.speed)
            self.angle += 1e-3 * self.speed
        return {"angle": self.angle, "speed": self.speed}
'''


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pendulum")
    (folder / "pendulum.py").write_text(PENDULUM)
    return build_plant_fmu("pendulum.py:Pendulum", folder, folder / "Pendulum.fmu")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_slow_fmu_becomes_a_fast_one_with_a_card(pendulum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast = tmp_path / "Fast.fmu"
    arguments = ["distill", str(pendulum), "-o", str(fast), "--hold", "gravity=9.81", "--budget", "4m", "--jobs", "2"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "Runs with equal inputs are equal" in said and "warning: gravity matters" in said
    assert "REPLACE" in said
    card = Card.from_json((tmp_path / "Fast.distill" / "card" / "card.json").read_text())
    assert card.verdict == "replace" and card.counts.individuals == 1
    torque = {"torque": np.sin(0.2 * np.arange(150)), "gravity": np.full(150, 9.81)}
    expected = simulate(FmuPlant(pendulum), 1, {}, torque)
    with FmuSession(fast) as session:
        points = [session.initialize()]
        points += [session.do_step({"torque": float(t), "gravity": 9.81}) for t in torque["torque"]]
    seen = np.array([[point["angle"], point["speed"]] for point in points])
    assert np.abs(seen - expected).max() < 0.03 * np.ptp(expected)

    data = (tmp_path / "Fast.distill" / "data" / "train.nc").stat().st_mtime_ns
    fast.unlink()
    plan = tmp_path / "Fast.distill" / "surrogate.toml"
    plan.write_text(plan.read_text() + '\n[build]\nmodel_identifier = "Quick"\nown_outputs = "real"\n')
    assert main([*arguments, "--own-outputs", "local"]) == 0  # again: nothing is recorded or trained anew
    assert "surrogate.toml is used as it is" in (said := capsys.readouterr().out)
    assert f"--config {plan} --fmi 2.0 --own-outputs local" in said
    description = read_model_description(str(fast))
    assert description.coSimulation.modelIdentifier == "Quick"
    assert {v.name: v.causality for v in description.modelVariables}["in_domain"] == "local"
    assert (tmp_path / "Fast.distill" / "data" / "train.nc").stat().st_mtime_ns == data and fast.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hold", "gravity=9.81", "--range", "torque=3"), "--range 'torque=3': there is no = or no :; expected NAME=LOW:HIGH"),
        (("--hold", "gravity"), "--hold 'gravity': could not convert string to float: 'gravity'; expected NAME=VALUE"),
        (("--hold", "gravity=9.81", "--outputs", "height"), "has no numeric output 'height'; it has angle, speed"),
        (("--hold", "gravity=9.81", "--jobs", "0"), "--jobs 0 must be at least 1"),
        (
            ("--hold", "gravity=9.81", "--hold", "torque=0", "--range", "torque=-1:1"),
            "the input torque has a range and is held at 0; say one of the two",
        ),
        (("--hold", "gravity=9.81", "--range", "torque=nan:1"), "--range 'torque=nan:1': min nan and max 1 must be finite numbers"),
        (("--hold", "gravity=9.81", "--range", "torque=0:inf"), "--range 'torque=0:inf': min 0 and max inf must be finite numbers"),
        (
            (
                "--hold",
                "gravity=nan",
            ),
            "--hold 'gravity=nan': nan is no value to keep; expected NAME=VALUE",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_run(
    pendulum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert main(["distill", str(pendulum), "-o", str(tmp_path / "Fast.fmu"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("surrogate.toml")) and not list(tmp_path.rglob("*.npz"))


def test_an_input_that_matters_and_that_nobody_named_is_refused_after_the_survey(
    pendulum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distill", str(pendulum), "-o", str(tmp_path / "Fast.fmu"), "--jobs", "2"]) == 2
    assert "change an output when they are moved: gravity" in (said := capsys.readouterr().err)
    assert "--range gravity=LOW:HIGH, or keep it at one value, --hold gravity=9.81" in said
    assert not list(tmp_path.rglob("surrogate.toml"))


def test_the_plant_is_not_overwritten(pendulum: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", str(pendulum), "-o", str(pendulum)]) == 2
    assert "--output is the plant itself" in capsys.readouterr().err
    assert main(["distill", str(tmp_path / "none.fmu"), "-o", str(tmp_path / "Fast.fmu")]) == 2
    assert "there is no FMU at" in capsys.readouterr().err
