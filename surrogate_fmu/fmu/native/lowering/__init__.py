"""From a bundle's TorchScript to the intermediate form."""

from surrogate_fmu.fmu.native.lowering.generator import LoweredGenerator, lower_generator

__all__ = ["LoweredGenerator", "lower_generator"]
