"""Fixtures that several test modules share."""

from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle, write_archive
from tests.toy import make_toy_bundle


@pytest.fixture(scope="session")
def toy_bundle() -> Bundle:
    return make_toy_bundle()


@pytest.fixture(scope="session")
def toy_bundle_path(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "thermal_mass.bundle"
    write_archive(toy_bundle, path)
    return path
