"""What is in a built FMU."""

import json
import zipfile
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import Bundle, make_bundle
from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import Backend, BuildConfig
from surrogate_fmu.fmu.vendoring import import_closure, renamed
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.schema import SchemaError, decode


@pytest.fixture(scope="module")
def toy_fmu(toy_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_python_fmu(toy_bundle, tmp_path_factory.mktemp("fmus") / "thermal_mass.fmu")


def test_two_builds_give_equal_bytes(toy_bundle: Bundle, toy_fmu: Path, tmp_path: Path) -> None:
    assert build_python_fmu(toy_bundle, tmp_path / "again.fmu").read_bytes() == toy_fmu.read_bytes()


def test_guid_follows_the_content(toy_fmu: Path, latent_fmu: Path, toy_bundle: Bundle, tmp_path: Path) -> None:
    from fmpy import read_model_description

    changed = make_bundle(toy_bundle.manifest.replace(description="another"), toy_bundle.payload)
    other = build_python_fmu(changed, tmp_path / "other.fmu")
    assert len({read_model_description(str(path)).guid for path in (toy_fmu, latent_fmu, other)}) == 3


def test_fmu_holds_documentation_licences_and_libraries(toy_bundle: Bundle, tmp_path: Path) -> None:
    card = {"verdict": "accepted", "gates": {"crps_ratio": 1.02}}
    bundle = make_bundle(toy_bundle.manifest.replace(card=card, description="a <heated> mass"), toy_bundle.payload)
    with zipfile.ZipFile(build_python_fmu(bundle, tmp_path / "a.fmu", model_identifier="Mass")) as archive:
        names = archive.namelist()
        assert names[0] == "modelDescription.xml"
        assert {"binaries/linux64/Mass.so", "binaries/win64/Mass.dll"} <= set(names)
        assert {"documentation/licenses/pythonfmu-LICENSE", "documentation/licenses/surrogate-fmu-LICENSE"} <= set(names)
        page = archive.read("documentation/index.html").decode()
        assert Manifest.from_json(archive.read("documentation/manifest.json")) == bundle.manifest
        assert json.loads(archive.read("documentation/card.json")) == card
    for expected in ("a &lt;heated&gt; mass", "temperature_start", "270 to 320", "z_mode", "accepted", "1.02", "torch", "2 s"):
        assert expected in page


def test_fmu_holds_nothing_of_training_or_service(toy_fmu: Path) -> None:
    with zipfile.ZipFile(toy_fmu) as archive:
        sources = [name for name in archive.namelist() if name.startswith("resources/surrogate_fmu_")]
        assert not [name for name in sources if "/training/" in name or "/service/" in name or "/cli/" in name]
        for name in sources:
            text = archive.read(name).decode()
            assert "from surrogate_fmu." not in text and "import grpc" not in text


def test_import_closure_takes_parents_and_only_what_is_needed() -> None:
    sources = import_closure(["surrogate_fmu.manifest"])
    assert set(sources) == {"__init__.py", "errors.py", "face.py", "manifest.py", "schema.py", "units.py", "variables.py"}
    assert "plant/protocol.py" in import_closure([], ["from surrogate_fmu.plant import protocol"])
    with pytest.raises(BuildError, match="no_such"):
        import_closure(["surrogate_fmu.no_such"])


def test_renaming_touches_whole_names_only() -> None:
    source = "from surrogate_fmu.errors import A\nname = 'surrogate_fmu_plant'\ntitle = 'surrogate-fmu snapshot 1'\n"
    assert renamed(source, "surrogate_fmu_0a") == source.replace("surrogate_fmu.errors", "surrogate_fmu_0a.errors")


def test_build_config_is_read_strictly() -> None:
    config = decode(BuildConfig, {"backend": "python", "external_latents": True})
    assert config == BuildConfig(Backend.PYTHON, True)
    with pytest.raises(SchemaError, match="external_latents"):
        decode(BuildConfig, {"external_latent": True})
    with pytest.raises(SchemaError, match="model_identifier"):
        decode(BuildConfig, {"model_identifier": "a b"})


def test_bad_model_identifier_is_a_build_error(toy_bundle: Bundle, tmp_path: Path) -> None:
    for name in ("9lives", "class", "größe"):
        with pytest.raises(BuildError, match="model_identifier"):
            build_python_fmu(toy_bundle, tmp_path / "a.fmu", model_identifier=name)
    assert not list(tmp_path.iterdir())
