"""`surrogate-fmu serve`: bundles as a gRPC service."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.service.config import ServeConfig

if TYPE_CHECKING:
    from surrogate_fmu.service.server import Server

HELP = "serve bundles over gRPC"

_DEFAULT = ServeConfig()
# option, setting of ServeConfig, type, what stands for its value, help
_OPTIONS: tuple[tuple[str, str, type, str, str], ...] = (
    ("--listen", "listen", str, "HOST:PORT", "port 0 takes a free one; without TLS keep it private"),
    ("--device", "device", str, "DEVICE", "cpu, cuda, cuda:1"),
    ("--store", "store", str, "URL", "where sessions are kept at every step: none, sqlite:///path.db, redis://host:port/0"),
    ("--token-interval", "token_interval", int, "STEPS", "a resume token comes with every so-manieth step"),
    ("--session-limit", "session_limit", int, "COUNT", "sessions in memory at once"),
    ("--owner-session-limit", "owner_session_limit", int, "COUNT", "of those, sessions of one owner; 0 is no limit"),
    ("--idle-timeout-s", "idle_timeout_s", float, "SECONDS", "a session that nobody called for so long leaves the memory"),
    ("--in-flight-limit", "in_flight_limit", int, "COUNT", "steps that wait or run at once"),
    ("--rollout-limit", "rollout_limit", int, "COUNT", "members times steps of one rollout"),
    ("--message-limit-bytes", "message_limit_bytes", int, "BYTES", "the largest message"),
    ("--keepalive-s", "keepalive_s", float, "SECONDS", "a connection silent for so long is asked for a sign of life"),
    ("--reproducible-batch", "reproducible_batch", int, "ROWS", "rows of every batch of reproducible sessions"),
    ("--stop-grace-s", "stop_grace_s", float, "SECONDS", "time that running calls get when the service stops"),
    ("--key-file", "key_file", Path, "FILE", "secret that signs resume tokens, made if it is missing"),
    ("--token-file", "token_file", Path, "FILE", "bearer tokens of the callers, a line `owner token` each"),
    ("--tls-cert", "tls_cert", Path, "FILE", "certificate of the server, PEM"),
    ("--tls-key", "tls_key", Path, "FILE", "key of the server, PEM"),
    ("--client-ca", "client_ca", Path, "FILE", "certificates that sign those of the callers, PEM: mutual TLS"),
    ("--metrics", "metrics", str, "HOST:PORT", "Prometheus metrics and a live page over HTTP"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE", help="a bundle; their models' names differ")
    for option, setting, kind, shown, text in _OPTIONS:
        default = getattr(_DEFAULT, setting)
        ending = "" if default is None else " (default: %(default)s)"
        parser.add_argument(option, dest=setting, type=kind, default=default, metavar=shown, help=text + ending)
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="lines of the log (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then return 0.

    Raises:
        ConfigError: an argument cannot be used, two models have one name, or grpcio is not installed.
        BundleError, DeviceError: a model cannot be loaded.
        ServiceError: the address cannot be listened on.
    """
    settings: dict[str, Any] = {setting: getattr(arguments, setting) for _, setting, _, _, _ in _OPTIONS}
    try:
        config = ServeConfig(**settings)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if find_spec("grpc") is None:
        raise ConfigError("serve needs grpcio, which is not installed; run: pip install 'surrogate-fmu[serve]'")
    from dataclasses import replace

    from surrogate_fmu.bundle.archive import read_bundle
    from surrogate_fmu.service.log import set_up_log
    from surrogate_fmu.service.server import serve
    from surrogate_fmu.service.token import default_key_path

    set_up_log(arguments.log_format)
    if config.key_file is None:  # else tokens would end with this process, and with them what clients can resume
        config = replace(config, key_file=default_key_path())
    serve([read_bundle(path) for path in arguments.bundles], config, _announce)
    return 0


def _announce(server: "Server") -> None:
    metrics = "" if server.metrics_address is None else f", metrics on http://{server.metrics_address}/"
    print(f"serving {', '.join(server.model_names)} on {server.address} (stop with Ctrl-C){metrics}", flush=True)
