"""The slow component that is to be replaced: what it must offer, how to excite it, how to record it."""

from surrogate_fmu.plant.protocol import Plant, load_plant

__all__ = ["Plant", "load_plant"]
