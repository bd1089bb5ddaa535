"""The card: what was measured on an artefact, against which thresholds, and what follows."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from surrogate_fmu.errors import VerdictError
from surrogate_fmu.evaluation.config import Band, Metric, Verdict
from surrogate_fmu.schema import SchemaError, decode, encode

CARD_VERSION = 1
_ORDER = (Verdict.REPLACE, Verdict.ASSIST, Verdict.REJECT)
_SENTENCE = {
    Verdict.REPLACE: "it may take the plant's place",
    Verdict.ASSIST: "it may assist, with the plant confirming",
    Verdict.REJECT: "it may not stand in for the plant",
}
_LINES_MAX = 10


@dataclass(frozen=True)
class GateResult:
    """One gate.

    Attributes:
        metric: what was measured.
        name: short name for tables.
        what: one sentence on what the number means.
        value: the number.
        replace_threshold, assist_threshold: the bands as applied, floor included.
        verdict: the best verdict that this gate allows.
        output: the output it belongs to; None for all together.
        floor: where the plant's own numbers lie in the surrogate's place with as many runs; None if there is no chance in it.
        interval: 95 % interval of the value; None where none is estimated.
        decisive: false where the floor reaches beyond the configured assist band: the test set is too small to tell.
    """

    metric: Metric
    name: str
    what: str
    value: float
    replace_threshold: Band
    assist_threshold: Band
    verdict: Verdict
    output: str | None = None
    floor: Band | None = None
    interval: Band | None = None
    decisive: bool = True


@dataclass(frozen=True)
class Artefact:
    """What was verified: a name, its kind (`fmu`, `bundle`) and the SHA-256 of the file."""

    name: str
    kind: str
    sha256: str


@dataclass(frozen=True)
class Speed:
    """Wall time of one communication step [s], and how many times faster than the plant that is (None: plant not timed)."""

    seconds_per_step: float
    ratio: float | None = None


@dataclass(frozen=True)
class Counts:
    """Size of the evidence."""

    schedules: int
    individuals: int
    members: int
    steps: int
    rollouts: int
    rollout_steps: int


@dataclass(frozen=True)
class Card:
    """The evidence on one artefact.

    Attributes:
        verdict: the worst verdict of the gates.
        gates: all gates.
        artefact: what was verified.
        dataset_checksum: of the plant's test trajectories.
        counts: size of the evidence.
        date: when, as the caller writes it (ISO 8601).
        communication_step_size: of plant and artefact [s].
        speeds: label to figure; empty if nothing was timed.
        versions: package to version.
        crps_by_schedule: output to the CRPS ratio of every schedule.
        card_version: version of this format.
    """

    verdict: Verdict
    gates: tuple[GateResult, ...]
    artefact: Artefact
    dataset_checksum: str
    counts: Counts
    date: str
    communication_step_size: float
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    crps_by_schedule: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    card_version: int = CARD_VERSION

    def __post_init__(self) -> None:
        if self.verdict is not worst_verdict(self.gates):
            raise ValueError(f"the verdict {self.verdict.value} is not that of the gates, {worst_verdict(self.gates).value}")

    def to_json(self) -> str:
        """The card as JSON with sorted keys: equal cards give equal bytes."""
        return json.dumps(encode(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Card":
        """Read a card.

        Raises:
            VerdictError: not JSON, of another version, changed so that verdict and gates disagree, or with unknown entries.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise VerdictError(f"the card is not JSON ({error}); make it again with: surrogate-fmu verify") from error
        version = data.get("card_version") if isinstance(data, dict) else None
        if version != CARD_VERSION:
            raise VerdictError(
                f"the card has version {version!r}, this surrogate-fmu reads version {CARD_VERSION}; "
                "make it again with: surrogate-fmu verify"
            )
        try:
            return decode(cls, data)
        except SchemaError as error:
            raise VerdictError(f"the card cannot be used: {error}; make it again with: surrogate-fmu verify") from error


def worst_verdict(gates: tuple[GateResult, ...]) -> Verdict:
    """REPLACE if every gate allows it, ASSIST if every gate allows at least that, else REJECT; REJECT without any gate."""
    if not gates:
        return Verdict.REJECT
    return max((gate.verdict for gate in gates), key=_ORDER.index)


def verdict_lines(card: Card) -> list[str]:
    """The card for a terminal: at most ten lines, the worst gates first."""
    counts = card.counts
    lines = [
        f"{card.verdict.value.upper()}  {card.artefact.name}: {_SENTENCE[card.verdict]}",
        f"{counts.schedules} schedules x {counts.individuals} plant individuals against {counts.members} members, "
        f"{counts.steps} steps of {card.communication_step_size:g} s; {counts.rollouts} long runs of {counts.rollout_steps} steps",
    ]
    failing = sorted(
        (g for g in card.gates if g.verdict is not Verdict.REPLACE), key=lambda g: _ORDER.index(g.verdict), reverse=True
    )
    passed = len(card.gates) - len(failing)
    room = _LINES_MAX - len(lines) - 2
    for gate in failing[:room]:
        output = f" of {gate.output}" if gate.output else ""
        lines.append(
            f"  {gate.verdict.value:7} {gate.name}{output}: {gate.value:.3g}, "
            + (
                f"replace {format_band(gate.replace_threshold)}, assist {format_band(gate.assist_threshold)}"
                if gate.decisive
                else "too few plant runs to tell; record more individuals per schedule"
            )
        )
    if len(failing) > room:
        lines.append(f"  and {len(failing) - room} more gates below replace")
    lines.append(f"  {passed} of {len(card.gates)} gates allow replacement")
    return lines


def format_band(band: Band) -> str:
    """`<= 1.1`, `>= 0`, `0.85 to 1.15`."""
    if band.low is None:
        return "any" if band.high is None else f"<= {band.high:.3g}"
    return f">= {band.low:.3g}" if band.high is None else f"{band.low:.3g} to {band.high:.3g}"


def format_share(share: float) -> str:
    """`1.25 %`."""
    return f"{100.0 * share:.3g} %" if math.isfinite(share) else "not finite"
