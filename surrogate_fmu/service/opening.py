"""The ways into a session: opened, resumed from a token, restored from a snapshot; and the tokens that lead there."""

import asyncio
import secrets
from collections.abc import Callable

from surrogate_fmu.errors import NotServedError, OpenConflictError, SnapshotError
from surrogate_fmu.runtime.run_state import RunState
from surrogate_fmu.service.record import Moment, Terms, decode_record, encode_record, record_digest
from surrogate_fmu.service.served import ServedModel, ServedSession
from surrogate_fmu.service.sessions import Opened, Sessions
from surrogate_fmu.service.table import shown
from surrogate_fmu.service.token import TokenKey

_ID_BYTES = 24


class Opening:
    """Opens sessions. To be used from the thread of the event loop.

    Args:
        sessions: where they are kept.
        key: signs tokens.
    """

    def __init__(self, sessions: Sessions, key: TokenKey) -> None:
        self._sessions = sessions
        self._key = key
        self._turns: dict[str, asyncio.Future[None]] = {}

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
        self._sessions.check_serving()
        if not terms.session_id:
            return await self._sessions.add(model, _named(terms, _random_id()), Moment(start()))
        async with _Turn(self._turns, terms.session_id):
            token = self._resumed(model, terms, resume_token) if resume_token else None
            session = await self._sessions.lookup(terms.session_id, terms.owner)
            if session is not None:
                if session.model is not model or session.terms.opened != terms.opened:
                    raise OpenConflictError(
                        f"the session {shown(terms.session_id)!r} is there already and was opened with another model, seed, "
                        "mode or other values; choose another id"
                    )
                if token is not None and token.run.step_index > session.moment.run.step_index:
                    await self._sessions.replace(session, token)
                    self._sessions.observe("resumed", model.name)
                    return Opened(session, token, found=True, resumed=True)
                return Opened(session, session.moment, found=True, resumed=False)
            if self._sessions.table.was_closed(terms.session_id):
                raise self._sessions.table.missing(terms.session_id)
            if token is None:
                return await self._sessions.add(model, terms, Moment(start()))
            opened = await self._sessions.add(model, terms, token)
            self._sessions.observe("resumed", model.name)
            return opened._replace(resumed=True)

    async def restore(self, snapshot: bytes, owner: str, replaced_id: str, new_id: str) -> Opened:
        """Start a session from a snapshot, and close the session that it replaces.

        Raises:
            SnapshotError: the snapshot is damaged, of another version or key, or of a model that is not served.
            AccessError, OpenConflictError, ServiceFullError: as `open`.
        """
        self._sessions.check_serving()
        data = self._key.open(snapshot)
        model = self._sessions.model_of(record_digest(data))
        if model is None:
            served = ", ".join(f"{m.name} ({m.bundle.digest[:12]})" for m in self._sessions.models.values())
            raise SnapshotError(f"the snapshot belongs to the bundle {record_digest(data).hex()[:12]}, served are {served}")
        record = decode_record(data, model.manifest)
        _check_owner(record.terms.owner, owner)
        new_id = new_id or _random_id()
        async with _Turn(self._turns, new_id):
            session = await self._sessions.lookup(new_id, owner)
            if session is not None:
                if session.model is not model or session.terms.opened != record.terms.opened:
                    raise OpenConflictError(
                        f"the session {shown(new_id)!r} is there already; choose another id for the new session"
                    )
                opened = Opened(session, session.moment, found=True, resumed=False)
            elif self._sessions.table.was_closed(new_id):
                raise self._sessions.table.missing(new_id)
            else:
                # the replaced session gives its place first, so that a full server can restore too
                if replaced_id and replaced_id != new_id:
                    await self._sessions.close(replaced_id, owner)
                    replaced_id = ""
                opened = await self._sessions.add(model, _named(record.terms, new_id), record.moment)
        if replaced_id and replaced_id != new_id:
            await self._sessions.close(replaced_id, owner)
        return opened

    def token(self, session: ServedSession, moment: Moment) -> bytes:
        """A moment of a session, signed."""
        return self._key.seal(encode_record(session.terms, session.model.digest, moment))

    def token_due(self, session: ServedSession, moment: Moment) -> bool:
        """Whether the reply that brings this moment brings a token too."""
        last = moment.last
        if self._sessions.draining or last is None:
            return True
        interval = session.terms.token_interval
        return moment.run.step_index // interval != (last.number - 1) // interval

    # -- inside ------------------------------------------------------------------------------------------------------

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


def _named(terms: Terms, session_id: str) -> Terms:
    return Terms(session_id, terms.owner, terms.opened, terms.batching, terms.token_interval, terms.time_to_live_s)


def _random_id() -> str:
    return secrets.token_urlsafe(_ID_BYTES)


def _check_owner(owner: str, caller: str) -> None:
    if owner != caller:
        raise NotServedError("the snapshot belongs to another owner; only the owner of its session may go on from it")
