"""An FMU with a plant's interface that carries the plant, and maybe its surrogate: it records, compares, or guards."""
