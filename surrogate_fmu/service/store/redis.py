"""Sessions in Redis: for the servers of many hosts.

Each session is a hash of version and state with a time to live; a script on the Redis server compares and sets.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import redis.asyncio
from redis.exceptions import RedisError

from surrogate_fmu.errors import ConfigError, StoreError
from surrogate_fmu.service.store.protocol import StoredSession

_PREFIX = "surrogate-fmu:session:"
_TIMEOUT_S = 2.0
T = TypeVar("T")

# KEYS: of the sessions. ARGV: for each its version, state and time to live [ms]. Gives the places of those that were not
# written. Redis runs it as a whole: nobody sees half of it.
_SAVE = """
local lost = {}
for i, key in ipairs(KEYS) do
    local version = tonumber(ARGV[3 * i - 2])
    local stored = tonumber(redis.call('HGET', key, 'version') or '0')
    if stored == version - 1 then
        redis.call('HSET', key, 'version', ARGV[3 * i - 2], 'state', ARGV[3 * i - 1])
        redis.call('PEXPIRE', key, ARGV[3 * i])
    else
        lost[#lost + 1] = i
    end
end
return lost
"""


class RedisStore:
    """A store that many servers share.

    Args:
        url: redis://host:port/db or rediss:// with TLS; name and password as usual.

    Raises:
        ConfigError: the address cannot be read.
    """

    def __init__(self, url: str) -> None:
        try:
            self._redis: Any = redis.asyncio.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        except ValueError as error:
            raise ConfigError(f"the store {url!r} cannot be read ({error}); give redis://host:port/db") from error
        self._save: Any = self._redis.register_script(_SAVE)

    async def load(self, session_id: str) -> StoredSession | None:
        """The session, or None; when it expires is Redis' own business, and 0 here."""
        version, state = await _asked(lambda: self._redis.hmget(_PREFIX + session_id, "version", "state"))
        return None if version is None else StoredSession(session_id, int(version), state, 0.0)

    async def save(self, sessions: Sequence[StoredSession]) -> frozenset[str]:
        """Write in one script; the ids of those where another writer was faster."""
        now = time.time()
        arguments: list[Any] = []
        for session in sessions:
            arguments += [session.version, session.state, max(1, int(1000 * (session.expires_at - now)))]
        lost = await _asked(lambda: self._save(keys=[_PREFIX + s.session_id for s in sessions], args=arguments))
        return frozenset(sessions[place - 1].session_id for place in lost)

    async def delete(self, session_id: str) -> None:
        """Forget a session."""
        await _asked(lambda: self._redis.delete(_PREFIX + session_id))

    async def drop_expired(self, now: float) -> int:
        """Redis does that itself."""
        return 0

    async def close(self) -> None:
        """End the connections."""
        await self._redis.aclose()


async def _asked(call: Callable[[], Awaitable[T]]) -> T:
    try:
        return await call()
    except (RedisError, OSError) as error:
        raise StoreError(
            f"the store in Redis failed ({error}); nothing is known to be changed, send the call again later"
        ) from error
