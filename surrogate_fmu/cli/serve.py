"""`surrogate-fmu serve`: bundles as a gRPC service."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.service.config import ServeConfig

if TYPE_CHECKING:
    from surrogate_fmu.service.server import Server

HELP = "serve bundles over gRPC"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    default = ServeConfig()
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE", help="a bundle; their models' names differ")
    parser.add_argument(
        "--listen",
        default=default.listen,
        metavar="HOST:PORT",
        help="port 0 takes a free one; neither encrypted nor authenticated, so keep it private (default: %(default)s)",
    )
    parser.add_argument("--device", default=default.device, help="cpu, cuda, cuda:1 (default: %(default)s)")
    parser.add_argument(
        "--session-limit", type=int, default=default.session_limit, metavar="COUNT", help="sessions at once (default: %(default)s)"
    )
    parser.add_argument(
        "--idle-timeout-s",
        type=float,
        default=default.idle_timeout_s,
        metavar="SECONDS",
        help="drop a session that nobody called for so long (default: %(default)g)",
    )
    parser.add_argument(
        "--threads", type=int, default=default.thread_count, metavar="COUNT", help="calls at once (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then return 0.

    Raises:
        ConfigError: an argument cannot be used, two models have one name, or grpcio is not installed.
        BundleError, DeviceError: a model cannot be loaded.
        ServiceError: the address cannot be listened on.
    """
    try:
        config = ServeConfig(
            listen=arguments.listen,
            device=arguments.device,
            session_limit=arguments.session_limit,
            idle_timeout_s=arguments.idle_timeout_s,
            thread_count=arguments.threads,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if find_spec("grpc") is None:
        raise ConfigError("serve needs grpcio, which is not installed; run: pip install 'surrogate-fmu[serve]'")
    from surrogate_fmu.bundle.archive import read_bundle
    from surrogate_fmu.service.server import serve

    serve([read_bundle(path) for path in arguments.bundles], config, _announce)
    return 0


def _announce(server: "Server") -> None:
    print(f"serving {', '.join(server.model_names)} on {server.address} (stop with Ctrl-C)", flush=True)
