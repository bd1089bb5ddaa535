"""The server: some bundles on one address until it is told to stop."""

import asyncio
import contextlib
import logging
import queue
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import ConfigError, ServiceError
from surrogate_fmu.runtime.stepper import Stepper
from surrogate_fmu.service.access import Access, TokenFile, check_transport
from surrogate_fmu.service.batcher import Batcher, one_thread
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.handlers import SERVICE_NAME, make_handler
from surrogate_fmu.service.log import keep_headers_out_of_log
from surrogate_fmu.service.metrics import Metrics, NoMetrics, PrometheusMetrics
from surrogate_fmu.service.opening import Opening
from surrogate_fmu.service.rollouts import Rollouts
from surrogate_fmu.service.served import ServedModel
from surrogate_fmu.service.servicer import SurrogateServicer
from surrogate_fmu.service.sessions import Sessions
from surrogate_fmu.service.stepping import Stepping
from surrogate_fmu.service.store import open_store
from surrogate_fmu.service.table import SessionTable
from surrogate_fmu.service.tls import server_credentials
from surrogate_fmu.service.token import TokenKey
from surrogate_fmu.service.turns import Turns

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SIGNAL_POLL_S = 1.0  # Windows does not interrupt a wait for a signal
_SWEEP_S = 5.0  # between two looks for idle sessions

_log = logging.getLogger("surrogate_fmu.service")
T = TypeVar("T")


class Server:
    """A gRPC server that holds sessions of some bundles; models are loaded and the port is taken when it is made.

    It runs an event loop in a thread of its own and answers the standard health and reflection services too. As a context
    manager it starts and stops.

    Args:
        bundles: at least one; their names differ.
        config: address, device, limits, store, keys.

    Raises:
        ConfigError: there is no bundle, two have one name, or a file or address of the config cannot be used.
        BundleError, DeviceError: a model cannot be loaded on the device.
        ServiceError: the address cannot be listened on.

    Attributes:
        address: host:port that was taken.
        metrics_address: host:port of the metrics; None where there are none.
        model_names: what is served, sorted.
    """

    def __init__(self, bundles: Sequence[Bundle], config: ServeConfig | None = None) -> None:
        self._config = config = config or ServeConfig()
        keep_headers_out_of_log()
        self.model_names = _check_names(bundles)
        token_file = None if config.token_file is None else TokenFile.read(config.token_file)
        check_transport(config.host, encrypted=config.tls_cert is not None, tokens=token_file is not None)
        credentials = None
        if config.tls_cert is not None and config.tls_key is not None:
            credentials = server_credentials(config.tls_cert, config.tls_key, config.client_ca)
        key = TokenKey.random() if config.key_file is None else TokenKey.from_file(config.key_file)
        self.metrics: Metrics = NoMetrics() if config.metrics is None else PrometheusMetrics()
        self._models = {bundle.manifest.name: self._load(bundle) for bundle in sorted(bundles, key=lambda b: b.manifest.name)}
        self.table = SessionTable(config.session_limit, config.owner_session_limit)
        self._store = open_store(config.store)
        self._sessions = Sessions(self._models, self.table, self._store, config.store_time_to_live_s, self.metrics.session)
        self._rollouts = Rollouts(config, self.metrics)
        access = Access(token_file, mutual_tls=config.client_ca is not None)
        opening, stepping, turns = Opening(self._sessions, key), Stepping(self._sessions), Turns()
        self.servicer = servicer = SurrogateServicer(
            self._sessions, opening, stepping, self._rollouts, access, config, self.metrics, turns
        )
        handler = make_handler(servicer, access, turns)
        self._loop = _make_loop()
        self._thread = threading.Thread(target=self._run_loop, name="surrogate-fmu-server", daemon=True)
        self._thread.start()
        self._stopped = False
        self.metrics_address: str | None = None
        try:
            self.address = self._await(self._prepare(handler, credentials))
            if config.metrics is not None:
                self.metrics_address = self.metrics.start(config.metrics)
        except BaseException:
            self._end()
            raise

    def start(self) -> None:
        """Begin to answer calls."""
        self._await(self._start())

    def stop(self) -> None:
        """Drain: tell health checks, refuse new work, let running calls finish within the grace time, free the port."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self._await(self._drain())
        finally:
            self._end()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # -- inside the loop ---------------------------------------------------------------------------------------------

    async def _prepare(self, handler: grpc.GenericRpcHandler, credentials: grpc.ServerCredentials | None) -> str:
        self._server = grpc.aio.server(options=_options(self._config))
        self._server.add_generic_rpc_handlers((handler,))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        return _bind(self._server, self._config, credentials)

    async def _start(self) -> None:
        await self._server.start()
        for name in ("", SERVICE_NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._sweep = asyncio.create_task(self._sweep_forever())

    async def _drain(self) -> None:
        self._sessions.draining = True
        await self._health.enter_graceful_shutdown()
        if hasattr(self, "_sweep"):
            self._sweep.cancel()
        await self._server.stop(self._config.stop_grace_s)
        if self._store is not None:
            await self._store.close()

    async def _sweep_forever(self) -> None:
        period_s = min(_SWEEP_S, self._config.idle_timeout_s)
        while True:
            await asyncio.sleep(period_s)
            try:
                await self._sessions.evict_idle()
            except Exception:  # such as a store that is away: the next sweep tries again
                _log.exception("idle sessions could not be evicted")
            for name in self._models:
                self.metrics.sessions(name, sum(1 for session in self.table if session.model.name == name))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _run_loop(self) -> None:
        one_thread()
        self._loop.run_forever()

    def _load(self, bundle: Bundle) -> ServedModel:
        stepper = Stepper(bundle, self._config.device, self._config.reproducible_batch)
        name, metrics = bundle.manifest.name, self.metrics
        batcher = Batcher(stepper, self._config.in_flight_limit, lambda rows, seconds: metrics.batch(name, rows, seconds))
        return ServedModel(bundle, stepper, batcher)

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end(self) -> None:
        self.metrics.stop()
        self._rollouts.close()
        for model in self._models.values():
            model.batcher.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def serve(bundles: Sequence[Bundle], config: ServeConfig | None = None, ready: Callable[[Server], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order. To be called from the main thread, which receives signals.

    Args:
        bundles: the models.
        config: address, device, limits, store, keys.
        ready: called once calls are answered; `address` of the server tells the port that was taken.

    Raises:
        As `Server`.
    """
    # a SimpleQueue may be written in a signal handler that interrupts its own reader; an Event may not
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    previous = {number: signal.signal(number, lambda number, _: received.put(number)) for number in _SIGNALS}
    try:
        with Server(bundles, config) as server:
            if ready is not None:
                ready(server)
            _log.info("%s received, stopping", signal.Signals(_wait(received)).name)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait(received: "queue.SimpleQueue[int]") -> int:
    while True:
        with contextlib.suppress(queue.Empty):
            return received.get(timeout=_SIGNAL_POLL_S)


def _make_loop() -> asyncio.AbstractEventLoop:
    if sys.platform != "win32" and find_spec("uvloop") is not None:
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def _check_names(bundles: Sequence[Bundle]) -> tuple[str, ...]:
    names = sorted(bundle.manifest.name for bundle in bundles)
    if not names:
        raise ConfigError("there is no bundle to serve; give at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two bundles are called {', '.join(map(repr, twice))}; clients ask by name, so serve one of them")
    return tuple(names)


def _options(config: ServeConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.message_limit_bytes),
        ("grpc.max_send_message_length", config.message_limit_bytes),
        ("grpc.max_metadata_size", 16 * 1024),
        ("grpc.keepalive_time_ms", round(1000 * config.keepalive_s)),  # a half-open connection is found and its calls end
        ("grpc.keepalive_timeout_ms", round(1000 * config.keepalive_s / 3)),
        ("grpc.http2.ping_timeout_ms", round(1000 * config.keepalive_s / 3)),  # what grpc 1.85 goes by, a minute by default
        ("grpc.http2.min_ping_interval_without_data_ms", round(1000 * config.keepalive_s / 3)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # as many as it takes
        ("grpc.so_reuseport", 0),  # else a second server shares the port in silence and takes half of the calls
    ]


def _bind(server: grpc.aio.Server, config: ServeConfig, credentials: grpc.ServerCredentials | None) -> str:
    try:
        if credentials is None:
            port = server.add_insecure_port(config.listen)
        else:
            port = server.add_secure_port(config.listen, credentials)
    except RuntimeError as error:
        raise ServiceError(
            f"cannot listen on {config.listen} ({error}); is the port taken? choose another with --listen host:port"
        ) from error
    return f"{config.host}:{port}"
