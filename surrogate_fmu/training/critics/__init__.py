"""Critics: networks that score how real a trajectory looks."""
