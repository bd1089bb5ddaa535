"""FMUs that are native code: the generator lowered to C, with a C runtime and nothing else on the host."""
