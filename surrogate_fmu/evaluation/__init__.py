"""Measuring a built artefact against its plant: metrics, gates, the card."""
