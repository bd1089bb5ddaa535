"""The table of operations: TorchScript's name of each, and the function that lowers it."""

from collections.abc import Callable
from typing import Any, TypeVar

Rule = Callable[..., Any]
SomeRule = TypeVar("SomeRule", bound=Rule)
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[SomeRule], SomeRule]:
    """Register a function `(scope, *arguments of the operation)` for operations by name, without `aten::`."""

    def register(function: SomeRule) -> SomeRule:
        for name in names:
            RULES[f"aten::{name}"] = function
        return function

    return register
