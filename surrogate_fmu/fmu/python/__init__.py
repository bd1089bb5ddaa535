"""What runs inside a Python FMU."""
