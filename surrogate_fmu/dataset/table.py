"""Tables of signals as CSV.

A head of names, each with its unit in brackets if it is to be checked (`voltage [V]`), and a row of numbers per point.
"""

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import DatasetError

Array = NDArray[np.float64]
_HEAD = re.compile(r"(.*?)(?:\s+\[(.+)\])?")


@dataclass(frozen=True)
class Column:
    """One signal of a table.

    Attributes:
        values: (row,), not a number where the cell is empty.
        unit: None where the head says none.
    """

    values: Array
    unit: str | None

    def seconds(self, name: str, path: Path) -> Array:
        """The values (row,) of a column of times [s].

        Raises:
            DatasetError: it has another unit.
        """
        if self.unit not in (None, "s"):
            raise DatasetError(f"{path}: the unit of {name!r} is {self.unit!r}, expected 's'; convert the measurements")
        return self.values


def split_head(text: str) -> tuple[str, str | None]:
    """Name and unit of a column's head: `voltage [V]`."""
    match = _HEAD.fullmatch(text.strip())
    return (text.strip(), None) if match is None else (match[1], match[2])


def read_table(path: Path, wanted: Collection[str] | None = None) -> dict[str, Column]:
    """Columns of a CSV table by name.

    Args:
        path: of the table.
        wanted: names of those that are needed, the others may hold anything; None takes all.

    Raises:
        DatasetError: the file cannot be read, or a column is missing, stands there twice or holds what is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
        heads = [split_head(text) for text in lines[0]]
        if len(lines) < 2 or any(len(line) != len(heads) for line in lines):
            raise DatasetError(f"{path}: expected as many numbers in every row as names in the head, at least one row")
        places = find_columns([name for name, _ in heads], wanted, path)
        return {
            name: Column(np.array([float(line[place]) if line[place].strip() else np.nan for line in lines[1:]]), heads[place][1])
            for name, place in places.items()
        }
    except (OSError, UnicodeDecodeError, csv.Error, IndexError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); give a CSV table with names in its head and numbers below") from error


def find_columns(names: list[str], wanted: Collection[str] | None, path: Path) -> dict[str, int]:
    """Where the wanted columns stand among those of a table; None wants all.

    Raises:
        DatasetError: one is missing, or stands there twice.
    """
    for name in names if wanted is None else wanted:
        if name not in names:
            raise DatasetError(f"{path} has no column {name!r}; it has {', '.join(map(repr, names))}")
        if names.count(name) > 1:
            raise DatasetError(f"{path} has the column {name!r} twice; leave one out")
    return {name: names.index(name) for name in (names if wanted is None else wanted)}
