"""A coupled system as the drivers of the masters read it, and what came out of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Self

import numpy as np

from tests.toy import STEP_SIZE


@dataclass(frozen=True)
class Component:
    """An FMU in a system, with what is set before initialization mode: whole numbers are integers, others real."""

    name: str
    fmu: Path
    start: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """Components that step together, outputs handed over in between (Jacobi).

    Attributes:
        connections: pairs `component.output`, `component.input`.
        record: `component.variable` of real type, read after every step.
        coupled_start: `component.input` of every connection, and what initialization leads to there; for masters that do not hand
            over during initialization mode.
        rollback: take every step twice, from the same state; for masters that can.
        iterations: how often at most a step is taken from the same state, with the inputs that the time before led to, until they
            change by less than `tolerance`; for masters that iterate.
    """

    components: tuple[Component, ...]
    connections: tuple[tuple[str, str], ...]
    record: tuple[str, ...]
    step_size: float = STEP_SIZE
    coupled_start: Mapping[str, float] = field(default_factory=dict)
    steps: int = 12
    rollback: bool = False
    iterations: int = 1
    tolerance: float = 1e-3

    def write(self, path: Path) -> Path:
        components = [{"name": c.name, "fmu": str(c.fmu), "start": dict(c.start)} for c in self.components]
        rest = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "components"}
        path.write_text(json.dumps({"components": components, **rest}, default=dict))
        return path

    def with_rollback(self) -> Self:
        return replace(self, rollback=True)

    def with_iterations(self) -> Self:
        return replace(self, iterations=10)


@dataclass(frozen=True)
class Trajectory:
    """What a driver wrote.

    Attributes:
        values: (step, variable), at the end of every step.
        version: of the master's distribution.
        decimals: that the master gives away; None: all bits.
    """

    variables: tuple[str, ...]
    values: np.ndarray
    version: str
    decimals: int | None

    @classmethod
    def read(cls, path: Path, record: Sequence[str]) -> Self:
        content = json.loads(path.read_text())
        values = np.array([[float.fromhex(text) for text in row] for row in content["rows"]])
        return cls(tuple(record), values, content["version"], content["decimals"])

    def assert_equal(self, other: "Trajectory") -> None:
        """Bit for bit, or to the decimals that one of the masters writes."""
        assert self.variables == other.variables
        decimals = min((d for d in (self.decimals, other.decimals) if d is not None), default=None)
        if decimals is None:
            np.testing.assert_array_equal(self.values, other.values)
        else:
            np.testing.assert_allclose(self.values, other.values, rtol=0.0, atol=0.5001 * 10.0**-decimals)


def controlled(plants: Mapping[str, tuple[Path, int]], controller: Path) -> System:
    """Every plant (FMU and seed by name) with a thermostat of its own, all in one system."""
    components: list[Component] = []
    connections: list[tuple[str, str]] = []
    record: list[str] = []
    coupled_start: dict[str, float] = {}
    for name, (fmu, seed) in plants.items():
        own = f"{name}_control"
        components += [
            Component(name, fmu, {"seed": seed, "temperature_start": 290.0}),
            Component(own, controller, {"setpoint": 300.0}),
        ]
        connections += [(f"{name}.temperature", f"{own}.measured"), (f"{own}.heating", f"{name}.power")]
        coupled_start |= {f"{own}.measured": 290.0, f"{name}.power": 30.0}  # 3 (300 - 290)
        record += [f"{name}.temperature", f"{name}.flow", f"{own}.heating"]
    return System(tuple(components), tuple(connections), tuple(record), coupled_start=coupled_start)
