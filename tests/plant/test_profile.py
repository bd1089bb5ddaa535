"""Recorded signals as excitations: read from each kind of file, cut into runs, refused where they do not fit."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.cli.main import main
from surrogate_fmu.config import load_config
from surrogate_fmu.dataset.store import read_trajectories
from surrogate_fmu.errors import ConfigError, DatasetError
from surrogate_fmu.plant.design import Design, Excitation, InputDesign, ProfileFile
from surrogate_fmu.plant.excitation import Schedule, draw_schedules
from surrogate_fmu.plant.profile import Profile, Window, find_windows, read_profile
from tests.plant.plants import CONFIG, write_config

STEP = 2.0
TIMES = np.arange(0.0, 100.0, 0.5)
FLOW = np.sin(0.3 * TIMES)
AMBIENT = 290.0 + 0.05 * TIMES
PROFILED = CONFIG.replace('excitations = ["steps", "ramps"]', 'excitations = ["profile"]\nprofile = { file = "drive.csv" }')


def table(flow: np.ndarray = FLOW, times: np.ndarray = TIMES, head: str = "time [s],flow [L/s],ambient,note") -> str:
    rows = [f"{t!r},{f!r},{a!r},x" for t, f, a in zip(times.tolist(), flow.tolist(), AMBIENT.tolist(), strict=False)]
    return "\n".join([head, *rows]) + "\n"


def design_of(*names: str) -> Design:
    low, high = {"flow": -1.0, "ambient": 280.0}, {"flow": 1.0, "ambient": 300.0}
    file = ProfileFile("drive.csv")
    return Design({n: InputDesign(low[n], high[n], (Excitation.PROFILE,), (2.0, 6.0), profile=file) for n in names})


def schedules_of(folder: Path, count: int = 12, steps: int = 20, step_size: float = STEP, seed: int = 5) -> list[Schedule]:
    (folder / "drive.csv").write_text(table())
    design = design_of("flow", "ambient")
    profiles = {name: read_profile(name, entry, "1", folder) for name, entry in design.inputs.items() if name == "ambient"}
    profiles["flow"] = read_profile("flow", design.inputs["flow"], "L/s", folder)
    return draw_schedules(design, count, steps, step_size, seed, profiles)


def test_a_signal_at_the_communication_step_is_taken_as_it_is_and_a_finer_one_by_its_means() -> None:
    profile = Profile(Path("u.csv"), np.arange(7.0), np.array([1.0, 3.0, -2.0, 0.0, 4.0, 4.0, 9.0]))
    np.testing.assert_allclose(profile.resample(1.0, 4, 1.0), [3.0, -2.0, 0.0, 4.0], atol=1e-12)
    np.testing.assert_allclose(profile.resample(0.0, 3, 2.0), [2.0, -1.0, 4.0], atol=1e-12)
    np.testing.assert_allclose(profile.resample(0.0, 4, 0.5), [1.0, 1.0, 3.0, 3.0], atol=1e-12)
    np.testing.assert_allclose(profile.resample(0.5, 2, 1.0), [2.0, 0.5], atol=1e-12)
    uneven = Profile(Path("u.csv"), np.array([0.0, 0.5, 3.0, 4.0]), np.array([2.0, 0.0, 5.0, 0.0]))
    np.testing.assert_allclose(uneven.resample(0.0, 2, 2.0), [0.5, 2.5], atol=1e-12)


def test_schedules_are_pieces_of_the_recording_all_inputs_from_the_same_time(tmp_path: Path) -> None:
    begins = []
    for schedule in schedules_of(tmp_path):
        flow, ambient = schedule.inputs["flow"], schedule.inputs["ambient"]
        # The ambient temperature tells the time: four rows of 0.5 s are in a step.
        begin = round((ambient[0] - 290.0 - 0.05 * 0.75) / 0.05, 6)
        first = round(begin / 0.5)
        np.testing.assert_allclose(flow, FLOW[first : first + 80].reshape(20, 4).mean(axis=1), atol=1e-9)
        begins.append(begin)
    assert all(begin % STEP == 0.0 for begin in begins)
    assert len(set(begins)) > 6 and min(begins) < 15.0 and max(begins) > 45.0


def test_pieces_stay_when_more_are_drawn_and_change_with_the_seed(tmp_path: Path) -> None:
    few, many, other = schedules_of(tmp_path, 3), schedules_of(tmp_path, 9), schedules_of(tmp_path, 3, seed=6)
    for name in ("flow", "ambient"):
        assert all(np.array_equal(a.inputs[name], b.inputs[name]) for a, b in zip(few, many, strict=False))
        assert not all(np.array_equal(a.inputs[name], b.inputs[name]) for a, b in zip(few, other, strict=True))


def test_a_recording_as_long_as_a_run_is_enough_and_a_shorter_one_is_refused(tmp_path: Path) -> None:
    (whole,) = schedules_of(tmp_path, 1, steps=199, step_size=0.5)
    np.testing.assert_allclose(whole.inputs["flow"], FLOW[:199], atol=1e-9)
    with pytest.raises(
        ConfigError, match=r"lasts 99\.5 s from its first to its last row, a run takes 50 steps, 100 s; give a longer"
    ):
        schedules_of(tmp_path, 1, steps=50)


def test_other_families_of_the_design_are_drawn_as_without_it(tmp_path: Path) -> None:
    (tmp_path / "drive.csv").write_text(table())
    mixed = InputDesign(-1.0, 1.0, (Excitation.STEPS, Excitation.PROFILE), (2.0, 6.0), profile=ProfileFile("drive.csv"))
    plain = InputDesign(-1.0, 1.0, (Excitation.STEPS, Excitation.RAMPS), (2.0, 6.0))
    profiles = {"flow": read_profile("flow", mixed, "L/s", tmp_path)}
    schedules = draw_schedules(Design({"flow": mixed}), 4, 20, STEP, 1, profiles)
    assert [s.excitations["flow"] for s in schedules] == [Excitation.STEPS, Excitation.PROFILE] * 2
    for a, b in zip(schedules[::2], draw_schedules(Design({"flow": plain}), 4, 20, STEP, 1)[::2], strict=True):
        assert np.array_equal(a.inputs["flow"], b.inputs["flow"])
    with pytest.raises(ConfigError, match="the recorded signal of 'flow' was not read; pass what read_profiles"):
        draw_schedules(Design({"flow": mixed}), 4, 20, STEP, 1)


def test_a_recording_with_a_profile_gives_equal_data_whatever_the_number_of_jobs(tmp_path: Path) -> None:
    config = write_config(tmp_path, PROFILED)
    (tmp_path / "drive.csv").write_text(table())
    checksums = set()
    for jobs in ("1", "2"):
        assert main(["record", str(config), "--set", "train", "--jobs", jobs, "-o", str(tmp_path / jobs)]) == 0
        runs = read_trajectories(tmp_path / jobs / "train.nc")
        checksums.add(runs.checksum())
    assert len(checksums) == 1
    expected = draw_schedules(load_config(config).recording.design, 3, 5, STEP, 1, load_config(config).read_profiles())
    np.testing.assert_allclose(runs.inputs[0, :, 0], expected[0].inputs["flow"], rtol=1e-6)
    assert runs.provenance["design"]["inputs"]["flow"]["profile"]["file"] == "drive.csv"
    assert len(runs.provenance["profiles"]["flow"]) == 64


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], text: str = PROFILED) -> str:
    config = write_config(folder, text)
    assert main(["record", str(config), "--set", "train", "--jobs", "1"]) == 2
    said = capsys.readouterr().err
    assert not (folder / "data").exists()
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(2.0 * FLOW), r"'flow' is 1.12928 at 2 s, outside min -1 to max 1 of flow; widen the range, or cut the recording"),
        (table(head="time,flaw,ambient,note"), "has no column 'flow'; it has 'time', 'flaw', 'ambient', 'note'"),
        (table(head="t,flow,ambient,note"), "has no column 'time'; it has 't', 'flow'"),
        (table(head="time,flow [m3/s],ambient,note"), "the unit of 'flow' is 'm3/s', flow has 'L/s'; convert the recording"),
        (table(head="time [ms],flow,ambient,note"), "the unit of 'time' is 'ms', expected 's'"),
        (table(times=TIMES[::-1]), r"the time goes from 99.5 s to 99 s at row 2; it must ascend from row to row"),
        ("time,flow\n0,0.5\n1,\n2,0.1\n", "'flow' is nan at 1 s; fill it, or cut the recording"),
        ("time,flow\n0,0.5\n", "'flow' has 1 rows; a signal needs at least two"),
        ("time,flow\n0,0.5\n1,low\n", "could not convert string to float: 'low'"),
        (table()[:300].rpartition("\n")[0] + "\n", "from its first to its last row, a run takes 5 steps, 10 s; give a longer"),
    ],
)
def test_a_signal_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    tmp_path.joinpath("drive.csv").write_text(content)
    said = refusal(tmp_path, capsys)
    assert "drive.csv" in said and re.search(message, said)


def test_the_line_of_the_configuration_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = next(number for number, text in enumerate(PROFILED.splitlines(), 1) if text.startswith("profile"))
    said = refusal(tmp_path, capsys)
    assert f"surrogate.toml:{line}: recording.design.inputs.flow.profile: there is no file at" in said
    assert "paths are seen from the folder of the configuration" in said
    said = refusal(tmp_path, capsys, PROFILED.replace("drive.csv", "drive.xlsx"))
    assert "come from files with the suffix .csv, .parquet, .mf4, .mdf, .dat, not '.xlsx'" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CONFIG.replace('["steps", "ramps"]', '["profile"]'), 'excitations has "profile", and no file is named; add profile = {'),
        (PROFILED.replace('["profile"]', '["steps"]'), "profile names a file that nothing uses; add"),
        (PROFILED.replace("{ file =", "{ path ="), "profile.path: unknown key"),
    ],
)
def test_a_profile_needs_its_family_and_the_family_a_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    assert message in refusal(tmp_path, capsys, text)


@pytest.mark.parametrize(("suffix", "package"), [(".parquet", "pyarrow"), (".mf4", "asammdf"), (".dat", "asammdf")])
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, suffix: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / f"drive{suffix}").write_bytes(b"anything")
    said = refusal(tmp_path, capsys, PROFILED.replace(".csv", suffix))
    assert (
        f"{package}, which reads drive{suffix}, is not installed; install the extra: pip install 'surrogate-fmu[profiles]'" in said
    )


def read(folder: Path, file: str, column: str = "", time: str = "", unit: str = "L/s") -> Profile:
    entry = InputDesign(-1.0, 1.0, (Excitation.PROFILE,), (2.0, 6.0), profile=ProfileFile(file, column, time))
    return read_profile("flow", entry, unit, folder)


def test_parquet_is_read(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stamps = (1_700_000_000_000 + 500 * np.arange(len(TIMES))).astype("datetime64[ms]")
    columns = {"time [s]": TIMES, "t": stamps, "flow [L/s]": FLOW, "note": ["x"] * len(TIMES), "u [m3]": FLOW}
    parquet.write_table(arrow.table(columns), tmp_path / "drive.parquet")
    for profile in (read(tmp_path, "drive.parquet"), read(tmp_path, "drive.parquet", "flow", "t")):
        np.testing.assert_allclose(profile.times, TIMES, atol=1e-9)
        np.testing.assert_array_equal(profile.values, FLOW)
    for column, message in (
        ("flaw", "has no column 'flaw'; it has 'time', 't', 'flow', 'note', 'u'"),
        ("note", "'note' holds what is no number"),
        ("u", "the unit of 'u' is 'm3', flow has 'L/s'"),
    ):
        with pytest.raises(DatasetError, match=message):
            read(tmp_path, "drive.parquet", column)
    (tmp_path / "bad.parquet").write_text("nothing")
    with pytest.raises(DatasetError, match=r"bad\.parquet cannot be read as Parquet \(.*\); write it again"):
        read(tmp_path, "bad.parquet")


def test_mdf_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asammdf = pytest.importorskip("asammdf")

    def signal(name: str, samples: np.ndarray, unit: str = "") -> object:
        encoding = "utf-8" if samples.dtype.kind == "S" else None
        return asammdf.Signal(samples=samples, timestamps=TIMES[: len(samples)], name=name, unit=unit, encoding=encoding)

    with asammdf.MDF(version="4.10") as file:
        file.append([signal("flow", FLOW, "L/s"), signal("wild", FLOW, "litres a second"), signal("twice", FLOW)])
        file.append([signal("pump", FLOW[:150], "m3"), signal("twice", FLOW[:150])])
        file.append([signal("text", np.array([b"on", b"off"]))])
        file.save(tmp_path / "drive.mf4")
    for column, count in (("", 200), ("wild", 200)):
        profile = read(tmp_path, "drive.mf4", column)
        np.testing.assert_allclose(profile.times, TIMES[:count], atol=1e-9)
        np.testing.assert_array_equal(profile.values, FLOW[:count])
    assert len(read(tmp_path, "drive.mf4", "pump", unit="1").values) == 150  # an FMU often says no units
    for column, message in (
        ("flaw", r"has no channel 'flaw'; it has 'time', 'flow'"),
        ("twice", "has the channel 'twice' in the groups 0, 1; leave one in the file"),
        ("pump", "the unit of 'pump' is 'm3', flow has 'L/s'"),
        ("text", "'text' holds what is no number"),
    ):
        with pytest.raises(DatasetError, match=message):
            read(tmp_path, "drive.mf4", column)
    with pytest.raises(ConfigError, match="a channel of an MDF has its times by itself; leave time = 't' out"):
        read(tmp_path, "drive.mf4", "flow", "t")
    (tmp_path / "bad.mf4").write_text("nothing")
    with pytest.raises(DatasetError, match=r"bad\.mf4 cannot be read as MDF \(.*\); write it again"):
        read(tmp_path, "bad.mf4")
    assert capsys.readouterr() == ("", "")


def test_a_recording_as_long_as_a_run_is_enough_whatever_times_are_rounded_to() -> None:
    """Its 0.3 s are 2.9999999999999996 steps of 0.1 s to a computer."""
    for steps in range(1, 60):
        times = 0.1 * np.arange(steps + 1) + 0.7
        windows = find_windows({"u": Profile(Path("a.csv"), times, np.ones(steps + 1))}, steps, 0.1)
        assert windows["u"].choices == 1
        with pytest.raises(ConfigError, match="give a longer recording, or fewer steps"):
            find_windows({"u": Profile(Path("a.csv"), times, np.ones(steps + 1))}, steps + 1, 0.1)


def test_signals_of_other_files_have_windows_of_their_own() -> None:
    def profile(file: str, begin: float, end: float) -> Profile:
        times = np.arange(begin, end + 0.5)
        return Profile(Path(file), times, np.ones(len(times)))

    profiles = {"u": profile("a.csv", 0.0, 50.0), "v": profile("b.csv", 10.0, 40.0), "w": profile("a.csv", 5.0, 60.0)}
    windows = find_windows(profiles, 10, 1.0)
    assert windows["u"] == windows["w"] == Window(5.0, 36)
    assert windows["v"] == Window(10.0, 21)
