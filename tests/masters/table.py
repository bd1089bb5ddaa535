"""Writes the table of docs/masters.md from a run of these tests.

python -m pytest tests/masters -p tests.masters.table --masters-table docs/masters.md
"""

import platform
import re
from pathlib import Path

import pytest

from surrogate_fmu.fmu.config import OwnOutputs
from tests.masters.masters import MASTERS

BEGIN, END = "<!-- made by tests/masters/table.py -->", "<!-- end -->"
COLUMNS = ("native-fmi2", "native-fmi3", "python-fmi2", "python-fmi3")
_NODE = re.compile(r".*::(\w+)\[(.*)\]$")
_outcomes: dict[tuple[str, frozenset[str]], str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the table goes."""
    parser.addoption("--masters-table", type=Path)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how each case ended."""
    match = _NODE.match(report.nodeid)
    if match and (report.when == "call" or report.outcome != "passed"):
        unrun = report.when == "setup" and report.outcome == "skipped"
        _outcomes[match[1], frozenset(match[2].split("-"))] = "not run" if unrun else report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table."""
    path = session.config.getoption("--masters-table")
    if path is None:
        return
    lines = [
        "| master | version | built with | native, FMI 2.0 | native, FMI 3.0 | Python, FMI 2.0 | Python, FMI 3.0 | mixed "
        "| rollback | another build |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for master in MASTERS:
        built = "-" if master.own_outputs is OwnOutputs.TYPED else f"`--own-outputs {master.own_outputs}`"
        cells = [master.name, "-" if master.missing else master.version, built]
        cells += [
            _cell("test_every_master_gets_the_trajectory_of_fmpy", column, master.name, "equal", "says no") for column in COLUMNS
        ]
        mixed = [
            _cell("test_versions_of_the_standard_mix_in_one_system", b, master.name, "equal", "-") for b in ("native", "python")
        ]
        cells.append(mixed[0] if mixed[0] == mixed[1] else "/".join(mixed))
        rollback = _cells("test_rollback_replays", master.name, "equal")
        cells.append(_cells("test_iterations_with_rollback_agree", master.name, "equal, iterates") if rollback == "-" else rollback)
        refused = _cells("test_a_description_of_another_build_is_refused", master.name, "refused")
        cells.append(refused + (", goes on without it" if master.ignores_refusals else ""))
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    lines.append(f"On {platform.system()} {platform.machine()}, Python {platform.python_version()}.")
    before, _, rest = path.read_text().partition(BEGIN)
    path.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + rest.partition(END)[2])


def _cells(test: str, master: str, passed: str) -> str:
    """Of all backends and versions that the master takes."""
    found = {_cell(test, column, master, passed, "-") for column in COLUMNS}
    return "/".join(sorted(found - {"-"})) or "-"


def _cell(test: str, case: str, master: str, passed: str, skipped: str) -> str:
    outcome = _outcomes.get((test, frozenset(f"{case}-{master}".split("-"))))
    return {"passed": passed, "skipped": skipped, "failed": "FAILS", "not run": "not run", None: "-"}[outcome]
