"""Sessions in Redis: for the servers of many hosts.

Each session is a hash with a time to live; a script on the Redis server compares and sets. The times to live run by the clock
of the Redis server. All keys of a call go to one Redis server, so this is not for Redis Cluster.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from surrogate_fmu.errors import ConfigError, StoreError
from surrogate_fmu.service.store.protocol import StoredSession

_PREFIX = "surrogate-fmu:session:"
_TIMEOUT_S = 2.0
_CONNECTION_COUNT = 16  # of one store; further calls wait for one
_FIELDS = ("version", "state", "expires_at")
T = TypeVar("T")

# KEYS: of the sessions. ARGV: for each its version, state, time of expiry and time to live [ms], where "" is no end. Gives the
# places of those that were not written. Redis runs it as a whole: nobody sees half of it, and a full Redis refuses all of it.
_SAVE = """
local lost = {}
for i, key in ipairs(KEYS) do
    local version, state, expires_at, ttl = ARGV[4 * i - 3], ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
    local stored = tonumber(redis.call('HGET', key, 'version') or '0')
    if stored < tonumber(version) and (stored > 0 or version == '1') then
        redis.call('HSET', key, 'version', version, 'state', state, 'expires_at', expires_at)
        if ttl == '' then
            redis.call('PERSIST', key)
        else
            redis.call('PEXPIRE', key, ttl)
        end
    else
        lost[#lost + 1] = i
    end
end
return lost
"""


class RedisStore:
    """A store that many servers share. It connects at the first call, and again after a connection was lost.

    Args:
        url: redis://host:port/db or rediss:// with TLS; name and password as usual.
        timeout_s: for a connection, and for an answer [s].

    Raises:
        ConfigError: the address cannot be read.
    """

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        parts = urlsplit(url)
        try:
            self._place = f"{parts.hostname}:{parts.port or 6379}"  # without the password
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTION_COUNT,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                # once more: a connection of the pool may be an old one, of a Redis that was started again since
                retry=Retry(NoBackoff(), 1),
                retry_on_error=[ConnectionError, TimeoutError],
            )
        except ValueError as error:
            raise ConfigError(f"the address of the store in Redis cannot be read ({error}); give redis://host:port/db") from error
        self._redis: Any = redis.asyncio.Redis.from_pool(pool)
        self._save: Any = self._redis.register_script(_SAVE)

    async def load(self, session_id: str) -> StoredSession | None:
        """The session, or None."""
        version, state, expires_at = await self._asked(lambda: self._redis.hmget(_PREFIX + session_id, *_FIELDS))
        return None if version is None else StoredSession(session_id, int(version), state, float(expires_at))

    async def save(self, sessions: Sequence[StoredSession]) -> frozenset[str]:
        """Write in one script; the ids of those where another writer was faster."""
        now = time.time()
        keys: list[str] = []
        arguments: list[Any] = []
        for session_id, version, state, expires_at in sessions:
            time_to_live_ms = max(1, int(1000 * (expires_at - now))) if expires_at else ""
            keys.append(_PREFIX + session_id)
            arguments += [version, state, repr(expires_at), time_to_live_ms]
        lost = await self._asked(lambda: self._save(keys=keys, args=arguments))
        return frozenset(sessions[place - 1].session_id for place in lost)

    async def delete(self, session_id: str) -> None:
        """Forget a session."""
        await self._asked(lambda: self._redis.delete(_PREFIX + session_id))

    async def drop_expired(self, now: float) -> int:
        """Nothing to do: Redis deletes what expired."""
        return 0

    async def close(self) -> None:
        """End the connections."""
        await self._redis.aclose()

    async def _asked(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except (RedisError, OSError) as error:
            raise StoreError(
                f"the store in Redis at {self._place} failed ({error}); see that it runs, has memory left and lets this server "
                "in; send the call again later"
            ) from error
