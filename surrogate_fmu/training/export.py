"""From a trained generator to a bundle."""

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import torch

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.schema import encode
from surrogate_fmu.training.config import TrainingConfig
from surrogate_fmu.training.generators import make_step
from surrogate_fmu.training.loop import TrainingResult
from surrogate_fmu.variables import Causality, with_causality

# Other individuals reach a little farther than those recorded; inputs are chosen, so their range is meant exactly.
_OUTPUT_MARGIN = 0.05


def make_trained_bundle(
    name: str, description: str, result: TrainingResult, training: Trajectories, validation: Trajectories, config: TrainingConfig
) -> Bundle:
    """Put the generator and everything known about its training into a bundle."""
    step = make_step(result.generator)
    manifest = Manifest(
        name=name,
        description=description,
        variables=training.variables,
        step_size=training.communication_step_size,
        run_latent_dim=config.generator.run_latent_dim,
        step_latent_dim=config.generator.step_latent_dim,
        hidden_dim=step.hidden_dim,
        domain=measure_domain(training),
        training=_provenance(result, training, validation, config),
        face=training.face,
    )
    return export_bundle(step, manifest)


def measure_domain(trajectories: Trajectories) -> dict[str, Interval]:
    """The range of every variable in the runs."""
    arrays = {
        Causality.INPUT: trajectories.inputs,
        Causality.PARAMETER: trajectories.parameters,
        Causality.OUTPUT: trajectories.outputs,
    }
    domain = {}
    for causality, array in arrays.items():
        for column, variable in enumerate(with_causality(trajectories.variables, causality)):
            low, high = float(np.min(array[..., column])), float(np.max(array[..., column]))
            margin = _OUTPUT_MARGIN * (high - low) if causality is Causality.OUTPUT else 0.0
            domain[variable.name] = Interval(low - margin, high + margin)
    return domain


def _provenance(
    result: TrainingResult, training: Trajectories, validation: Trajectories, config: TrainingConfig
) -> Mapping[str, Any]:
    return {
        "dataset": {"training": training.checksum(), "validation": validation.checksum(), "runs": len(training)},
        "config": encode(config),
        "seed": config.seed,
        "updates": result.updates,
        "ended_by": result.ended_by,
        "best_update": result.best_update,
        "cpu_s": round(result.cpu_s, 1),
        "validation_crps_ratio": dict(zip(training.names(Causality.OUTPUT), result.best.crps_ratio, strict=True)),
        "versions": {
            "surrogate-fmu": metadata.version("surrogate-fmu"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }
