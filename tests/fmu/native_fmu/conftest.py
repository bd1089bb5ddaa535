"""Native FMUs of the thermal mass, from C that was written by hand, so that what fails here is not the lowering."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class HandWritten:
    """What lowering would give for the thermal mass."""

    sources: Mapping[str, str] = field(default_factory=lambda: {"model.c": (FOLDER / "thermal_mass.c").read_text()})
    weights: Mapping[str, bytes] = field(default_factory=dict)
    # temperature starts at temperature_start; flow also depends on the ambient temperature
    initial_dependencies: tuple[frozenset[int], ...] = (frozenset({2}), frozenset({1, 2}))


BuildToy = Callable[..., Path]


@pytest.fixture(scope="session")
def build_toy(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> BuildToy:
    """Builds the thermal mass with the options of BuildConfig; each set of options once."""
    folder, built = tmp_path_factory.mktemp("native"), dict[BuildConfig, Path]()

    def build(**options: object) -> Path:
        config = BuildConfig(**options)
        if config not in built:
            built[config] = build_native_fmu(toy_bundle, folder / f"{len(built)}" / "thermal_mass.fmu", config, HandWritten())
        return built[config]

    return build


@pytest.fixture(scope="session", params=list(FmiVersion), ids=["fmi2", "fmi3"])
def fmi(request: pytest.FixtureRequest) -> FmiVersion:
    return request.param


@pytest.fixture(scope="session")
def native_fmu(build_toy: BuildToy, fmi: FmiVersion) -> Path:
    return build_toy(fmi=fmi)


@pytest.fixture(scope="session")
def latent_native_fmu(build_toy: BuildToy, fmi: FmiVersion) -> Path:
    return build_toy(fmi=fmi, external_latents=True)
