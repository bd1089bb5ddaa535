"""Lowering both methods of a generator."""

from dataclasses import dataclass
from typing import Any

import torch

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import read_generator
from surrogate_fmu.fmu.native.graph import Graph
from surrogate_fmu.fmu.native.lowering import (  # noqa: F401  each registers its rules
    activation,
    convolution,
    elementwise,
    linear,
    normalization,
    numbers,
    recurrent,
    reduction,
    resampling,
    shape,
)
from surrogate_fmu.fmu.native.lowering.interpreter import Interpreter


@dataclass(frozen=True)
class LoweredGenerator:
    """Both methods in the intermediate form.

    Attributes:
        initial: x (condition_dim), z (latent_dim) -> y (output_dim), h (hidden_dim).
        step: x, z, h -> y, h at the end of the step.
    """

    initial: Graph
    step: Graph


def lower_generator(bundle: Bundle) -> LoweredGenerator:
    """Read the generator of a bundle.

    Raises:
        BundleError: torch cannot read the payload, or it does not keep the contract.
        LoweringError: an operation of it has no native counterpart.
    """
    manifest = bundle.manifest
    module = read_generator(bundle)
    x, z, h = manifest.condition_dim, manifest.latent_dim, manifest.hidden_dim
    return LoweredGenerator(
        Interpreter("initial").lower(_prepared(module.initial.graph), [x, z]),
        Interpreter("forward").lower(_prepared(module.graph), [x, z, h]),
    )


def _prepared(graph: Any) -> Any:
    """A copy in which every call is inlined and tensors are not changed in place where that can be avoided."""
    graph = graph.copy()
    torch._C._jit_pass_inline(graph)
    torch._C._jit_pass_remove_mutation(graph)
    return graph
