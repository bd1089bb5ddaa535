"""surrogate-fmu."""
