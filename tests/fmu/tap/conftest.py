"""Plant, surrogate and taps, and a loop that drives any of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fmpy import extract

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import SurrogateError
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.instance import Message
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.fmu.tap.build import build_tap_fmu
from surrogate_fmu.fmu.tap.inner import InnerFmu
from surrogate_fmu.fmu.tap.plan import LOG_VARIABLE, Mode, TapConfig
from tests.fmu.tap.plants import make_surrogate_bundle, plain
from tests.toy import STEP_SIZE

OUTPUTS = ("temperature", "flow")
SEED, START = 5, 291.0
CALM, WILD = 10.0, 80.0  # powers inside and outside the surrogate's domain
BuildTap = Callable[..., Path]


@dataclass
class Run:
    """What driving an FMU gave.

    Attributes:
        outputs: (step + 1, output).
        messages: that it logged.
        read_back: the power after each step.
    """

    outputs: np.ndarray
    messages: list[Message] = field(default_factory=list)
    read_back: list[float] = field(default_factory=list)


@pytest.fixture(scope="session")
def plant(toy_bundle: Bundle, fmi: FmiVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A solver in C of a version of FMI."""
    folder = tmp_path_factory.mktemp("plants")
    return plain(build_native_fmu(toy_bundle, folder / "native.fmu", BuildConfig(fmi=fmi)), folder / "Slow.fmu")


@pytest.fixture(scope="session")
def surrogate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of that plant, FMI 2.0 whatever the plant is."""
    return build_native_fmu(make_surrogate_bundle(), tmp_path_factory.mktemp("surrogates") / "Fast.fmu", BuildConfig())


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the taps of a test log to."""
    folder = tmp_path / "logs"
    monkeypatch.setenv(LOG_VARIABLE, str(folder))
    return folder


@pytest.fixture
def tap(plant: Path, surrogate: Path, tmp_path: Path, logs: Path) -> BuildTap:
    """Builds a tap of the plant by its mode."""

    def build(mode: Mode = Mode.RECORD, partner: Path | None = None, **options: Any) -> Path:
        path = tmp_path / f"{mode}.fmu"
        config = TapConfig(mode, **options)
        return build_tap_fmu(plant, path, config, None if mode is Mode.RECORD else partner or surrogate).path

    return build


@pytest.fixture
def drive(tmp_path: Path) -> Callable[..., Run]:
    """Drives an FMU with powers, one a step."""
    number = iter(range(1000))

    def run(fmu: Path, powers: Sequence[float], step_size: float = STEP_SIZE, start: Mapping[str, float] | None = None) -> Run:
        folder = tmp_path / f"unpacked_{next(number)}"
        extract(str(fmu), str(folder))
        messages: list[Message] = []
        instance = InnerFmu(folder, "room 1", False, messages.append)
        for name, value in {"seed": SEED, "temperature_start": START, **(start or {})}.items():
            set_value(instance, name, value)
        instance.setup_experiment(0.0)
        instance.enter_initialization_mode()
        instance.exit_initialization_mode()
        rows, read_back = [outputs_of(instance)], []
        for step, power in enumerate(powers):
            set_value(instance, "power", power)
            instance.advance(step * step_size, step_size)
            rows.append(outputs_of(instance))
            read_back.append(get_value(instance, "power"))
        instance.terminate()
        return Run(np.array(rows), messages, read_back)

    return run


def set_value(instance: InnerFmu, name: str, value: float) -> None:
    place = instance.place(name)
    instance.set(place.type, [place.reference], [int(value) if place.type.startswith("Int") else value])


def get_value(instance: InnerFmu, name: str) -> float:
    place = instance.place(name)
    return float(instance.get(place.type, [place.reference])[0])


def outputs_of(instance: InnerFmu) -> list[float]:
    return [get_value(instance, name) for name in OUTPUTS]


def refusal_of(function: Callable[..., object], *arguments: Any) -> str:
    """The sentence of the refusal."""
    with pytest.raises(SurrogateError) as caught:
        function(*arguments)
    return str(caught.value)
