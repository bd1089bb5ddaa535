"""C sources of a bundle's generator."""

from dataclasses import dataclass

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.fmu.native.dependencies import output_dependencies
from surrogate_fmu.fmu.native.derivative import adjoint_graph, split_at_point, tangent_graph
from surrogate_fmu.fmu.native.emit import ModelFunction, emit_model
from surrogate_fmu.fmu.native.lowering import lower_generator


@dataclass(frozen=True)
class GeneratedModel:
    """A lowered generator as C.

    Attributes:
        sources: text by file name; they include kernels.h of the C runtime.
        weights: bytes by the name of the constant that they are (see c/model.h).
        dependencies: for each scalar of y at the end of a step, the scalars of x it depends on.
        initial_dependencies: the same for y at the start.
    """

    sources: dict[str, str]
    weights: dict[str, bytes]
    dependencies: list[set[int]]
    initial_dependencies: list[set[int]]


def generate_sources(bundle: Bundle, float64: bool = False) -> GeneratedModel:
    """Lower a bundle's generator and its derivatives to C.

    Args:
        bundle: the generator.
        float64: calculate in double; compile with -DSF_FLOAT64 then.

    Raises:
        BundleError: torch cannot read the payload, or it does not keep the contract.
        LoweringError: an operation of it has no native counterpart; nothing has been made.
    """
    lowered = lower_generator(bundle)
    initial, step = lowered.initial, lowered.step
    step_with_point, step_tangent = split_at_point(tangent_graph(step, [0, 2], with_values=True), 3, 2)
    step_point = step_with_point.restricted([2])
    initial_point, initial_tangent = split_at_point(tangent_graph(initial, [0]), 2)
    functions = [
        ModelFunction("initial", initial, ("x", "z"), ("y", "h")),
        ModelFunction("step", step, ("x", "z", "h"), ("y", "h_next")),
        ModelFunction("step_with_point", step_with_point, ("x", "z", "h"), ("y", "h_next", "point")),
        ModelFunction("step_point", step_point, ("x", "z", "h"), ("point",)),
        ModelFunction("step_tangent", step_tangent, ("point", "dx", "dh"), ("dy", "dh_next"), "dh"),
        ModelFunction("step_adjoint", adjoint_graph(step, [0, 2]), ("x", "z", "h", "dy", "dh_next"), ("dx", "dh"), "dh_next"),
        ModelFunction("initial_point", initial_point, ("x", "z"), ("point",)),
        ModelFunction("initial_tangent", initial_tangent, ("point", "dx"), ("dy", "dh")),
        ModelFunction("initial_adjoint", adjoint_graph(initial, [0]), ("x", "z", "dy", "dh"), ("dx",), "dh"),
    ]
    manifest = bundle.manifest
    dims = {
        "condition_dim": manifest.condition_dim,
        "run_latent_dim": manifest.run_latent_dim,
        "step_latent_dim": manifest.step_latent_dim,
        "hidden_dim": manifest.hidden_dim,
        "output_dim": manifest.output_dim,
        "step_point_dim": step_point.outputs[0].size,
        "initial_point_dim": initial_point.outputs[0].size,
    }
    text, weights = emit_model(functions, dims, float64)
    return GeneratedModel({"model.c": text}, weights, output_dependencies(step), output_dependencies(initial))
