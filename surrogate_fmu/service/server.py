"""The server: some bundles on one address until it is told to stop."""

import contextlib
import logging
import queue
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

import grpc

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import load_generator
from surrogate_fmu.errors import ConfigError, ServiceError
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.servicer import SurrogateServicer
from surrogate_fmu.service.v1 import surrogate_pb2, surrogate_pb2_grpc

SERVICE_NAME = surrogate_pb2.DESCRIPTOR.services_by_name["Surrogate"].full_name
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SIGNAL_POLL_S = 1.0  # Windows does not interrupt a wait for a signal

_log = logging.getLogger("surrogate_fmu.service")


class Server:
    """A gRPC server that holds sessions of some bundles; models are loaded and the port is taken when it is made.

    With grpcio-health-checking installed it answers the standard health service too. As a context manager it starts and stops.

    Args:
        bundles: at least one; their names differ.
        config: address, device, limits.

    Raises:
        ConfigError: there is no bundle, or two have one name.
        BundleError, DeviceError: a model cannot be loaded on the device.
        ServiceError: the address cannot be listened on.
    """

    def __init__(self, bundles: Sequence[Bundle], config: ServeConfig | None = None) -> None:
        config = config or ServeConfig()
        self.model_names = _check_names(bundles)
        for bundle in bundles:
            load_generator(bundle, config.device)
        self._grace_s = config.stop_grace_s
        self._executor = ThreadPoolExecutor(config.thread_count, "surrogate-fmu-call")
        self._server = grpc.server(self._executor, options=_options(config))
        self.servicer = SurrogateServicer(bundles, config)
        surrogate_pb2_grpc.add_SurrogateServicer_to_server(self.servicer, self._server)
        self._health = _add_health_service(self._server)
        self.address = _bind(self._server, config)

    def start(self) -> None:
        """Begin to answer calls."""
        self._server.start()

    def stop(self) -> None:
        """Refuse new calls, let running ones finish within the grace time, free the port."""
        if self._health is not None:
            self._health.enter_graceful_shutdown()
        self._server.stop(self._grace_s).wait()
        self._executor.shutdown(wait=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def serve(bundles: Sequence[Bundle], config: ServeConfig | None = None, ready: Callable[[Server], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order. To be called from the main thread, which receives signals.

    Args:
        bundles: the models.
        config: address, device, limits.
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
        ("grpc.so_reuseport", 0),  # else a second server shares the port in silence and takes half of the calls
    ]


def _bind(server: Any, config: ServeConfig) -> str:
    try:
        port = server.add_insecure_port(config.listen)
    except RuntimeError as error:
        raise ServiceError(
            f"cannot listen on {config.listen} ({error}); is the port taken? choose another with --listen host:port"
        ) from error
    return f"{config.host}:{port}"


def _add_health_service(server: Any) -> Any:
    if find_spec("grpc_health") is None:
        return None
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    # watchers must not occupy the threads that the steps need
    servicer = health.HealthServicer(experimental_non_blocking=True)
    for name in ("", SERVICE_NAME):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer
