"""How an FMU is built, as a frozen class that `schema.decode` reads from TOML."""

import keyword
from dataclasses import dataclass
from enum import StrEnum


class Backend(StrEnum):
    """What computes the step inside the FMU."""

    PYTHON = "python"
    """TorchScript in the host's Python; runs on a GPU if told so."""


@dataclass(frozen=True)
class BuildConfig:
    """Options of a build.

    Attributes:
        backend: what computes the step.
        external_latents: add the inputs `z[1]`, `z[2]`, ... for z_mode = external.
        model_identifier: name of the binaries and of the class inside; None takes the bundle's name.
    """

    backend: Backend = Backend.PYTHON
    external_latents: bool = False
    model_identifier: str | None = None

    def __post_init__(self) -> None:
        name = self.model_identifier
        if name is not None and (not name.isascii() or not name.isidentifier() or keyword.iskeyword(name)):
            raise ValueError(f"model_identifier {name!r} must be ASCII letters, digits and underscores, and no word of Python's")
