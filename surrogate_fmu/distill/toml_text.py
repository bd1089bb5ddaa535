"""Pieces of TOML: names and values as a person would write them."""

import json
from collections.abc import Mapping, Sequence


def comment_text(text: str) -> str:
    """Text on one line, whatever stands in names."""
    return " ".join(text.split())


def string_list(names: Sequence[str]) -> str:
    """An array of strings."""
    return "[" + ", ".join(map(quoted, names)) + "]"


def quoted(value: str) -> str:
    """A string."""
    return json.dumps(value, ensure_ascii=False)


def key(name: str) -> str:
    """A key, quoted where it must be."""
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else quoted(name)


def table(values: Mapping[str, float]) -> str:
    """An inline table of numbers."""
    return "{ " + ", ".join(f"{key(name)} = {float(value)!r}" for name, value in values.items()) + " }"
