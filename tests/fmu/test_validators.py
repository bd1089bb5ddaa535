"""Every kind of FMU that is built, before the validators of others: FMPy's, fmutool's, and the schemas of the standard."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import fmpy
import pytest
from fmpy.validation import validate_fmu
from lxml import etree

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.build import build_plant_fmu, build_python_fmu, build_remote_fmu
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.native.build import build_native_fmu
from tests.face.rods import SOME, rod_bundle
from tests.plant.rod import ROD

Build = Callable[[Bundle, Bundle, Path, FmiVersion], Path]
TARGET = "127.0.0.1:50051"  # nothing needs to serve there: no validator instantiates
PLANT = '''
"""A lag."""

from surrogate_fmu.variables import Causality, Variable


class Lag:
    """A lag."""

    communication_step_size = 0.1
    variables = (Variable("u", Causality.INPUT, "m", start=0.0), Variable("y", Causality.OUTPUT, "m"))

    def reset(self, seed, parameters):
        self.y = 0.0
        return {"y": self.y}

    def do_step(self, inputs, communication_step_size):
        self.y += 0.1 * (inputs["u"] - self.y)
        return {"y": self.y}
'''


def native(**options: object) -> Build:
    return lambda toy, field, path, fmi: build_native_fmu(toy, path, BuildConfig(fmi=fmi, **options))


def python(**options: object) -> Build:
    return lambda toy, field, path, fmi: build_python_fmu(toy, path, fmi=fmi, **options)


def plant(toy: Bundle, field: Bundle, path: Path, fmi: FmiVersion) -> Path:
    if fmi is FmiVersion.V3:
        pytest.skip("plants are built as FMI 2.0")
    (path.parent / "lag.py").write_text(PLANT)
    return build_plant_fmu("lag.py:Lag", path.parent, path)


def rod(path: Path) -> Bundle:
    """Of a plant with arrays, whose elements are modelled in part; without the other name that FMPy misses in the structure."""
    return rod_bundle(path.parent, SOME, re.sub("<Alias[^>]*/>", "", ROD))


BUILDS: dict[str, Build] = {
    "native": native(),
    "native-ensemble-latents": native(ensemble=3, quantiles=(0.05, 0.95), external_latents=True),
    "native-sources": native(with_sources=True),
    "native-arrays": lambda toy, field, path, fmi: build_native_fmu(field, path, BuildConfig(fmi=fmi)),
    "python": python(),
    "python-ensemble-latents": python(ensemble=3, external_latents=True),
    "python-arrays": lambda toy, field, path, fmi: build_python_fmu(field, path, fmi=fmi),
    "remote": lambda toy, field, path, fmi: build_remote_fmu(toy, TARGET, path, fmi=fmi),
    "remote-arrays": lambda toy, field, path, fmi: build_remote_fmu(field, TARGET, path, fmi=fmi),
    "plant": plant,
    "native-rod": lambda toy, field, path, fmi: build_native_fmu(rod(path), path, BuildConfig(fmi=fmi, ensemble=3)),
    "python-rod": lambda toy, field, path, fmi: build_python_fmu(rod(path), path, fmi=fmi),
    "remote-rod": lambda toy, field, path, fmi: build_remote_fmu(rod(path), TARGET, path, fmi=fmi),
}
SCHEMAS = Path(fmpy.__file__).with_name("schema")


@pytest.fixture(params=BUILDS, scope="module")
def built(
    request: pytest.FixtureRequest,
    toy_bundle: Bundle,
    field_bundle: Bundle,
    fmi: FmiVersion,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An FMU of every backend, with what changes its description."""
    return BUILDS[request.param](toy_bundle, field_bundle, tmp_path_factory.mktemp("built") / "built.fmu", fmi)


def test_fmpy_has_nothing_to_say(built: Path):
    assert validate_fmu(str(built)) == []


def test_fmutool_has_nothing_to_say(built: Path):
    """Schema by another reader, and rules that no schema has; its exit code is that of its checks."""
    finished = fmutool(built)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "seems to be compliant" in finished.stderr + finished.stdout


def test_fmutool_would_say_so(toy_bundle: Bundle, tmp_path: Path):
    whole, broken = build_python_fmu(toy_bundle, tmp_path / "whole.fmu"), tmp_path / "broken.fmu"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(broken, "w") as target:
        for entry in source.infolist():
            target.writestr(entry, source.read(entry).replace(b'causality="input"', b'causality="inptu"', 1))
    assert fmutool(broken).returncode != 0


def test_every_xml_file_obeys_the_schema_of_the_standard(built: Path):
    with zipfile.ZipFile(built) as archive:
        files = {name: etree.fromstring(archive.read(name)) for name in archive.namelist() if name.endswith(".xml")}
    major = files["modelDescription.xml"].get("fmiVersion")[0]
    kinds = {"modelDescription.xml": "ModelDescription", "sources/buildDescription.xml": "BuildDescription"}
    assert set(files) <= set(kinds)
    for name, root in files.items():
        schema = etree.XMLSchema(etree.parse(str(SCHEMAS / f"fmi{major}" / f"fmi{major}{kinds[name]}.xsd")))
        assert schema.validate(root), f"{name}: {schema.error_log}"


def fmutool(path: Path) -> subprocess.CompletedProcess[str]:
    script = "from fmu_manipulation_toolbox.cli.fmutool import fmutool; fmutool()"
    command = [sys.executable, "-c", script, "-input", str(path), "-check"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=path.parent, check=False)
