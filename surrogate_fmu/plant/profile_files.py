"""Recorded signals from files: CSV by itself, Parquet and MDF by packages that are installed where they are needed."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.dataset.table import Column, find_columns, read_table, split_head
from surrogate_fmu.errors import ConfigError, DatasetError
from surrogate_fmu.units import parse_unit

Array = NDArray[np.float64]
_TIME = "time"
_MDF = (".mf4", ".mdf", ".dat")


@dataclass(frozen=True)
class RecordedSignal:
    """A column of a file as it stands there.

    Attributes:
        times: (row,) [s].
        values: (row,), not a number where nothing was recorded.
        unit: None where the file says none.
    """

    times: Array
    values: Array
    unit: str | None


def read_signal(path: Path, column: str, time: str = "") -> RecordedSignal:
    """Read a signal and its times; the suffix of the file says what it is.

    Args:
        path: of the file.
        column: name of the signal.
        time: name of the column of times; empty takes `time`, and an MDF takes none.

    Raises:
        ConfigError: the kind of file is not known, or the package that reads it is not installed.
        DatasetError: there is no such file or column, or it cannot be read as numbers.
    """
    if path.suffix.lower() not in _READERS:
        raise ConfigError(f"{path}: recorded signals come from files with the suffix {', '.join(_READERS)}, not {path.suffix!r}")
    if not path.is_file():
        raise DatasetError(f"there is no file at {path}; paths are seen from the folder of the configuration")
    return _READERS[path.suffix.lower()](path, column, time)


def _of_csv(path: Path, column: str, time: str) -> RecordedSignal:
    return _of_columns(read_table(path, (time or _TIME, column)), path, column, time or _TIME)


def _of_parquet(path: Path, column: str, time: str) -> RecordedSignal:
    arrow, parquet = _package("pyarrow", path), _package("pyarrow.parquet", path)
    try:
        heads = parquet.read_schema(path).names
        places = find_columns([split_head(head)[0] for head in heads], (time or _TIME, column), path)
        table = parquet.read_table(path, columns=[heads[place] for place in places.values()])
    except (OSError, arrow.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read as Parquet ({error}); write it again") from error
    columns = {}
    for name, place in places.items():
        columns[name] = Column(_numbers(table.column(heads[place]).to_numpy(), name, path), split_head(heads[place])[1])
    return _of_columns(columns, path, column, time or _TIME)


def _of_mdf(path: Path, column: str, time: str) -> RecordedSignal:
    """Units are free text in MDF: one that is no known symbol is not compared."""
    if time:
        raise ConfigError(f"{path}: a channel of an MDF has its times by itself; leave time = {time!r} out")
    asammdf = _package("asammdf", path)
    try:
        with asammdf.MDF(path) as file:
            groups = [group for group, _ in file.channels_db.get(column, ())]
            if not groups:
                raise DatasetError(f"{path} has no channel {column!r}; it has {', '.join(map(repr, file.channels_db)) or 'none'}")
            if len(groups) > 1:
                raise DatasetError(
                    f"{path} has the channel {column!r} in the groups {', '.join(map(str, groups))}; leave one in the file"
                )
            signal = file.get(column)
    except DatasetError:
        raise
    except Exception as error:  # whatever a damaged file makes of the reader
        raise DatasetError(f"{path} cannot be read as MDF ({type(error).__name__}: {error}); write it again") from error
    return RecordedSignal(
        np.asarray(signal.timestamps, dtype=float), _numbers(signal.samples, column, path), _known(signal.unit or "")
    )


def _of_columns(columns: Mapping[str, Column], path: Path, column: str, time: str) -> RecordedSignal:
    return RecordedSignal(columns[time].seconds(time, path), columns[column].values, columns[column].unit)


def _numbers(values: NDArray[Any], name: str, path: Path) -> Array:
    """As floats; points in time as seconds after the first."""
    try:
        if values.dtype.kind == "M":
            values = (values - values[:1]) / np.timedelta64(1, "s")
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: {name!r} holds what is no number ({error}); name another column") from error


def _known(unit: str) -> str | None:
    try:
        parse_unit(unit)
    except ValueError:
        return None
    return unit


def _package(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{name.partition('.')[0]}, which reads {path.name}, is not installed; install the extra: "
            "pip install 'surrogate-fmu[profiles]'"
        ) from error


_READERS: Mapping[str, Callable[[Path, str, str], RecordedSignal]] = {
    ".csv": _of_csv,
    ".parquet": _of_parquet,
    **dict.fromkeys(_MDF, _of_mdf),
}
