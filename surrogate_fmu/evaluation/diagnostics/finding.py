"""What a detector says: a figure with its floor, a level, and a sentence with what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What one detector saw.

    Attributes:
        name: of the failure that it looks for.
        level: how bad it is.
        figure: the worst of what it measured.
        floor: what the plant gives in the surrogate's place.
        sentence: what it means and what to do.
    """

    name: str
    level: Level
    figure: float
    floor: float
    sentence: str


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Findings in the order in which a person should read them."""
    return sorted(findings, key=lambda finding: -list(Level).index(finding.level))
