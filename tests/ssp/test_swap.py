"""Swapping changes one attribute and one file, and refuses what does not fit."""

import zipfile
from pathlib import Path

import pytest

from surrogate_fmu.cli.main import main
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.ssp.structure import MAIN, read_structure
from surrogate_fmu.ssp.swap import swap
from tests.ssp.conftest import HEATER, SLOW
from tests.ssp.systems import component, connection, connector, parameters, system, write_ssp


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def test_one_attribute_and_one_file_change(house: Path, heaters: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "fast.ssp"
    done = swap(house, "heater", heaters["fast"], output)
    before, after = contents(house), contents(output)
    assert (done.component.path, done.member, done.removed) == ("house.heater", "resources/Fast & Small.fmu", SLOW)
    assert after.pop(done.member) == heaters["fast"].read_bytes()
    assert before.pop(SLOW) == heaters["slow"].read_bytes()
    old, new = before.pop(MAIN), after.pop(MAIN)
    assert new == old.replace(b'source="resources/Slow%20Heater.fmu"', b'source="resources/Fast%20%26%20Small.fmu"')
    assert after == before
    with zipfile.ZipFile(house) as first, zipfile.ZipFile(output) as second:
        kept = [(e.filename, e.date_time, e.compress_type) for e in first.infolist() if e.filename != SLOW]
        assert [(e.filename, e.date_time, e.compress_type) for e in second.infolist()][:-1] == kept
    assert read_structure(output).components["house.heater"].member == done.member


def test_an_fmu_that_another_component_needs_stays(heaters: dict[str, Path], tmp_path: Path) -> None:
    pair = system(
        "pair",
        [component("one", "resources/Slow%20Heater.fmu", HEATER), component("two", "resources/Slow%20Heater.fmu", HEATER)],
        [],
    )
    ssp = write_ssp(tmp_path / "pair.ssp", pair, {SLOW: heaters["slow"]})
    done = swap(ssp, "two", heaters["fast"], tmp_path / "fast.ssp")
    assert done.removed is None
    after = read_structure(tmp_path / "fast.ssp").components
    assert (after["one"].member, after["two"].member) == (SLOW, "resources/Fast & Small.fmu")
    with pytest.raises(ConfigError, match="has no component 'three'; it has one, two"):
        swap(ssp, "three", heaters["fast"], tmp_path / "none.ssp")
    assert not (tmp_path / "none.ssp").exists()


def test_a_file_of_the_same_name_is_not_overwritten(heaters: dict[str, Path], tmp_path: Path) -> None:
    pair = system("pair", [component("one", "resources/A.fmu", HEATER), component("two", "resources/A.fmu", HEATER)], [])
    ssp = write_ssp(tmp_path / "pair.ssp", pair, {"resources/A.fmu": heaters["slow"]})
    other = tmp_path / "A.fmu"
    other.write_bytes(heaters["fast"].read_bytes())
    done = swap(ssp, "two", other, tmp_path / "fast.ssp")
    assert done.member == "resources/A-2.fmu"
    after = contents(tmp_path / "fast.ssp")
    assert (after["resources/A.fmu"], after["resources/A-2.fmu"]) == (heaters["slow"].read_bytes(), heaters["fast"].read_bytes())


def test_a_component_in_a_description_of_its_own_is_found(heaters: dict[str, Path], tmp_path: Path) -> None:
    """A system in a file in a folder: sources are relative to that file."""
    inner = write_ssp(tmp_path / "inner.ssp", system("inner", [component("heater", "../fmus/Slow.fmu", HEATER)], []), {})
    outer = system("outer", [component("sub", "parts/inner.ssd", [])], [])
    files = {"parts/inner.ssd": contents(inner)[MAIN], "fmus/Slow.fmu": heaters["slow"]}
    ssp = write_ssp(tmp_path / "outer.ssp", outer, files)
    done = swap(ssp, "sub.heater", heaters["fast"], tmp_path / "fast.ssp")
    assert done.removed == "fmus/Slow.fmu"
    after = contents(tmp_path / "fast.ssp")
    assert b'source="../resources/Fast%20%26%20Small.fmu"' in after["parts/inner.ssd"]
    assert after[MAIN] == contents(ssp)[MAIN]


def test_an_ambiguous_name_needs_its_path(heaters: dict[str, Path], tmp_path: Path) -> None:
    rooms = [system(name, [component("heater", "resources/A.fmu", HEATER)], []) for name in ("north", "south")]
    ssp = write_ssp(tmp_path / "rooms.ssp", system("rooms", rooms, []), {"resources/A.fmu": heaters["slow"]})
    with pytest.raises(ConfigError, match=r"several components 'heater'; say which: north\.heater, south\.heater"):
        swap(ssp, "heater", heaters["fast"], tmp_path / "fast.ssp")
    swap(ssp, "south.heater", heaters["fast"], tmp_path / "fast.ssp")
    after = read_structure(tmp_path / "fast.ssp").components
    assert (after["north.heater"].source, after["south.heater"].member) == ("resources/A.fmu", "resources/Fast & Small.fmu")


@pytest.mark.parametrize(
    ("connectors", "connections", "values", "message"),
    [
        (
            [connector("speed", "output")],
            [("heater.speed", ".out")],
            {},
            "it lacks 'speed', which the system connects. It has power",
        ),
        ([connector("power", "output")], [], {}, "it lacks 'power' as output .there it is input."),
        ([connector("power", "input", "Boolean")], [], {}, "it lacks 'power' as Boolean .there it is Float64."),
        ([], [], {"mass": 1.0}, "it lacks 'mass', which the system sets"),
    ],
)
def test_connectors_that_do_not_fit_are_refused(
    heaters: dict[str, Path], tmp_path: Path, connectors: list[str], connections: list[tuple[str, str]], values: dict, message: str
) -> None:
    listed = [connection(*pair) for pair in connections]
    root = system("one", [component("heater", "resources/A.fmu", connectors, parameters(values) if values else "")], listed)
    ssp = write_ssp(tmp_path / "one.ssp", root, {"resources/A.fmu": heaters["slow"]})
    with pytest.raises(ConfigError, match=message):
        swap(ssp, "heater", heaters["fast"], tmp_path / "fast.ssp")
    assert not list(tmp_path.glob("fast*"))


def test_differences_without_harm_are_told(heaters: dict[str, Path], tmp_path: Path) -> None:
    connectors = [connector("temperature", "output", unit="degC"), connector("humidity", "output")]
    ssp = write_ssp(
        tmp_path / "one.ssp",
        system("one", [component("heater", "resources/A.fmu", connectors)], []),
        {"resources/A.fmu": heaters["slow"]},
    )
    warnings = swap(ssp, "heater", heaters["fast"], tmp_path / "fast.ssp").warnings
    assert warnings == (
        "Fast & Small.fmu has no 'humidity'; the system declares it and does not use it",
        "'temperature' is in degC in the system and in K in Fast & Small.fmu",
    )


def test_files_that_cannot_be_used_are_refused(
    house: Path, heaters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(system_file: Path, fmu: Path, output: Path, message: str) -> None:
        assert main(["swap", str(system_file), "--component", "heater", "--with", str(fmu), "-o", str(output)]) == 2
        assert message in capsys.readouterr().err

    text = tmp_path / "text.ssp"
    text.write_text("no archive")
    refused(tmp_path / "none.ssp", heaters["fast"], tmp_path / "o.ssp", "there is no system at")
    refused(text, heaters["fast"], tmp_path / "o.ssp", "is no SSP archive, or damaged")
    refused(heaters["slow"], heaters["fast"], tmp_path / "o.ssp", "is no SSP archive: it has no SystemStructure.ssd")
    refused(house, tmp_path / "none.fmu", tmp_path / "o.ssp", "there is no FMU at")
    refused(house, text, tmp_path / "o.ssp", "is no FMU that can be read")
    refused(house, heaters["fast"], house, "--output is the system itself")
    broken = write_ssp(tmp_path / "broken.ssp", "<ssd:System>", {})
    refused(broken, heaters["fast"], tmp_path / "o.ssp", "SystemStructure.ssd is no XML")
    assert not (tmp_path / "o.ssp").exists()
