"""Durations as a person writes them."""

import argparse
import re

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """`"90"`, `"90s"`, `"30m"`, `"2h"` in seconds.

    Raises:
        argparse.ArgumentTypeError: it is none of these, or not above 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or float(match[1]) <= 0.0:
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 30m or 2h, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]
