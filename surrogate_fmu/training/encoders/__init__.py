"""Encoders: networks that recognise the individual behind a recorded run."""
