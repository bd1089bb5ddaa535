"""The number that a parameter set of a system means by its text."""

from typing import Any

from surrogate_fmu.errors import ConfigError

_BOOLEANS = {"true": 1.0, "false": 0.0}
_SHOWN = 12


def parameter_value(text: str, variable: Any, path: str) -> float:
    """The value of a parameter; an enumeration has names of its items or their values.

    Args:
        text: as the system has it.
        variable: of FMPy's model description.
        path: of the component, for messages.

    Raises:
        ConfigError: it is no number, no truth value and no item.
    """
    items = {item.name: float(item.value) for item in getattr(variable.declaredType, "items", ())}
    known = items | _BOOLEANS
    try:
        return known[text] if text in known else known[text.lower()] if text.lower() in known else float(text)
    except ValueError:
        there = f", or one of its items: {', '.join(list(items)[:_SHOWN])}" if items else ""
        raise ConfigError(
            f"the system sets {variable.name!r} of {path!r} to {text!r}; expected a number, true or false{there}; "
            "change its parameter set"
        ) from None
