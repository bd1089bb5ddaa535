"""Training conditional generators; no runtime imports this package."""
