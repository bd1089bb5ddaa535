"""The sessions of a server and the rules by which they change: numbered steps, one writer at a time, state with its reply.

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
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.errors import (
    ConcurrentCallError,
    InputError,
    NotServedError,
    OpenConflictError,
    ServiceDrainingError,
    SnapshotError,
    StepConflictError,
    StepGapError,
    StepStaleError,
    SurrogateError,
)
from surrogate_fmu.runtime.run_state import RunState
from surrogate_fmu.runtime.stepper import StepPlan
from surrogate_fmu.service.fingerprint import fingerprint_rows, fingerprint_step
from surrogate_fmu.service.record import LastStep, Moment, Terms, decode_record, encode_record, record_digest
from surrogate_fmu.service.served import ServedModel, ServedSession
from surrogate_fmu.service.store.protocol import SessionStore, StoredSession
from surrogate_fmu.service.table import SessionTable, shown
from surrogate_fmu.service.token import TokenKey

_ID_BYTES = 24
_ATTEMPTS = 3  # with a store: how often a step is asked anew after another server was faster


class Stepped(NamedTuple):
    """A step that was taken, now or by an earlier call."""

    moment: Moment
    replayed: bool


class Opened(NamedTuple):
    """What `open` did."""

    session: ServedSession
    moment: Moment
    found: bool
    resumed: bool


class SessionKeeper:
    """Opens, finds, steps and ends sessions. To be used from the thread of the event loop.

    Args:
        models: by name.
        table: the sessions in memory.
        key: signs tokens.
        store: where every change goes before it is answered; None keeps sessions in memory alone.
        store_time_to_live_s: a stored session that nobody called for so long may be deleted [s].
        observe: called with the name of an event and the model: opened, resumed, loaded, closed, evicted.
        wall_clock: gives the time [s] since 1970.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        table: SessionTable,
        key: TokenKey,
        store: SessionStore | None,
        store_time_to_live_s: float,
        observe: Callable[[str, str], None] = lambda event, model: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._models = models
        self._by_digest = {model.digest: model for model in models.values()}
        self.table = table
        self._key = key
        self._store = store
        self._store_time_to_live_s = store_time_to_live_s
        self._observe = observe
        self._wall_clock = wall_clock
        self._opening: dict[str, asyncio.Future[None]] = {}
        self.draining = False

    # -- models ------------------------------------------------------------------------------------------------------

    def model(self, name: str) -> ServedModel:
        """The model of a name.

        Raises:
            NotServedError: there is none.
        """
        model = self._models.get(name)
        if model is None:
            raise NotServedError(f"no model is called {name!r} here; there are {', '.join(repr(n) for n in self._models)}")
        return model

    # -- opening -----------------------------------------------------------------------------------------------------

    async def open(self, model: ServedModel, terms: Terms, start: Callable[[], RunState], resume_token: bytes = b"") -> Opened:
        """Start a session, go on from a token, or find the session again.

        Args:
            model: what it runs.
            terms: with an empty session id, the server chooses one.
            start: makes the state at the start of the run.
            resume_token: from a reply to a session of the same terms; empty starts a run.

        Raises:
            OpenConflictError: a session of this id was opened otherwise.
            NotServedError: a session of this id was closed.
            SnapshotError: the token is damaged, or of another session, model or key.
            SurrogateError: the run cannot start.
        """
        self._check_serving()
        if not terms.session_id:
            return await self._add(model, _named(terms, _random_id()), Moment(start()))
        async with _Turn(self._opening, terms.session_id):
            token = self._resumed(model, terms, resume_token) if resume_token else None
            session = await self._lookup(terms.session_id, terms.owner)
            if session is not None:
                if session.model is not model or session.terms.opened != terms.opened:
                    raise OpenConflictError(
                        f"the session {shown(terms.session_id)!r} is there already and was opened with another model, seed, "
                        "mode or other values; choose another id"
                    )
                if token is not None and token.run.step_index > session.moment.run.step_index:
                    await self._replace(session, token)
                    self._observe("resumed", model.name)
                    return Opened(session, token, found=True, resumed=True)
                return Opened(session, session.moment, found=True, resumed=False)
            if self.table.was_closed(terms.session_id):
                raise self.table.missing(terms.session_id)
            if token is None:
                return await self._add(model, terms, Moment(start()))
            opened = await self._add(model, terms, token)
            self._observe("resumed", model.name)
            return opened._replace(resumed=True)

    async def restore(self, snapshot: bytes, owner: str, replaced_id: str, new_id: str) -> Opened:
        """Start a session from a snapshot, and close the session that it replaces.

        Raises:
            SnapshotError: the snapshot is damaged, of another version or key, or of a model that is not served.
            AccessError, OpenConflictError, ServiceFullError: as `open`.
        """
        self._check_serving()
        data = self._key.open(snapshot)
        model = self._by_digest.get(record_digest(data))
        if model is None:
            served = ", ".join(f"{m.name} ({m.bundle.digest[:12]})" for m in self._models.values())
            raise SnapshotError(f"the snapshot belongs to the bundle {record_digest(data).hex()[:12]}, served are {served}")
        record = decode_record(data, model.manifest)
        _check_owner(record.terms.owner, owner)
        new_id = new_id or _random_id()
        async with _Turn(self._opening, new_id):
            session = await self._lookup(new_id, owner)
            if session is not None:
                if session.model is not model or session.terms.opened != record.terms.opened:
                    raise OpenConflictError(
                        f"the session {shown(new_id)!r} is there already; choose another id for the new session"
                    )
                opened = Opened(session, session.moment, found=True, resumed=False)
            elif self.table.was_closed(new_id):
                raise self.table.missing(new_id)
            else:
                # the replaced session gives its place first, so that a full server can restore too
                if replaced_id and replaced_id != new_id:
                    await self.close(replaced_id, owner)
                    replaced_id = ""
                opened = await self._add(model, _named(record.terms, new_id), record.moment)
        if replaced_id and replaced_id != new_id:
            await self.close(replaced_id, owner)
        return opened

    async def find(self, session_id: str, owner: str) -> ServedSession:
        """The session of an id, from memory or from the store.

        Raises:
            NotServedError: there is none that this owner may use.
            SessionEvictedError: it was evicted.
        """
        session = self.table.get(session_id, owner) or await self._lookup(session_id, owner)
        if session is None:
            raise self.table.missing(session_id)
        return session

    async def read(self, session_id: str, owner: str) -> ServedSession:
        """The session as it stands, read again from the store where another server may have stepped it.

        Raises:
            NotServedError, SessionEvictedError: as `find`.
            StoreError: the store cannot be read.
        """
        session = await self.find(session_id, owner)
        if session.busy is None:
            await self._reload(session)
        return session

    def holds(self, session: ServedSession) -> bool:
        """Whether the session is in memory; marks it as used."""
        return self.table.get(session.terms.session_id, session.terms.owner) is session

    async def close(self, session_id: str, owner: str) -> None:
        """End a session in memory and in the store; one that is not there is no error."""
        session = await self._lookup(session_id, owner)
        if session is None:
            return
        if self._store is not None:
            await self._store.delete(session_id)
        self.table.close(session_id)
        self._observe("closed", session.model.name)

    def token(self, session: ServedSession, moment: Moment) -> bytes:
        """A moment of a session, signed."""
        return self._key.seal(encode_record(session.terms, session.model.digest, moment))

    def token_due(self, session: ServedSession, moment: Moment) -> bool:
        """Whether the reply that brings this moment brings a token too."""
        last = moment.last
        if self.draining or last is None:
            return True
        interval = session.terms.token_interval
        return moment.run.step_index // interval != (last.number - 1) // interval

    # -- stepping ----------------------------------------------------------------------------------------------------

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

    async def evict_idle(self) -> int:
        """Take idle sessions out of the memory; with a store they stay there until its own time to live. How many."""
        idle = self.table.evict_idle()
        for session in idle:
            self._observe("evicted", session.model.name)
        if self._store is not None:
            await self._store.drop_expired(self._wall_clock())
        return len(idle)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _check_serving(self) -> None:
        if self.draining:
            raise ServiceDrainingError("the service stops and takes no new work; call again, it or another one will be there", 0.5)

    async def _add(self, model: ServedModel, terms: Terms, moment: Moment) -> Opened:
        taken = OpenConflictError(f"the session id {shown(terms.session_id)!r} is taken; choose another one, at random")
        if self.table.is_anothers(terms.session_id, terms.owner):
            raise taken
        self.table.check_room(terms.owner)
        session = ServedSession(model, terms, moment)
        if self._store is not None:
            lost = await self._store.save([self._stored(session, moment)])
            if lost:
                stored = await self._store.load(terms.session_id)
                if stored is not None and self._read(stored)[1].owner != terms.owner:
                    raise taken
                return await self._opened_elsewhere(session)
            session.version = 1
        self.table.add(session)
        self._observe("opened", model.name)
        return Opened(session, moment, found=False, resumed=False)

    async def _opened_elsewhere(self, wanted: ServedSession) -> Opened:
        """The session that another server, or a write whose answer was lost, stored since it was looked for."""
        terms = wanted.terms
        found = await self._lookup(terms.session_id, terms.owner)
        equal = found is not None and found.model is wanted.model and found.terms.opened == terms.opened
        if found is None or not equal or found.moment.run.step_index < wanted.moment.run.step_index:
            raise ConcurrentCallError(f"another server opens the session {shown(terms.session_id)!r} at this moment; call again")
        return Opened(found, found.moment, found=True, resumed=False)

    async def _replace(self, session: ServedSession, moment: Moment) -> None:
        if session.busy is not None:
            raise ConcurrentCallError(f"another call steps the session {shown(session.terms.session_id)!r}; call again")
        if self._store is not None:
            row = self._stored(session, moment)
            if await self._store.save([row]):
                raise ConcurrentCallError(f"another server steps the session {shown(session.terms.session_id)!r}; call again")
            session.version = row.version
        session.moment = moment
        session.rest()

    async def _lookup(self, session_id: str, owner: str) -> ServedSession | None:
        session = self.table.get(session_id, owner)
        if session is not None or self._store is None:
            return session
        stored = await self._store.load(session_id)
        session = self.table.get(session_id, owner)  # another call may have been faster
        if stored is None or session is not None:
            return session
        model, terms, moment = self._read(stored)
        if terms.owner != owner:
            return None
        session = ServedSession(model, terms, moment, stored.version)
        self.table.add(session)
        self._observe("loaded", model.name)
        return session

    async def _reload(self, session: ServedSession) -> bool:
        """Read a session again that another server stepped; whether there was news.

        Raises:
            NotServedError: it is not stored any more; another server closed it.
        """
        if self._store is None:
            return False
        stored = await self._store.load(session.terms.session_id)
        if stored is None:
            self.table.drop(session.terms.session_id)
            raise self.table.missing(session.terms.session_id)
        if stored.version <= session.version:
            return False
        session.moment, session.version = self._read(stored)[2], stored.version
        session.rest()
        return True

    def _read(self, stored: StoredSession) -> tuple[ServedModel, Terms, Moment]:
        model = self._by_digest.get(record_digest(stored.state))
        if model is None:
            raise NotServedError(
                f"the session {shown(stored.session_id)!r} runs the bundle {record_digest(stored.state).hex()[:12]}, which is "
                "not served any more; serve it again, or open a new session"
            )
        record = decode_record(stored.state, model.manifest)
        return model, record.terms, record.moment

    def _stored(self, session: ServedSession, moment: Moment) -> StoredSession:
        return StoredSession(
            session.terms.session_id,
            session.version + 1,
            encode_record(session.terms, session.model.digest, moment),
            self._wall_clock() + self._store_time_to_live_s,
        )

    def _resumed(self, model: ServedModel, terms: Terms, resume_token: bytes) -> Moment:
        data = self._key.open(resume_token)
        if record_digest(data) != model.digest:
            raise SnapshotError(
                f"the token belongs to the bundle {record_digest(data).hex()[:12]}, {model.name!r} is {model.bundle.digest[:12]}"
            )
        record = decode_record(data, model.manifest)
        _check_owner(record.terms.owner, terms.owner)
        if record.terms.session_id != terms.session_id or record.terms.opened != terms.opened:
            raise SnapshotError(
                "the token belongs to another session, or the session was opened otherwise; repeat the request that opened it, "
                "or use Restore to start a new session from it"
            )
        return record.moment

    async def _settle(self, session: ServedSession, last: LastStep) -> Stepped | None:
        """The stored reply of a step that was taken, or None when the session is free and the step is its next one."""
        while True:
            if session.busy is not None:
                await self._wait_for(session, last)
            replay = await self._replay(session, last)
            if replay is not None:
                return replay
            if session.busy is None:
                self._check_serving()
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
        if last.number > expected and await self._reload(session):
            moment = session.moment
            expected = moment.run.step_index + 1
        if last.number == expected:
            return None
        if moment.last is not None and last.number == moment.last.number:
            if last.fingerprint == moment.last.fingerprint:
                return Stepped(moment, replayed=True)
            if await self._reload(session):
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
            if self._store is not None:
                await self._store_moments(self._store, sessions, moments)
                return moments
            for session, moment in zip(sessions, moments, strict=True):
                if isinstance(moment, Moment):
                    session.moment = moment
            return moments
        finally:
            for session in sessions:
                session.busy = None
            over.set_result(None)

    async def _store_moments(
        self, store: SessionStore, sessions: Sequence[ServedSession], moments: list[Moment | SurrogateError | None]
    ) -> None:
        taken = [(s, m) for s, m in zip(sessions, moments, strict=True) if isinstance(m, Moment)]
        rows = [self._stored(session, moment) for session, moment in taken]
        lost = await store.save(rows)
        for (session, moment), row in zip(taken, rows, strict=True):
            if session.terms.session_id in lost:
                moments[sessions.index(session)] = await self._overtaken(session)
            else:
                session.version, session.moment = row.version, moment  # not one more: it may have been read again meanwhile

    async def _overtaken(self, session: ServedSession) -> SurrogateError | None:
        """Read a session again whose step was not stored; None when it may be asked anew, or why not."""
        try:
            await self._reload(session)
        except SurrogateError as error:  # of this session alone: the others of the call were stored
            return error
        return None

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


class _Turn:
    """One caller at a time for an id."""

    def __init__(self, turns: dict[str, asyncio.Future[None]], name: str) -> None:
        self._turns = turns
        self._name = name

    async def __aenter__(self) -> None:
        while self._name in self._turns:
            await asyncio.shield(self._turns[self._name])
        self._turns[self._name] = asyncio.get_running_loop().create_future()

    async def __aexit__(self, *_: object) -> None:
        self._turns.pop(self._name).set_result(None)


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


def _named(terms: Terms, session_id: str) -> Terms:
    return Terms(session_id, terms.owner, terms.opened, terms.batching, terms.token_interval, terms.time_to_live_s)


def _random_id() -> str:
    return secrets.token_urlsafe(_ID_BYTES)


def _check_owner(owner: str, caller: str) -> None:
    if owner != caller:
        raise NotServedError("the snapshot belongs to another owner; only the owner of its session may go on from it")


def _overtaken(session: ServedSession | SurrogateError) -> SurrogateError:
    if isinstance(session, SurrogateError):
        return session
    return ConcurrentCallError(
        f"other servers step the session {shown(session.terms.session_id)!r} at the same time; let one client step it"
    )
