"""The log of a service: lines for people, or one JSON object a line for machines. Never a token, never a whole session id."""

import json
import logging
import sys
import time
from typing import Any, Literal

from surrogate_fmu.service.trace import trace_id

_FIELDS = ("session", "model", "step", "call")


class JsonFormatter(logging.Formatter):
    """One JSON object per record: time, level, logger, event, the fields it was logged with, and the caller's trace."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        entry |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        trace = trace_id()
        if trace:
            entry["trace_id"] = trace
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Time, level and event, then the fields as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = [f"{name}={getattr(record, name)}" for name in _FIELDS if hasattr(record, name)]
        trace = trace_id()
        return " ".join([super().formatMessage(record), *fields, *([f"trace_id={trace}"] if trace else [])])


def keep_headers_out_of_log() -> None:
    """Keep what callers send as headers out of grpcio's own log: a token with a stray byte would stand there whole."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_header)  # the same filter again is not added


def _without_header(record: logging.LogRecord) -> bool:
    if str(record.msg).startswith("Invalid encoding"):
        record.msg, record.args, record.exc_info = "a caller sent a header that is no UTF-8", (), None
    return True


def set_up_log(form: Literal["text", "json"]) -> None:
    """Send the log of the service to standard error in one of its two forms."""
    logger = logging.getLogger("surrogate_fmu")
    for old in [h for h in logger.handlers if isinstance(h.formatter, JsonFormatter | TextFormatter)]:
        logger.removeHandler(old)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
