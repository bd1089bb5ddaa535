"""How many streams step at once, so that new calls get in beside hundreds of busy streams.

grpc.aio takes one new call, hands it over through a queue, and takes the next one when that was seen; in the queue it stands
behind the messages of all streams that are ready. So, left alone, a thousand callers of single steps together would get one
step while each of a thousand streams gets one. Therefore, while new calls come, only a few streams have a step on its way at
once; the others have not asked for their next message yet, and take turns. Without new calls all streams step at once, in
large batches.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

_FEW = 4  # streams with a step on its way, while new calls come
_QUIET_S = 0.02  # without a new call for so long, none wait
_STEP_S = 0.0005  # of work for a step that is on its way: what waits behind it is seen only then
_READ_S = 0.003  # a message that was there would have come by now: its stream holds up the others no more


class Turns:
    """The queue of the streams. To be used from the thread of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[StreamTurn, asyncio.Future[None]]] = deque()
        self._reading: dict[StreamTurn, float] = {}  # since when [s], earliest first
        self._stepping: set[StreamTurn] = set()
        self._few_until = float("-inf")
        self._look: asyncio.TimerHandle | None = None

    def call_arrived(self) -> None:
        """A new call was taken; others may wait behind it."""
        now = asyncio.get_running_loop().time()
        ahead = len(self._reading) + len(self._stepping) if now > self._few_until else 0
        self._few_until = max(self._few_until, now + _QUIET_S + ahead * _STEP_S)

    def stream(self) -> "StreamTurn":
        """The turns of one stream, as a context over its life."""
        return StreamTurn(self)

    async def enter(self, turn: "StreamTurn") -> None:
        """Return when the stream may read its next message; first come, first served."""
        loop = asyncio.get_running_loop()
        if self._waiting or not self._room(loop.time()):
            future = loop.create_future()
            self._waiting.append((turn, future))
            self._look_later(loop)
            await future
        else:
            self._reading[turn] = loop.time()

    def came(self, turn: "StreamTurn") -> None:
        """The message is there."""
        self._reading.pop(turn, None)
        self._stepping.add(turn)

    def leave(self, turn: "StreamTurn") -> None:
        """The reply is written, or the stream is over."""
        self._reading.pop(turn, None)
        self._stepping.discard(turn)
        if self._waiting:
            self._let_in(asyncio.get_running_loop())

    def _room(self, now: float) -> int:
        """How many streams more may step."""
        if now > self._few_until:
            return len(self._waiting) + 1
        while self._reading:
            first, since = next(iter(self._reading.items()))
            if now - since < _READ_S:
                break
            del self._reading[first]
        return max(_FEW - len(self._reading) - len(self._stepping), 0)

    def _let_in(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        room = self._room(now)
        while self._waiting and room:
            turn, future = self._waiting.popleft()
            if not future.done():  # a stream that has gone has cancelled it
                future.set_result(None)
                self._reading[turn] = now
                room -= 1
        if self._waiting:
            self._look_later(loop)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._look is None:
            self._look = loop.call_later(_READ_S, self._look_now, loop)

    def _look_now(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look = None
        self._let_in(loop)


class StreamTurn:
    """The turns of one stream."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def begin(self) -> None:
        """The last step is done; return when the next message may be read."""
        self._turns.leave(self)
        await self._turns.enter(self)

    def came(self) -> None:
        """The message is read."""
        self._turns.came(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._turns.leave(self)
