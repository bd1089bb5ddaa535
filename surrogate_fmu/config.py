"""One TOML file per surrogate configures every verb; what cannot be used is refused by name and line."""

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from surrogate_fmu.errors import ConfigError, DatasetError
from surrogate_fmu.evaluation.config import VerifyConfig
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.plant.design import Design
from surrogate_fmu.plant.profile import Profile, read_profile
from surrogate_fmu.plant.rounds import RoundsConfig
from surrogate_fmu.plant.settings import PlantSettings
from surrogate_fmu.plant.source import PlantSource
from surrogate_fmu.schema import SchemaError, decode, format_path
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.training.config import TrainingConfig, split_term
from surrogate_fmu.units import parse_unit
from surrogate_fmu.variables import Causality, Variable, base_name, with_causality

T = TypeVar("T")
Path_ = tuple[str | int, ...]


class Split(StrEnum):
    """What a recorded dataset is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class RecordingSet:
    """One dataset to record.

    Attributes:
        schedules: how many different schedules of inputs and parameters.
        individuals: runs per schedule, each with another plant seed.
        seed: of schedules and individuals.
    """

    schedules: int
    individuals: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.schedules, self.individuals) < 1:
            raise ValueError(f"schedules {self.schedules} and individuals {self.individuals} must be at least 1")


@dataclass(frozen=True)
class RecordingConfig:
    """How the plant is recorded.

    Attributes:
        steps: communication steps per run.
        sets: the datasets, by split.
        design: of inputs and parameters, the same for all sets.
        rounds: how the training set grows when it is recorded in rounds.
    """

    steps: int
    sets: Mapping[str, RecordingSet]
    design: Design
    rounds: RoundsConfig = field(default_factory=RoundsConfig)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps {self.steps} must be at least 1")
        unknown = set(self.sets) - {split.value for split in Split}
        if unknown:
            raise ValueError(f"sets {sorted(unknown)} are unknown; use {', '.join(Split)}")


@dataclass(frozen=True)
class SurrogateSection:
    """What the surrogate is called and what it stands for.

    Attributes:
        name: letters, digits, underscores.
        plant: `file.py:ClassName`, or `file.fmu`, the file beside this configuration.
        data: folder of the datasets, beside this configuration.
        bundle: the trained bundle, beside this configuration.
    """

    name: str
    plant: str
    description: str = ""
    data: str = "data"
    bundle: str = ""


@dataclass(frozen=True)
class _File:
    surrogate: SurrogateSection
    variables: Mapping[str, str]
    recording: RecordingConfig
    plant: PlantSettings = field(default_factory=PlantSettings)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    build: BuildConfig = field(default_factory=BuildConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)


@dataclass(frozen=True)
class SurrogateConfig(_File):
    """A read configuration file.

    Attributes:
        path: the file.
        text: its content, for line numbers.
    """

    path: Path = Path()
    text: str = ""

    @property
    def folder(self) -> Path:
        """The folder that relative paths are seen from."""
        return self.path.parent

    @property
    def bundle_path(self) -> Path:
        """Where the bundle is written and read."""
        return self.folder / (self.surrogate.bundle or f"{self.surrogate.name}.bundle")

    @property
    def plant_source(self) -> PlantSource:
        """Where the plant comes from."""
        return PlantSource(self.surrogate.plant, self.folder, self.plant)

    def dataset_path(self, split: Split | str) -> Path:
        """Where the dataset of a split is written and read."""
        return self.folder / self.surrogate.data / f"{Split(split)}.nc"

    def by_element(self, variables: Sequence[Variable]) -> "SurrogateConfig":
        """With the names of arrays in `[variables]` and the design replaced by those of their elements; what is said of an element
        itself counts.

        Args:
            variables: of the plant, which has the elements as variables.
        """
        names = [variable.name for variable in variables]
        design = self.recording.design
        design = replace(
            design,
            inputs=_by_element(design.inputs, names),
            parameters=_by_element(design.parameters, names),
            held=_by_element(design.held, names),
        )
        recording = replace(self.recording, design=design)
        return replace(self, variables=_by_element(self.variables, names), recording=recording)

    def check_variables(self, variables: Sequence[Variable], owner: str) -> None:
        """Compare `[variables]` with what a plant or dataset has.

        Raises:
            ConfigError: a variable is missing on either side, or its unit differs.
        """
        found = {variable.name: variable.unit for variable in variables}
        for name, unit in _by_element(self.variables, list(found)).items():
            if name not in found:
                raise self.error(("variables", name), f"{owner} has no variable {name!r}; it has {', '.join(found)}")
            if found[name] != unit:
                raise self.error(("variables", name), f"the unit is {unit!r} here, {owner} has {found[name]!r}")
        for name, unit in found.items():
            if name not in self.variables and base_name(name) not in self.variables:
                raise self.error(
                    ("variables",), f'{owner} has the variable {name!r}, it is missing here; add {_as_key(name)} = "{unit}"'
                )

    def check_design(self, variables: Sequence[Variable], owner: str) -> None:
        """Compare `[recording.design]` with what a plant can be driven by.

        Raises:
            ConfigError: the design leaves out an input, or drives what is no input or sets what is no parameter.
        """
        design, path = self.recording.design, ("recording", "design")
        for kind, causality, named in (
            ("inputs", Causality.INPUT, design.inputs),
            ("held", Causality.INPUT, design.held),
            ("parameters", Causality.PARAMETER, design.parameters),
        ):
            known = [variable.name for variable in with_causality(variables, causality)]
            for name in named:
                if name not in known:
                    raise self.error((*path, kind, name), f"{owner} has no {causality} {name!r}; it has {', '.join(known)}")
        for variable in with_causality(variables, Causality.INPUT):
            if variable.name not in design.inputs and variable.name not in design.held:
                raise self.error(
                    (*path, "inputs"), f"{owner} has the input {variable.name!r}; say how it is excited, or name it in held"
                )

    def read_profiles(self) -> dict[str, Profile]:
        """The recorded signals that inputs are excited by, by name.

        Raises:
            ConfigError: one cannot be read or used.
        """
        profiles = {}
        for name, entry in self.recording.design.inputs.items():
            if entry.profile is not None:
                try:
                    profiles[name] = read_profile(name, entry, self.variables[name], self.folder)
                except (ConfigError, DatasetError) as error:
                    raise self.error(("recording", "design", "inputs", name, "profile"), str(error)) from error
        return profiles

    def error(self, path: Path_, problem: str) -> ConfigError:
        """A ConfigError that names the file, line and key."""
        return _config_error(self.path, self.text, path, problem)


def load_config(path: Path | str, fmu: Path | None = None) -> SurrogateConfig:
    """Read and check a surrogate.toml.

    Args:
        path: the file.
        fmu: takes the place of the plant that the file names. The file may then be a plan, `[recording]` alone: the name and the
            variables are those of the FMU, its parameters those of the design.

    Raises:
        ConfigError: the file is missing or no TOML, or a key, value, unit or name cannot be used, with the line; or the FMU
            cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"there is no configuration at {path}; models/dfn_cell/surrogate.toml is one to start from")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text, as TOML must be: {error}") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    if fmu is not None:
        data = _name_plant(data, fmu, path.parent)
    try:
        file = decode(_File, data)
    except SchemaError as error:
        raise _config_error(path, text, error.path, error.problem) from error
    config = SurrogateConfig(**{name: getattr(file, name) for name in file.__dataclass_fields__}, path=path, text=text)
    if fmu is not None:
        config = _take_variables(config)
    _check_names(config)
    return config


def surrogate_name(text: str) -> str:
    """A name for a surrogate from that of a file: letters, digits, underscores."""
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text)
    return name if name[:1].isalpha() else f"s_{name}"


def _name_plant(data: Mapping[str, Any], fmu: Path, folder: Path) -> dict[str, Any]:
    """The data of a file with this plant, and a name for the surrogate where the file has none."""
    surrogate = data.get("surrogate", {})
    if isinstance(surrogate, Mapping):  # what is none is refused with its line later
        try:
            plant = os.path.relpath(fmu.resolve(), folder.resolve())
        except ValueError:  # on another drive
            plant = str(fmu.resolve())
        surrogate = {"name": surrogate_name(fmu.stem), **surrogate, "plant": plant}
    return {"variables": {}, **data, "surrogate": surrogate}


def _take_variables(config: SurrogateConfig) -> SurrogateConfig:
    """With the design's parameters and all variables of the plant, where the file names none."""
    parameters = config.plant.parameters or tuple(config.recording.design.parameters)
    config = replace(config, plant=replace(config.plant, parameters=parameters))
    variables = config.plant_source.load().variables
    return replace(config, variables=config.variables or {v.name: v.unit for v in variables}).by_element(variables)


def _by_element(entries: Mapping[str, T], names: Sequence[str]) -> dict[str, T]:
    elements: dict[str, list[str]] = {}
    for name in names:
        if base_name(name) in entries and base_name(name) not in names:
            elements.setdefault(base_name(name), []).append(name)
    whole = {element: entry for name, entry in entries.items() for element in elements.get(name, ())}
    return whole | {name: entry for name, entry in entries.items() if name not in elements}


def _as_key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name, ensure_ascii=False)


def _split_key(text: str) -> list[str]:
    """The names of a dotted TOML key; one in quotes may have dots and brackets."""
    return [json.loads(part) if part[0] == '"' else part.strip("'") for part in _PART.findall(text)]


def find_line(text: str, path: Path_) -> int:
    """The line (from 1) where a key of a TOML text is set, or of the innermost table around it that can be found."""
    best, best_depth = 1, -1
    table: list[str | int] = []
    counts: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        here: list[str | int] | None = None
        if header := _HEADER.match(line):
            names = _split_key(header[2])
            table = []
            for name in names:
                table.append(name)
                if tuple(table) in counts and len(table) < len(names):
                    table.append(counts[tuple(table)] - 1)
            if header[1] == "[[":
                counts[tuple(table)] = counts.get(tuple(table), 0) + 1
                table.append(counts[tuple(table)] - 1)
            here = table
        elif key := _KEY.match(line):
            here = [*table, *_split_key(key[1])]
        if here is not None and len(here) > best_depth and tuple(here) == path[: len(here)]:
            best, best_depth = number, len(here)
    return best


_PART = re.compile(r"""\"(?:[^\"\\]|\\.)*\"|'[^']*'|[\w-]+""")
_DOTTED = rf"(?:{_PART.pattern})(?:\s*\.\s*(?:{_PART.pattern}))*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")


def _config_error(path: Path, text: str, where: Path_, problem: str) -> ConfigError:
    prefix = f"{path}:{find_line(text, where)}: "
    return ConfigError(prefix + (f"{format_path(where)}: " if where else "") + problem)


def _check_names(config: SurrogateConfig) -> None:
    for name, unit in config.variables.items():
        try:
            parse_unit(unit)
        except ValueError as error:
            raise config.error(("variables", name), str(error)) from None
    design, generator = config.recording.design, config.training.generator
    used: list[tuple[Path_, str]] = []
    base: Path_ = ("recording", "design")
    used += [((*base, "inputs", name), name) for name in design.inputs]
    used += [((*base, "held", name), name) for name in design.held]
    used += [((*base, "parameters", name), name) for name in design.parameters]
    for index, budget in enumerate(design.budgets):
        used += [((*base, "budgets", index, key), getattr(budget, key)) for key in ("input", "parameter")]
        _check_member(config, (*base, "budgets", index, "input"), budget.input, design.inputs)
        _check_member(config, (*base, "budgets", index, "parameter"), budget.parameter, design.parameters)
    trained: Path_ = ("training", "generator")
    used += [((*trained, "initial_parameters", i), name) for i, name in enumerate(generator.initial_parameters)]
    for key in ("indirect_inputs", "filtered_inputs", "curves"):
        used += [((*trained, "wiener", key, i), name) for i, name in enumerate(getattr(generator.wiener, key))]
    used += [((*trained, "ring", "starts", i), name) for i, name in enumerate(generator.ring.starts)]
    for index, node in enumerate(generator.graph.nodes):
        used += [((*trained, "graph", "nodes", index, role), name) for role, name in node.items()]
    for index, balance in enumerate(generator.balances):
        here: Path_ = (*trained, "balances", index)
        used.append(((*here, "output"), balance.output))
        used += [((*here, "terms", i), name) for i, term in enumerate(balance.terms) for name, _ in split_term(term)]
        if balance.start:
            used.append(((*here, "start"), balance.start))
    for index, check in enumerate(config.verify.balances):
        used += [(("verify", "balances", index, key), getattr(check, key)) for key in ("input", "output")]
    for path, name in used:
        _check_member(config, path, name, config.variables)


def _check_member(config: SurrogateConfig, path: Path_, name: str, known: Mapping[str, Any]) -> None:
    if name not in known and base_name(name) not in known and all(base_name(other) != name for other in known):
        raise config.error(path, f"there is no {name!r} here; there are {', '.join(known)}")
