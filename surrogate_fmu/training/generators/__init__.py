"""Networks that can be a generator; each is a scriptable module with `initial` and `forward`."""
