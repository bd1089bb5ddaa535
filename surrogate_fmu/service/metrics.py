"""What a service counts: nothing, or Prometheus metrics over HTTP with a live page."""

import contextlib
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Protocol

from surrogate_fmu.errors import ServiceError

_LATENCY_BUCKETS_S = (25e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 0.01, 0.05, 0.2, 1.0, 5.0)
_SILENCE_S = 10  # that a caller may hold a thread without a word
_CONNECTIONS_MAX = 32
_PLACE_S = 1.0  # that a caller waits for the place of the oldest one
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)


class Metrics(Protocol):
    """Told of everything that is worth counting."""

    def step(self, model: str, seconds: float, replayed: bool) -> None:
        """A step was answered, after so long in the server [s]."""

    def refused(self, model: str, error: str) -> None:
        """A call was refused with an error of that class; the model is empty where it is not known."""

    def session(self, event: str, model: str) -> None:
        """A session was opened, resumed (from a token), loaded (from the store), closed or evicted."""

    def sessions(self, model: str, count: int) -> None:
        """So many sessions of a model are in memory."""

    def batch(self, model: str, rows: int, seconds: float) -> None:
        """The generator was called for so many steps and took so long [s]."""

    def rollout(self, model: str, members: int, steps: int, seconds: float) -> None:
        """A rollout was answered."""

    def start(self, address: str) -> str:
        """Answer HTTP on host:port; the address that was taken."""

    def stop(self) -> None:
        """End that; without a start it does nothing."""


class NoMetrics:
    """Counts nothing."""

    def step(self, model: str, seconds: float, replayed: bool) -> None:
        """Nothing."""

    def refused(self, model: str, error: str) -> None:
        """Nothing."""

    def session(self, event: str, model: str) -> None:
        """Nothing."""

    def sessions(self, model: str, count: int) -> None:
        """Nothing."""

    def batch(self, model: str, rows: int, seconds: float) -> None:
        """Nothing."""

    def rollout(self, model: str, members: int, steps: int, seconds: float) -> None:
        """Nothing."""

    def start(self, address: str) -> str:
        """There is nothing to answer with."""
        raise ServiceError(f"no metrics are counted that {address} could answer with")

    def stop(self) -> None:
        """Nothing."""


class _Http(ThreadingHTTPServer):
    """So many connections at once, each in a thread that ends with the server; one too many and the oldest is hung up."""

    daemon_threads = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[Any, None] = {}
        self._slots = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, once there is a place for one; who finds none in time is hung up himself."""
        if not self._slots.acquire(blocking=False):
            with self._lock:
                oldest = next(iter(self._open), None)
            if oldest is not None:
                _hang_up(oldest)
            if not self._slots.acquire(timeout=_PLACE_S):
                super().shutdown_request(request)
                return
        with self._lock:
            self._open[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and give the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that was answered."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is no event."""

    def hang_up(self) -> None:
        """End every connection, whatever it waits for."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _hang_up(connection)


class _Http6(_Http):
    address_family = socket.AF_INET6


def _hang_up(connection: Any) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        connection.shutdown(socket.SHUT_RDWR)


class PrometheusMetrics:
    """Counts in a registry of its own, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        name = "surrogate_fmu_"
        options: Any = {"registry": self.registry}
        self._steps = Counter(name + "steps", "Steps answered.", ["model"], **options)
        self._replays = Counter(name + "replays", "Steps answered with their stored reply.", ["model"], **options)
        self._refused = Counter(name + "refused", "Calls refused, by the class of the error.", ["error"], **options)
        self._events = Counter(
            name + "session_events", "Sessions opened, resumed, loaded, closed, evicted.", ["event", "model"], **options
        )
        self._sessions = Gauge(name + "sessions", "Sessions in memory.", ["model"], **options)
        self._latency = Histogram(
            name + "step_seconds", "Time of a step in the server.", ["model"], buckets=_LATENCY_BUCKETS_S, **options
        )
        self._batch = Histogram(
            name + "batch_rows", "Steps in one call of the generator.", ["model"], buckets=_BATCH_BUCKETS, **options
        )
        self._generator = Counter(name + "generator_seconds", "Time in the generator.", ["model"], **options)
        self._members = Counter(name + "rollout_member_steps", "Members times steps of rollouts.", ["model"], **options)
        self._of_model: dict[str, tuple[Counter, Histogram]] = {}
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None

    def step(self, model: str, seconds: float, replayed: bool) -> None:
        """A step was answered."""
        pair = self._of_model.get(model)
        if pair is None:
            pair = self._of_model[model] = (self._steps.labels(model), self._latency.labels(model))
        pair[0].inc()
        pair[1].observe(seconds)
        if replayed:
            self._replays.labels(model).inc()

    def refused(self, model: str, error: str) -> None:
        """A call was refused."""
        self._refused.labels(error).inc()

    def session(self, event: str, model: str) -> None:
        """A session came or went."""
        self._events.labels(event, model).inc()

    def sessions(self, model: str, count: int) -> None:
        """So many are in memory."""
        self._sessions.labels(model).set(count)

    def batch(self, model: str, rows: int, seconds: float) -> None:
        """The generator was called."""
        self._batch.labels(model).observe(rows)
        self._generator.labels(model).inc(seconds)

    def rollout(self, model: str, members: int, steps: int, seconds: float) -> None:
        """A rollout was answered."""
        self._members.labels(model).inc(members * steps)

    def start(self, address: str) -> str:
        """Answer GET /metrics and GET / on host:port; the address that was taken.

        Raises:
            ServiceError: the address cannot be listened on.
        """
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        registry = self.registry
        page = files("surrogate_fmu.service").joinpath("live.html").read_bytes()

        class Handler(BaseHTTPRequestHandler):
            timeout = _SILENCE_S

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST)
                elif self.path == "/":
                    self._answer(HTTPStatus.OK, page, "text/html; charset=utf-8")
                else:
                    self._answer(HTTPStatus.NOT_FOUND, b"there are / and /metrics\n", "text/plain")

            def log_message(self, *_: object) -> None:
                """A scrape is no event."""

            def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        host, _, port = address.rpartition(":")
        try:
            server = _Http6 if ":" in host else _Http
            self._http = server((host.removeprefix("[").removesuffix("]"), int(port)), Handler)
        except OSError as error:
            raise ServiceError(
                f"cannot listen on {address} for metrics ({error}); choose another with --metrics host:port"
            ) from error
        self._thread = threading.Thread(target=self._http.serve_forever, name="surrogate-fmu-metrics", daemon=True)
        self._thread.start()
        return f"{host}:{self._http.server_address[1]}"

    def stop(self) -> None:
        """Stop answering and free the port."""
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._http.hang_up()
            self._http.server_close()
            self._thread.join()
            self._http = self._thread = None
