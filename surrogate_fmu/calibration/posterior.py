"""What measurements say of one unit: an ensemble of members, as a small file."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.calibration.config import Method
from surrogate_fmu.errors import ConfigError, DatasetError

Array = NDArray[np.float64]
_FORMAT = "surrogate-fmu posterior 1"
_ARRAYS = ("run_latents", "step_latents", "inputs", "parameters", "weights", "noise")


@dataclass(frozen=True)
class Diagnostics:
    """How the calibration went.

    Attributes:
        effective_sample_size: members' worth of independent draws. With `gradient` it is that of the weights which would make the
            Gaussian draws exact: far below the members, the posterior is not Gaussian.
        misfit_before, misfit_after: root mean square of outputs minus measurements over members, per scalar output in its unit;
            not a number where nothing was measured.
        spread_before: standard deviation between units in the window, per scalar output in its unit.
        p_value: how probable measurements this far from the fleet are, by chi-squared of |r|^2 + |u|^2 at the best unknowns.
        outside_prior: p_value is below 0.001: no unit of the fleet explains the data within the noise.
    """

    effective_sample_size: float
    misfit_before: tuple[float, ...]
    misfit_after: tuple[float, ...]
    spread_before: tuple[float, ...]
    p_value: float
    outside_prior: bool


@dataclass(frozen=True)
class Posterior:
    """Members that explain the measurements of one unit.

    Attributes:
        bundle_digest: of the bundle that they belong to.
        method: that found them.
        estimated: names of the parameters that were inferred.
        run_latents: (member, run_latent_dim).
        step_latents: of the window (member, step, step_latent_dim).
        inputs: of the window (step, input), physical units.
        parameters: all parameters (member, parameter), physical units.
        weights: (member,), they sum to 1.
        noise: standard deviation per scalar output that was reckoned with, physical units.
        diagnostics: how the calibration went.
    """

    bundle_digest: str
    method: Method
    estimated: tuple[str, ...]
    run_latents: Array
    step_latents: Array
    inputs: Array
    parameters: Array
    weights: Array
    noise: Array
    diagnostics: Diagnostics

    @property
    def step_count(self) -> int:
        """Steps of the measured window; the unit stands at their end."""
        return len(self.inputs)

    def check_bundle(self, bundle: Bundle) -> None:
        """Refuse a bundle that the members do not belong to.

        Raises:
            ConfigError: it is another one.
        """
        if bundle.digest != self.bundle_digest:
            raise ConfigError(
                f"the posterior belongs to the bundle {self.bundle_digest[:12]}, this is {bundle.digest[:12]}; "
                "calibrate this bundle"
            )

    def choose(self, count: int, seed: int) -> NDArray[np.int64]:
        """Numbers of `count` members, drawn by their weights (systematic resampling); in an order without meaning."""
        random = np.random.default_rng(seed)
        ticks = (np.arange(count) + random.random()) / count
        chosen = np.searchsorted(np.cumsum(self.weights), ticks * self.weights.sum()).clip(max=len(self.weights) - 1)
        return random.permutation(chosen)

    def save(self, path: Path) -> None:
        """Write the posterior as .npz.

        Raises:
            ConfigError: it cannot be written there.
        """
        head = {
            "format": _FORMAT,
            "bundle": self.bundle_digest,
            "method": str(self.method),
            "estimated": list(self.estimated),
            "diagnostics": asdict(self.diagnostics),
        }
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        partial = path.with_name(path.name + ".partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                np.savez_compressed(file, head=np.array(json.dumps(head)), **arrays)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise ConfigError(f"{path} cannot be written ({error}); give another place") from error


def read_posterior(path: Path | str) -> Posterior:
    """Read what `Posterior.save` wrote.

    Raises:
        DatasetError: the file is missing, damaged, or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"there is no posterior at {path}; make one with: surrogate-fmu calibrate")
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            head = json.loads(str(arrays["head"]))
            if head["format"] != _FORMAT:
                raise ValueError(f"it has the format {head['format']!r}, this version reads {_FORMAT!r}")
            found = {name: arrays[name] for name in _ARRAYS}
        diagnostics = head["diagnostics"]
        diagnostics = {name: tuple(value) if isinstance(value, list) else value for name, value in diagnostics.items()}
        return Posterior(
            head["bundle"], Method(head["method"]), tuple(head["estimated"]), **found, diagnostics=Diagnostics(**diagnostics)
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} cannot be read as a posterior ({error}); make it again with calibrate") from error
