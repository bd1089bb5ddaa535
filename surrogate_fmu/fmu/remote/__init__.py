"""FMUs whose steps are taken by a service elsewhere."""
