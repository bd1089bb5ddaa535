"""Lists of names on the command line."""

import re

_COMMA = re.compile(r",(?![^\[\]]*\])")  # none between brackets


def split_names(text: str) -> list[str]:
    """`"T[1], M[2,3]"` as ["T[1]", "M[2,3]"]: a comma within an index parts no names."""
    return [name.strip() for name in _COMMA.split(text) if name.strip()]
