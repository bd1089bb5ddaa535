"""Tables of signals: names and units in the head, numbers below."""

from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.dataset.table import read_table
from surrogate_fmu.errors import DatasetError


def write(folder: Path, text: str) -> Path:
    (folder / "table.csv").write_text(text, encoding="utf-8")
    return folder / "table.csv"


def test_columns_have_names_units_and_gaps(tmp_path: Path) -> None:
    columns = read_table(write(tmp_path, "\ufefftime [s], U cell [V]\n0,3.5\n\n1,\n"))
    assert list(columns) == ["time", "U cell"]
    assert columns["U cell"].unit == "V"
    np.testing.assert_array_equal(columns["U cell"].values, [3.5, np.nan])
    assert columns["time"].seconds("time", tmp_path).tolist() == [0.0, 1.0]


def test_columns_that_are_not_wanted_may_hold_anything(tmp_path: Path) -> None:
    path = write(tmp_path, "time,note,note,u\n0,begin,x,1\n1,,,2\n")
    assert {name: column.values.tolist() for name, column in read_table(path, ("u", "time")).items()} == {
        "u": [1.0, 2.0],
        "time": [0.0, 1.0],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"table\.csv cannot be read .*give a CSV table with names in its head and numbers below"),
        ("time,u\n", "expected as many numbers in every row as names in the head, at least one row"),
        ("time,u\n0,1\n1\n", "expected as many numbers in every row as names in the head"),
        ("time,u\n0,one\n", r"cannot be read \(could not convert string to float: 'one'\)"),
        ("time,v\n0,1\n", r"has no column 'u'; it has 'time', 'v'"),
        ("time,u,u\n0,1,2\n", "has the column 'u' twice; leave one out"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_table(write(tmp_path, text), ("time", "u"))


def test_a_time_in_another_unit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "time [h]\n0\n")
    with pytest.raises(DatasetError, match="the unit of 'time' is 'h', expected 's'; convert the measurements"):
        read_table(path)["time"].seconds("time", path)
