"""From the intermediate form to C."""

from surrogate_fmu.fmu.native.emit.model import ModelFunction, emit_model

__all__ = ["ModelFunction", "emit_model"]
