"""The rules by which sessions change: numbered steps, one writer at a time, state with its reply.

A step of a session is known by its number and by what it was asked to do (its fingerprint). In the order in which they are
tried, a call with step number n on a session whose next step is m:

    another call steps the session now    the same step: wait for it, then answer it again; another: ConcurrentCallError
    n is the last step, same fingerprint  the present point again, marked replayed
    n is the last step, other inputs      StepConflictError
    n < m                                 StepStaleError
    n > m                                 StepGapError
    n = m                                 check, forward, store, and then the new moment in one assignment

So a call that is repeated after its reply was lost never advances twice, and a failure of any part leaves the session at the
moment before. With a store another server may have stepped the session: its writes are compare-and-set on a version, and a
session that lost is read again from the store and asked anew.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import (
    ConcurrentCallError,
    InputError,
    StepConflictError,
    StepGapError,
    StepStaleError,
    SurrogateError,
)
from surrogate_fmu.runtime.run_state import RunState
from surrogate_fmu.runtime.stepper import StepPlan
from surrogate_fmu.service.fingerprint import fingerprint_rows, fingerprint_step
from surrogate_fmu.service.record import LastStep, Moment
from surrogate_fmu.service.served import ServedSession
from surrogate_fmu.service.sessions import Sessions
from surrogate_fmu.service.table import shown

_ATTEMPTS = 3  # with a store: how often a step is asked anew after another server was faster


class Stepped(NamedTuple):
    """A step that was taken, now or by an earlier call."""

    moment: Moment
    replayed: bool


class Stepping:
    """Steps sessions. To be used from the thread of the event loop.

    Args:
        sessions: where they are kept.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def step(
        self,
        session: ServedSession,
        number: int,
        values: Mapping[str, Any],
        z: NDArray[Any] | None,
        communication_step_size: float | None,
    ) -> Stepped:
        """Advance by one communication step, once, however often it is called with the same arguments.

        Raises:
            StepGapError, StepStaleError, StepConflictError, ConcurrentCallError: see the head of this module.
            SurrogateError: the step is refused; the session is as before.
        """
        last = LastStep(number, fingerprint_step(values, z, communication_step_size))
        for _ in range(_ATTEMPTS):
            replay = await self._settle(session, last)
            if replay is not None:
                return replay
            plan = session.model.stepper.plan(session.moment.run, session.draws, values, z, communication_step_size)
            outcome = (await self._take([session], [plan], [last]))[0]
            if isinstance(outcome, SurrogateError):
                raise outcome
            if outcome is not None:
                return Stepped(outcome, replayed=False)
        raise _overtaken(session)

    async def step_many(
        self,
        sessions: Sequence[ServedSession | SurrogateError],
        numbers: Sequence[int],
        columns: Mapping[str, NDArray[Any]],
        z: NDArray[Any] | None,
        communication_step_size: float | None,
    ) -> list[Stepped | SurrogateError]:
        """Advance many sessions of one model, each as `step` does; each has its own outcome.

        Args:
            sessions: or, by row, why there is none.
            numbers: of their steps.
            columns: inputs by name, (sessions, shape...).
            z: (sessions, latent_dim), or None.
            communication_step_size: of all [s].
        """
        marks = fingerprint_rows(columns, z, communication_step_size, len(sessions))
        results: list[Stepped | SurrogateError | None] = [s if isinstance(s, SurrogateError) else None for s in sessions]
        for _ in range(_ATTEMPTS):
            for row, session in enumerate(sessions):
                if results[row] is None and isinstance(session, ServedSession):
                    try:
                        results[row] = await self._settle(session, LastStep(numbers[row], marks[row]))
                    except SurrogateError as error:
                        results[row] = error
            # from here to the mark `busy` nothing is awaited; a session that changed while another one was settled comes again
            rows = [
                row
                for row, session in enumerate(sessions)
                if results[row] is None and isinstance(session, ServedSession) and _is_next(session, numbers[row])
            ]
            if rows:
                await self._take_rows(sessions, rows, numbers, marks, columns, z, communication_step_size, results)
            if all(result is not None for result in results):
                break
        return [_overtaken(s) if r is None else r for s, r in zip(sessions, results, strict=True)]

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _settle(self, session: ServedSession, last: LastStep) -> Stepped | None:
        """The stored reply of a step that was taken, or None when the session is free and the step is its next one."""
        while True:
            if session.busy is not None:
                await self._wait_for(session, last)
            replay = await self._replay(session, last)
            if replay is not None:
                return replay
            if session.busy is None:
                self._sessions.check_serving()
                return None

    async def _wait_for(self, session: ServedSession, last: LastStep) -> None:
        """Wait for the call that steps the session, if it is the same step; its author may have sent it again too early."""
        waiting = 0
        while session.busy is not None:
            if waiting or last.number != session.moment.run.step_index + 1:
                raise ConcurrentCallError(
                    f"another call steps the session {shown(session.terms.session_id)!r} at this moment; send one step at a time"
                )
            waiting += 1
            await asyncio.shield(session.busy)

    async def _replay(self, session: ServedSession, last: LastStep) -> Stepped | None:
        """The stored reply of a step that was taken; None if it is the next one."""
        moment = session.moment
        expected = moment.run.step_index + 1
        if last.number > expected and await self._sessions.reload(session):
            moment = session.moment
            expected = moment.run.step_index + 1
        if last.number == expected:
            return None
        if moment.last is not None and last.number == moment.last.number:
            if last.fingerprint == moment.last.fingerprint:
                return Stepped(moment, replayed=True)
            if await self._sessions.reload(session):
                return await self._replay(session, last)
            raise StepConflictError(
                f"step {last.number} was taken with other inputs, z or step size; does another client step the session? send the "
                f"same step again, or go on with step {expected}",
                expected,
            )
        if last.number < 1:
            raise InputError(f"step_number is {last.number}; steps are numbered from 1, this session expects step {expected}")
        if last.number < expected:
            raise StepStaleError(
                f"step {last.number} was taken long ago, the session expects step {expected}; restore a snapshot to go back",
                expected,
            )
        raise StepGapError(
            f"do_step was asked for step {last.number}, the session expects step {expected}; send the steps from {expected} on, or "
            "open it with a later resume token",
            expected,
        )

    async def _take(
        self, sessions: Sequence[ServedSession], plans: Sequence[StepPlan], lasts: Sequence[LastStep]
    ) -> list[Moment | SurrogateError | None]:
        """Advance, store, assign. None for a session that another server stepped; it has been read again."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for session in sessions:
            session.busy = over
        try:
            outcomes = await _advance(sessions, plans)
            moments: list[Moment | SurrogateError | None] = [
                outcome if isinstance(outcome, SurrogateError) else Moment(outcome, last)
                for outcome, last in zip(outcomes, lasts, strict=True)
            ]
            await self._sessions.assign(sessions, moments)
            return moments
        finally:
            for session in sessions:
                session.busy = None
            over.set_result(None)

    async def _take_rows(
        self,
        sessions: Sequence[ServedSession | SurrogateError],
        rows: Sequence[int],
        numbers: Sequence[int],
        marks: Sequence[bytes],
        columns: Mapping[str, NDArray[Any]],
        z: NDArray[Any] | None,
        communication_step_size: float | None,
        results: list[Stepped | SurrogateError | None],
    ) -> None:
        chosen = [session for row in rows if isinstance(session := sessions[row], ServedSession)]
        if len(rows) < len(sessions):
            index = np.array(rows)
            columns = {name: column[index] for name, column in columns.items()}
            z = None if z is None else z[index]
        plans = chosen[0].model.stepper.plan_columns(
            [session.moment.run for session in chosen], [session.draws for session in chosen], columns, z, communication_step_size
        )
        ready: list[int] = []
        for place, plan in enumerate(plans):
            if isinstance(plan, SurrogateError):
                results[rows[place]] = plan
            else:
                ready.append(place)
        if not ready:
            return
        try:
            moments = await self._take(
                [chosen[place] for place in ready],
                [plan for plan in plans if not isinstance(plan, SurrogateError)],
                [LastStep(numbers[rows[place]], marks[rows[place]]) for place in ready],
            )
        except SurrogateError as error:
            moments = [error] * len(ready)
        for place, moment in zip(ready, moments, strict=True):
            results[rows[place]] = Stepped(moment, replayed=False) if isinstance(moment, Moment) else moment


async def _advance(sessions: Sequence[ServedSession], plans: Sequence[StepPlan]) -> list[RunState | SurrogateError]:
    """The outcomes in order; sessions of each way of batching go into a batch of their own."""
    first = sessions[0]
    kinds = {session.terms.batching for session in sessions}
    if len(kinds) == 1:
        return await first.model.batcher.step(plans, first.terms.batching)
    places = [[place for place, session in enumerate(sessions) if session.terms.batching is kind] for kind in kinds]
    taken = await asyncio.gather(
        *(first.model.batcher.step([plans[p] for p in some], sessions[some[0]].terms.batching) for some in places)
    )
    outcomes = {place: outcome for some, part in zip(places, taken, strict=True) for place, outcome in zip(some, part, strict=True)}
    return [outcomes[place] for place in range(len(sessions))]


def _is_next(session: ServedSession, number: int) -> bool:
    return session.busy is None and session.moment.run.step_index + 1 == number


def _overtaken(session: ServedSession | SurrogateError) -> SurrogateError:
    if isinstance(session, SurrogateError):
        return session
    return ConcurrentCallError(
        f"other servers step the session {shown(session.terms.session_id)!r} at the same time; let one client step it"
    )
