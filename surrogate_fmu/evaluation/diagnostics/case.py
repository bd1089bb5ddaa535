"""What detectors look at: runs of plant and surrogate under the same schedules, and what the plant's own individuals would show."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.evaluation.ensembles import PlantEnsemble

Array = NDArray[np.float64]
_RESOLUTION = 1e-4  # of an output's standard deviation
_DRAWS = 20  # halvings of the plant's individuals behind a floor


@dataclass(frozen=True)
class Case:
    """Plant and surrogate side by side.

    Attributes:
        plant: (schedule, individual, point, output), physical units.
        surrogate: (schedule, member, point, output), physical units; 0 where a run is not finite.
        first, second: each one half of the plant's individuals.
        outputs: names.
        resolution: (output,), differences below it count as nothing.
        leads: the first, the middle and the last step.
        rng: of floors and choices.
    """

    plant: Array
    surrogate: Array
    first: Array
    second: Array
    outputs: tuple[str, ...]
    resolution: Array
    leads: tuple[int, ...]
    rng: np.random.Generator

    def chance(self, figure: Callable[[Array, Array], float]) -> float:
        """What the figure of two samples of the plant's own individuals stays below in 95 of 100 cases."""
        half = self.plant.shape[1] // 2
        values: list[float] = []
        for _ in range(_DRAWS):
            order = self.rng.permutation(self.plant.shape[1])
            values.append(figure(self.plant[:, order[:half]], self.plant[:, order[half : 2 * half]]))
        return float(np.quantile(values, 0.95))


def make_case(ensemble: PlantEnsemble, surrogate: Array, rng: np.random.Generator) -> Case:
    """The case of surrogate runs (schedule, member, point, output) under an ensemble's schedules."""
    plant = ensemble.outputs
    half, steps = plant.shape[1] // 2, plant.shape[2] - 1
    return Case(
        plant,
        np.where(np.isfinite(surrogate), surrogate, 0.0),
        plant[:, :half],
        plant[:, half : 2 * half],
        ensemble.output_names,
        np.maximum(_RESOLUTION * plant.std(axis=(0, 1, 2)), 1e-12),
        tuple(sorted({1, max(1, steps // 2), steps})),
        rng,
    )
