"""The caller's trace, as W3C Trace Context carries it in the header `traceparent`, so that logs and spans join it."""

import contextlib
import importlib
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_current: ContextVar[str] = ContextVar("surrogate_fmu_traceparent", default="")
_HAS_TELEMETRY = find_spec("opentelemetry") is not None and find_spec("opentelemetry.trace") is not None


def trace_id() -> str:
    """The trace that the present call belongs to, 32 hexadecimal digits; empty where the caller sent none."""
    return _current.get()


@contextlib.contextmanager
def traced(call: str, metadata: Sequence[tuple[str, Any]] | None) -> Iterator[None]:
    """Work on a call inside the caller's trace; with opentelemetry-api installed, as a span of it.

    Args:
        call: name of the span.
        metadata: that came with the call; a `traceparent` that is not well-formed is ignored, as the standard says.
    """
    header = next((value for name, value in metadata or () if name == "traceparent"), None)
    found = _TRACEPARENT.fullmatch(header) if isinstance(header, str) else None
    if found is None:
        yield
        return
    mark = _current.set(found[1])
    try:
        if not _HAS_TELEMETRY:
            yield
            return
        # looked up by name: the packages of opentelemetry share one namespace, which type checkers do not follow
        propagate: Any = importlib.import_module("opentelemetry.propagate")
        trace: Any = importlib.import_module("opentelemetry.trace")
        context = propagate.extract({name: value for name, value in metadata or () if isinstance(value, str)})
        with trace.get_tracer("surrogate_fmu.service").start_as_current_span(call, context=context, kind=trace.SpanKind.SERVER):
            yield
    finally:
        _current.reset(mark)
