"""The manifest: everything a runtime knows about a generator besides its weights. Plain JSON, read without torch."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from surrogate_fmu.errors import BundleError
from surrogate_fmu.face import Face
from surrogate_fmu.schema import SchemaError, decode, encode
from surrogate_fmu.variables import Causality, Variable, with_causality

SCHEMA_VERSION = 1
PAYLOAD = "torchscript"


class ZMode(StrEnum):
    """Where the latent of a step comes from."""

    SAMPLED = "sampled"
    """Drawn from (seed, step index)."""
    MEAN = "mean"
    """Zero."""
    HELD = "held"
    """Drawn, but the step latents of the first step are kept for the whole run."""
    EXTERNAL = "external"
    """Given by the caller at every step."""


class DomainPolicy(StrEnum):
    """What happens outside the training domain."""

    WARN = "warn"
    """The step is taken as asked; `in_domain` is false."""
    CLAMP = "clamp"
    """Inputs and parameters are moved to the nearest value inside; `in_domain` is false."""
    REFUSE = "refuse"
    """The step is refused and the state stays as it was."""


@dataclass(frozen=True)
class Interval:
    """The range of a variable in the training data, in its unit."""

    min: float
    max: float


@dataclass(frozen=True)
class Manifest:
    """Description of a generator (y, h') = G(x, z, h).

    Attributes:
        name: what models are called in file names, services and FMUs; letters, digits and underscores.
        variables: inputs and parameters make up the condition x in this order, outputs make up y in this order.
        step_size: the step of the generator [s].
        run_latent_dim, step_latent_dim: z = (run latents, step latents).
        hidden_dim: size of h; 0 for a generator without memory.
        domain: range of every variable in the training data; array variables have one range for all elements.
        payload: how the generator is stored; "torchscript".
        payload_sha256: checksum of the stored generator, hexadecimal.
        training: provenance (dataset checksum, configuration, seed, versions, scores).
        card: figures of the last verification, empty before one.
        schema_version: version of this format.
        face: of the plant's FMU that the surrogate stands for; None where the plant is none.
    """

    name: str
    variables: tuple[Variable, ...]
    step_size: float
    run_latent_dim: int
    step_latent_dim: int
    hidden_dim: int
    domain: Mapping[str, Interval]
    description: str = ""
    payload: str = PAYLOAD
    payload_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION
    face: Face | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name {self.name!r} must be letters, digits and underscores, not starting with a digit")
        if self.payload != PAYLOAD:
            raise ValueError(f"payload {self.payload!r} is unknown; this version runs {PAYLOAD!r}")
        if not (self.step_size > 0 and math.isfinite(self.step_size)):
            raise ValueError(f"step_size {self.step_size} must be a positive number of seconds")
        if min(self.run_latent_dim, self.step_latent_dim, self.hidden_dim) < 0:
            raise ValueError("run_latent_dim, step_latent_dim and hidden_dim cannot be negative")
        names = [variable.name for variable in self.variables]
        if len(set(names)) != len(names):
            raise ValueError(f"variable names must differ, got {sorted(n for n in names if names.count(n) > 1)}")
        if not self.outputs:
            raise ValueError("there is no output variable")
        if self.face is not None:
            kept = [variable.name for variable in self.face.kept]
            both = sorted(set(kept).intersection(names))
            if both:
                raise ValueError(f"the face keeps {both}, which are modelled; leave them out of one of the two")
            for array in self.face.arrays:
                lacking = sorted(set(array.elements).difference(names, kept))
                if lacking:
                    raise ValueError(f"the array {array.name!r} lacks its elements {lacking}; they must be variables, or kept")
        missing = [name for name in names if name not in self.domain]
        if missing:
            raise ValueError(f"domain has no range for {missing}")

    @property
    def inputs(self) -> tuple[Variable, ...]:
        """Variables that are set at every step."""
        return with_causality(self.variables, Causality.INPUT)

    @property
    def parameters(self) -> tuple[Variable, ...]:
        """Variables that are set once per run."""
        return with_causality(self.variables, Causality.PARAMETER)

    @property
    def outputs(self) -> tuple[Variable, ...]:
        """Variables that are calculated."""
        return with_causality(self.variables, Causality.OUTPUT)

    @property
    def condition(self) -> tuple[Variable, ...]:
        """The variables of x: inputs, then parameters."""
        return self.inputs + self.parameters

    @property
    def condition_dim(self) -> int:
        """Size of x."""
        return sum(variable.size for variable in self.condition)

    @property
    def latent_dim(self) -> int:
        """Size of z."""
        return self.run_latent_dim + self.step_latent_dim

    @property
    def output_dim(self) -> int:
        """Size of y."""
        return sum(variable.size for variable in self.outputs)

    def to_json(self) -> str:
        """The manifest as JSON with sorted keys, so equal manifests give equal bytes."""
        return json.dumps(encode(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Read a manifest.

        Raises:
            BundleError: not JSON, of another version, or with unknown, missing or unusable entries.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise BundleError(f"the manifest is not JSON ({error}); take an intact copy of the bundle") from error
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"the manifest has schema version {version!r}, this surrogate-fmu reads version {SCHEMA_VERSION}; "
                "upgrade surrogate-fmu, or train the bundle again with this version"
            )
        try:
            return decode(cls, data)
        except SchemaError as error:
            raise BundleError(f"the manifest cannot be used: {error}") from error

    def replace(self, **changes: Any) -> "Manifest":
        """A copy with some attributes changed."""
        return dataclasses.replace(self, **changes)
