"""The sessions of a server in memory and in the store: found, added, replaced, written, read again, ended."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from surrogate_fmu.errors import ConcurrentCallError, NotServedError, OpenConflictError, ServiceDrainingError, SurrogateError
from surrogate_fmu.service.record import Moment, Terms, decode_record, encode_record, record_digest
from surrogate_fmu.service.served import ServedModel, ServedSession
from surrogate_fmu.service.store.protocol import SessionStore, StoredSession
from surrogate_fmu.service.table import SessionTable, shown


class Opened(NamedTuple):
    """A session that was opened, and how."""

    session: ServedSession
    moment: Moment
    found: bool
    resumed: bool


class Sessions:
    """Where sessions are kept. To be used from the thread of the event loop.

    Args:
        models: by name.
        table: the sessions in memory.
        store: where every change goes before it is answered; None keeps sessions in memory alone.
        store_time_to_live_s: a stored session that nobody called for so long may be deleted [s].
        observe: called with the name of an event and the model: opened, resumed, loaded, closed, evicted.
        wall_clock: gives the time [s] since 1970.

    Attributes:
        models: by name.
        draining: whether the server stops; set by the server.
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        table: SessionTable,
        store: SessionStore | None,
        store_time_to_live_s: float,
        observe: Callable[[str, str], None] = lambda event, model: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.models = models
        self._by_digest = {model.digest: model for model in models.values()}
        self.table = table
        self._store = store
        self._store_time_to_live_s = store_time_to_live_s
        self.observe = observe
        self._wall_clock = wall_clock
        self.draining = False

    def check_serving(self) -> None:
        """Refuse new work while the server stops.

        Raises:
            ServiceDrainingError: it does.
        """
        if self.draining:
            raise ServiceDrainingError("the service stops and takes no new work; call again, it or another one will be there", 0.5)

    def model(self, name: str) -> ServedModel:
        """The model of a name.

        Raises:
            NotServedError: there is none.
        """
        model = self.models.get(name)
        if model is None:
            raise NotServedError(f"no model is called {name!r} here; there are {', '.join(repr(n) for n in self.models)}")
        return model

    def model_of(self, digest: bytes) -> ServedModel | None:
        """The model of a bundle; None if it is not served."""
        return self._by_digest.get(digest)

    async def find(self, session_id: str, owner: str) -> ServedSession:
        """The session of an id, from memory or from the store.

        Raises:
            NotServedError: there is none that this owner may use.
            SessionEvictedError: it was evicted.
        """
        session = self.table.get(session_id, owner) or await self.lookup(session_id, owner)
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
            await self.reload(session)
        return session

    def holds(self, session: ServedSession) -> bool:
        """Whether the session is in memory; marks it as used."""
        return self.table.get(session.terms.session_id, session.terms.owner) is session

    async def lookup(self, session_id: str, owner: str) -> ServedSession | None:
        """The session of an id, from memory or from the store; None if there is none that this owner may use."""
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
        self.observe("loaded", model.name)
        return session

    async def reload(self, session: ServedSession) -> bool:
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

    async def add(self, model: ServedModel, terms: Terms, moment: Moment) -> Opened:
        """Keep a new session.

        Raises:
            OpenConflictError: the id is another owner's.
            ServiceFullError: there is no room.
            ConcurrentCallError: another server opens it otherwise at this moment.
        """
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
        self.observe("opened", model.name)
        return Opened(session, moment, found=False, resumed=False)

    async def replace(self, session: ServedSession, moment: Moment) -> None:
        """Let a session go on from another moment.

        Raises:
            ConcurrentCallError: it is stepped at this moment.
        """
        if session.busy is not None:
            raise ConcurrentCallError(f"another call steps the session {shown(session.terms.session_id)!r}; call again")
        if self._store is not None:
            row = self._stored(session, moment)
            if await self._store.save([row]):
                raise ConcurrentCallError(f"another server steps the session {shown(session.terms.session_id)!r}; call again")
            session.version = row.version
        session.moment = moment
        session.rest()

    async def assign(self, sessions: Sequence[ServedSession], moments: list[Moment | SurrogateError | None]) -> None:
        """Give sessions that were stepped their new moments, once these are stored.

        Args:
            sessions: those that were stepped.
            moments: of each; an error stays where it is. A session that another server stepped is read again, and None, or why
                that cannot be, takes the place of its moment.
        """
        taken = [(s, m) for s, m in zip(sessions, moments, strict=True) if isinstance(m, Moment)]
        if self._store is None:
            for session, moment in taken:
                session.moment = moment
            return
        rows = [self._stored(session, moment) for session, moment in taken]
        lost = await self._store.save(rows)
        for (session, moment), row in zip(taken, rows, strict=True):
            if session.terms.session_id in lost:
                moments[sessions.index(session)] = await self._overtaken(session)
            else:
                session.version, session.moment = row.version, moment  # not one more: it may have been read again meanwhile

    async def close(self, session_id: str, owner: str) -> None:
        """End a session in memory and in the store; one that is not there is no error."""
        session = await self.lookup(session_id, owner)
        if session is None:
            return
        if self._store is not None:
            await self._store.delete(session_id)
        self.table.close(session_id)
        self.observe("closed", session.model.name)

    async def evict_idle(self) -> int:
        """Take idle sessions out of the memory; with a store they stay there until its own time to live. How many."""
        idle = self.table.evict_idle()
        for session in idle:
            self.observe("evicted", session.model.name)
        if self._store is not None:
            await self._store.drop_expired(self._wall_clock())
        return len(idle)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _opened_elsewhere(self, wanted: ServedSession) -> Opened:
        """The session that another server, or a write whose answer was lost, stored since it was looked for."""
        terms = wanted.terms
        found = await self.lookup(terms.session_id, terms.owner)
        equal = found is not None and found.model is wanted.model and found.terms.opened == terms.opened
        if found is None or not equal or found.moment.run.step_index < wanted.moment.run.step_index:
            raise ConcurrentCallError(f"another server opens the session {shown(terms.session_id)!r} at this moment; call again")
        return Opened(found, found.moment, found=True, resumed=False)

    async def _overtaken(self, session: ServedSession) -> SurrogateError | None:
        """Read a session again whose step was not stored; None when it may be asked anew, or why not."""
        try:
            await self.reload(session)
        except SurrogateError as error:  # of this session alone: the others of the call were stored
            return error
        return None

    def _read(self, stored: StoredSession) -> tuple[ServedModel, Terms, Moment]:
        model = self.model_of(record_digest(stored.state))
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
