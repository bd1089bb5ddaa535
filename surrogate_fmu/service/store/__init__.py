"""Where sessions are kept outside of a server's memory: chosen by an address, behind one protocol."""

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.service.store.protocol import SessionStore, StoredSession

__all__ = ["SessionStore", "StoredSession", "open_store"]

_EXPECTED = "use none, sqlite:///relative/path.db, sqlite:////absolute/path.db or redis://host:port/db"


def open_store(url: str) -> SessionStore | None:
    """The store of an address; None for "none".

    Args:
        url: "none", "sqlite:///path" with an optional "?synchronous=full", "redis://host:port/db" or "rediss://...".

    Raises:
        ConfigError: the address is of no store, or the store cannot be opened.
    """
    if url == "none":
        return None
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        from surrogate_fmu.service.store.sqlite import SqliteStore

        options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        synchronous = options.pop("synchronous", "normal")
        path = unquote(parts.path[1:])
        if parts.netloc or not path or options or synchronous not in ("normal", "full"):
            raise ConfigError(f"the store {url!r} cannot be read; {_EXPECTED}; sqlite takes ?synchronous=normal or full")
        return SqliteStore(Path(path), synchronous)
    if parts.scheme in ("redis", "rediss"):
        if find_spec("redis") is None:
            raise ConfigError("a store in Redis needs its client, which is not installed; run: pip install 'surrogate-fmu[redis]'")
        from surrogate_fmu.service.store.redis import RedisStore

        return RedisStore(url)
    # the address may hold a password, so its scheme is all that is shown
    raise ConfigError(f"the store {parts.scheme or url!r} is of no known kind; {_EXPECTED}")
