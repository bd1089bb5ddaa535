"""FMUs from bundles: model description, package, and what runs inside."""
