"""Certificates and keys from files, checked before they are used."""

import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc

from surrogate_fmu.errors import ConfigError


def server_credentials(cert: Path, key: Path, client_ca: Path | None = None) -> grpc.ServerCredentials:
    """The credentials of a server.

    Args:
        cert: certificate chain, PEM.
        key: its key, PEM.
        client_ca: certificates that sign those of the callers, PEM: who shows none that they signed is refused.

    Raises:
        ConfigError: a file cannot be read, the key does not belong to the certificate, or the certificate does not hold now.
    """
    _check_pair(cert, key)
    pair = [(_read(key), _read(cert))]
    authorities = None if client_ca is None else _read_certificates(client_ca)
    return grpc.ssl_server_credentials(pair, authorities, require_client_auth=client_ca is not None)


def channel_credentials(root_ca: Path | None = None, cert: Path | None = None, key: Path | None = None) -> grpc.ChannelCredentials:
    """The credentials of a caller.

    Args:
        root_ca: certificates that sign the server's, PEM; None takes those that gRPC brings.
        cert, key: of the caller itself, PEM, where the server asks for them.

    Raises:
        ConfigError: as `server_credentials`, or only one of cert and key is given.
    """
    if (cert is None) != (key is None):
        raise ConfigError("a certificate and its key belong together; give both cert and key, or none")
    if cert is not None and key is not None:
        _check_pair(cert, key)
    return grpc.ssl_channel_credentials(
        None if root_ca is None else _read_certificates(root_ca),
        None if key is None else _read(key),
        None if cert is None else _read(cert),
    )


def _check_pair(cert: Path, key: Path) -> None:
    _read(key)
    for place, certificate in enumerate(_certificates(cert)):
        problem = _out_of_time(certificate)
        if problem:
            raise ConfigError(f"the certificate {place + 1} in {cert} {problem}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, lambda: "")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(
            f"the key {key} does not belong to the certificate {cert}, or is no key without a password ({error})"
        ) from error


def _read_certificates(path: Path) -> bytes:
    problems = [_out_of_time(certificate) for certificate in _certificates(path)]
    if all(problems):
        raise ConfigError(f"no certificate in {path} holds now: the first one {problems[0]}")
    return _read(path)


def _out_of_time(certificate: dict[str, Any]) -> str:
    begin, end, now = str(certificate["notBefore"]), str(certificate["notAfter"]), time.time()
    if ssl.cert_time_to_seconds(end) < now:
        return f"expired on {end}; renew it"
    if ssl.cert_time_to_seconds(begin) > now:
        return f"does not hold before {begin}; is the clock of this machine right?"
    return ""


def _certificates(path: Path) -> list[dict[str, Any]]:
    """What each certificate of a file says."""
    blocks = [
        part + "-----END CERTIFICATE-----\n"
        for part in _read(path).decode(errors="replace").split("-----END CERTIFICATE-----")[:-1]
    ]
    decoded = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "certificate.pem"
        for block in blocks:
            file.write_text(block[block.find("-----BEGIN CERTIFICATE-----") :])
            try:
                # the only reader of a certificate's dates in the standard library
                decoded.append(ssl._ssl._test_decode_cert(str(file)))  # type: ignore[attr-defined]
            except ssl.SSLError as error:
                raise ConfigError(f"{path} holds a certificate that cannot be read ({error})") from error
    if not decoded:
        raise ConfigError(f"{path} holds no certificate in PEM form")
    return decoded


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the file {path} cannot be read ({error})") from error
