"""A Ray cluster for as long as it is needed: one of this machine's own, or a running one."""

import importlib
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from surrogate_fmu.errors import ConfigError, ServiceError, SurrogateError

LOCAL = "local"
_CONNECT_TIMEOUT_S = 10.0


@contextmanager
def ray_cluster(worker_count: int | None = None, address: str = LOCAL) -> Iterator[Any]:
    """The module `ray`, connected.

    Args:
        worker_count: processors of a cluster that is started; None takes all.
        address: "local" starts a cluster on this machine that ends with the context; "auto" or host:port joins a running one, whose
            workers need this package. A cluster that the process has joined already is used as it is.

    Raises:
        ConfigError: ray is not installed.
        ServiceError: the cluster cannot be reached, or lost a task too often.
        SurrogateError: what a task raised, with the class that it had.
    """
    if find_spec("ray") is None:
        raise ConfigError("Ray is asked for, which is not installed; run: pip install 'surrogate-fmu[ray]'")
    ray: Any = importlib.import_module("ray")
    failures: Any = importlib.import_module("ray.exceptions")
    joined = ray.is_initialized()
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        if not joined:
            _check_reachable(address)
            ray.init(
                address,
                num_cpus=worker_count if address == LOCAL else None,
                include_dashboard=False if address == LOCAL else None,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        yield ray
    except SurrogateError:
        raise
    except (failures.RayError, OSError, ValueError, RuntimeError) as error:
        raise ServiceError(
            f"the Ray cluster {address!r} failed ({type(error).__name__}: {error}); see `ray status`, and that its workers have "
            "this version of surrogate-fmu"
        ) from error
    finally:
        if not joined:
            ray.shutdown()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminate)  # Ray puts a handler of its own there and leaves it


def _check_reachable(address: str) -> None:
    """Fail at once where nobody listens; Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
