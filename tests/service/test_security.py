"""Who may call, and what of a stranger's messages: refused, told without secrets, and the others go on."""

import logging
import shutil
import socket
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import AccessError, ConfigError, NotServedError, OpenConflictError, ServiceError
from surrogate_fmu.service import handlers, tls
from surrogate_fmu.service.access import Access, TokenFile, check_transport
from surrogate_fmu.service.client import connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.status import ERROR_KEY
from surrogate_fmu.service.tls import channel_credentials, server_credentials
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from tests.service.wire import MODEL, refusal, step_request, stub_of

ALICE, BOB = "alice-has-this-token", "bob-has-another-token"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# who may call\nalice {ALICE}\nbob {BOB}  # and his\n")
    path.chmod(0o600)
    return path


def test_a_session_belongs_to_its_owner(toy_bundle: Bundle, token_file: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    config = ServeConfig(listen="127.0.0.1:0", token_file=token_file)
    with (
        Server([toy_bundle], config) as server,
        connect(server.address, token=ALICE, recovery_timeout_s=0.0) as alice,
        connect(server.address, token=BOB, recovery_timeout_s=0.0) as bob,
        alice.open(MODEL) as session,
    ):
        session.do_step({"power": 1.0})
        absent = "no-session-of-this-id"
        for call, make in (
            (bob.stub.DoStep, lambda i: step_request(i, 2)),
            (bob.stub.Snapshot, lambda i: pb.SnapshotRequest(session_id=i)),
            (bob.stub.GetSession, lambda i: pb.GetSessionRequest(session_id=i)),
        ):
            messages = []
            for session_id in (session.session_id, absent):
                with pytest.raises(grpc.RpcError) as caught:
                    call(make(session_id), metadata=bob.metadata)
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND
                messages.append(caught.value.details().replace(session_id[:6], "?"))
            assert messages[0] == messages[1], "another's session cannot be told from none"
        bob.stub.Close(pb.CloseRequest(session_id=session.session_id), metadata=bob.metadata)
        assert session.do_step() and session.step_index == 2, "closing another's session does nothing"
        stolen = alice.stub.Snapshot(pb.SnapshotRequest(session_id=session.session_id), metadata=alice.metadata).snapshot
        with pytest.raises(NotServedError, match="belongs to another owner"):
            bob.call(bob.stub.Restore, pb.RestoreRequest(snapshot=stolen))
        for token in (None, "a token that nobody has"):
            with pytest.raises(AccessError, match=r"asks for a token|does not know the token"):
                connect(server.address, token=token)
        with stub_of(server.address) as stub:
            assert refusal(stub.ListModels, pb.ListModelsRequest())[:2] == (grpc.StatusCode.UNAUTHENTICATED, "AccessError")
    for secret in (ALICE, BOB, "a token that nobody has", session.session_id or "-" * 32):
        assert secret not in caplog.text


@pytest.mark.parametrize("store", ["none", "sqlite"])
def test_an_id_that_is_taken_does_not_take_the_session(toy_bundle: Bundle, token_file: Path, tmp_path: Path, store: str):
    url = "none" if store == "none" else f"sqlite:///{tmp_path}/sessions.db"
    config = ServeConfig(listen="127.0.0.1:0", token_file=token_file, store=url)
    with (
        Server([toy_bundle], config) as server,
        connect(server.address, token=ALICE) as alice,
        connect(server.address, token=BOB) as bob,
        alice.open(MODEL, seed=3) as session,
        bob.open(MODEL, seed=3) as own,
    ):
        session.do_step({"power": 1.0})
        snapshot = bob.stub.Snapshot(pb.SnapshotRequest(session_id=own.session_id), metadata=bob.metadata).snapshot
        for call, request in (
            (bob.stub.Open, pb.OpenRequest(session_id=session.session_id, model_name=MODEL, seed=3)),
            (bob.stub.Restore, pb.RestoreRequest(snapshot=snapshot, new_session_id=session.session_id)),
        ):
            with pytest.raises(OpenConflictError, match="is taken; choose another one"):
                bob.call(call, request)
            if store == "sqlite":
                server.table.drop(session.session_id)  # from then on it is in the store alone
        assert session.do_step() and session.step_index == 2


def test_the_token_file(token_file: Path, caplog: pytest.LogCaptureFixture):
    tokens = TokenFile.read(token_file)
    assert tokens.owner_of(f"Bearer {ALICE}") == "alice" and tokens.owner_of(f"bearer {BOB}") == "bob"
    token_file.write_text("carol carol-has-a-token-now\n")
    assert tokens.owner_of("Bearer carol-has-a-token-now") == "carol"
    with pytest.raises(AccessError):
        tokens.owner_of(f"Bearer {ALICE}")
    token_file.write_text("carol short\n")
    assert tokens.owner_of("Bearer carol-has-a-token-now") == "carol", "a broken file leaves the tokens of before"
    assert "line 1: expected `owner token`" in caplog.text and "short" not in caplog.text.replace("shorten", "")
    token_file.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others; run: chmod 600"):
        TokenFile.read(token_file)
    for text, sentence in (("", "holds no token"), (f"a {ALICE}\nb {ALICE}\n", "line 2: the token is there already")):
        token_file.write_text(text)
        token_file.chmod(0o600)
        with pytest.raises(ConfigError, match=sentence):
            TokenFile.read(token_file)


def test_tokens_do_not_cross_a_network_in_clear_text(token_file: Path, toy_bundle: Bundle):
    with pytest.raises(ConfigError, match="in clear text; give --tls-cert"):
        Server([toy_bundle], ServeConfig(listen="0.0.0.0:0", token_file=token_file))
    with pytest.raises(ConfigError, match="in clear text"):
        connect("plant.example:50051", token=ALICE)
    check_transport("10.0.0.1", encrypted=True, tokens=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "unix"])
def test_loopback_needs_no_encryption(host: str):
    check_transport(host, encrypted=False, tokens=True)


@pytest.mark.parametrize("host", ["127.example.com", "localhost.example.com", "127.0.0.1.example.com", "0.0.0.0", "[::]", ""])
def test_what_only_looks_like_loopback_does(host: str):
    with pytest.raises(ConfigError, match="in clear text"):
        check_transport(host, encrypted=False, tokens=True)


def test_a_stranger_is_refused_before_his_message_is_read(toy_bundle: Bundle, token_file: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []
    reader = handlers._reader

    def spying(message: type[Message]) -> Callable[[bytes], object]:
        return lambda data: (read.append(len(data)), reader(message)(data))[1]

    monkeypatch.setattr(handlers, "_reader", spying)
    stranger = [("authorization", "Bearer of-nothing-that-is-known")]
    with (
        Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", token_file=token_file)) as server,
        grpc.insecure_channel(server.address, options=[("grpc.max_send_message_length", -1)]) as channel,
        connect(server.address, token=ALICE) as alice,
    ):
        known, large = list(read), bytes(20_000_000)
        calls = [channel.unary_unary(f"/{handlers.SERVICE_NAME}/{name}") for name in ("ListModels", "Open", "DoStep", "DoSteps")]
        calls += [channel.unary_stream(f"/{handlers.SERVICE_NAME}/Rollout")]
        for call in calls:
            for metadata in (None, stranger, [*stranger, *stranger], [("authorization", "Basic YWxpY2U6")]):
                with pytest.raises(grpc.RpcError) as caught:
                    list(call(large, metadata=metadata, timeout=20))
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert dict(caught.value.trailing_metadata())[ERROR_KEY] == "AccessError"
        run = channel.stream_stream(f"/{handlers.SERVICE_NAME}/Run")
        with pytest.raises(grpc.RpcError) as caught:
            list(run(iter([large]), timeout=20))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert read == known, "nothing of theirs was read"
        assert alice.models() == (MODEL,) and len(read) == len(known) + 1


def test_a_header_that_is_no_utf8_does_not_reach_the_log(toy_bundle: Bundle, token_file: Path, caplog: pytest.LogCaptureFixture):
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", token_file=token_file)) as server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b""))
            headers = {
                b":method": b"POST",
                b":scheme": b"http",
                b":path": f"/{handlers.SERVICE_NAME}/ListModels".encode(),
                b":authority": b"localhost",
                b"content-type": b"application/grpc",
                b"te": b"trailers",
                b"authorization": b"Bearer " + ALICE.encode() + b"\xff",
            }
            block = b"".join(b"\0" + bytes([len(k)]) + k + bytes([len(v)]) + v for k, v in headers.items())
            connection.sendall(_frame(1, 4, 1, block) + _frame(0, 1, 1, bytes(5)))
            connection.settimeout(20)
            answer = b""
            while b"AccessError" not in answer:
                answer += connection.recv(4096)
    assert "a caller sent a header that is no UTF-8" in caplog.text
    assert ALICE not in caplog.text and "Traceback" not in caplog.text


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Shown:
    """A call's context with the names in the certificate that its caller showed."""

    def __init__(self, **names: list[bytes]) -> None:
        self._names = names

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._names


def test_the_name_in_a_certificate():
    access = Access(None, mutual_tls=True)
    uri = b"spiffe://plant.example/simulator"
    assert access.owner(Shown(x509_common_name=[b"alice"], x509_subject_alternative_name=[uri])) == "alice"
    for names in ({}, {"x509_common_name": [b""]}):
        assert access.owner(Shown(x509_subject_alternative_name=[uri, b"localhost"], **names)) == uri.decode()
    for name, sentence in ((b"", "has no name"), (b"a" * 256, "has 256 bytes; give it one of 255"), (b"\xff", "is no UTF-8")):
        with pytest.raises(AccessError, match=sentence):
            access.owner(Shown(x509_common_name=[name]))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    """Makes a certificate and its key, signed by another one or by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificates, is not on this machine")
    folder = tmp_path_factory.mktemp("certificates")

    def make(name: str, signer: tuple[Path, Path] | None = None, days: int = 30) -> tuple[Path, Path]:
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-keyout", str(key), "-out", str(cert), "-days", str(days), "-subj", f"/CN={name}"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        if signer is not None:
            command += ["-CA", str(signer[0]), "-CAkey", str(signer[1]), "-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(command, check=True, capture_output=True)
        return cert, key

    return make


def test_encrypted_and_mutual(toy_bundle: Bundle, certificate: Callable[..., tuple[Path, Path]]):
    authority, stranger = certificate("authority"), certificate("stranger")
    server_pair, client_pair = certificate("server", authority), certificate("alice", authority)
    config = ServeConfig(
        listen="localhost:0", tls_cert=server_pair[0], tls_key=server_pair[1], client_ca=authority[0], key_file=None
    )
    with Server([toy_bundle], config) as server:
        root = authority[0]
        with connect(server.address, root_ca=root, cert=client_pair[0], key=client_pair[1]) as service, service.open(MODEL) as mine:
            mine.do_step()
            assert next(iter(server.table)).terms.owner == "alice"
        for options in (
            {},  # in clear text
            {"root_ca": root},  # no certificate
            {"root_ca": root, "cert": stranger[0], "key": stranger[1]},  # one of another authority
            {"root_ca": stranger[0], "cert": client_pair[0], "key": client_pair[1]},  # the server is not known
        ):
            with pytest.raises(ServiceError):
                connect(server.address, timeout_s=1.0, **options)


def test_certificates_that_cannot_be_used(toy_bundle: Bundle, certificate: Callable[..., tuple[Path, Path]], tmp_path: Path):
    good, other = certificate("good"), certificate("other")
    for cert, key, sentence in (
        (good[0], other[1], "does not belong to the certificate"),
        (tmp_path / "none.pem", good[1], "cannot be read"),
        (good[1], good[1], "holds no certificate"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", tls_cert=cert, tls_key=key))


def test_certificates_that_do_not_hold_now(toy_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate):
    cert, key = certificate("timely", days=30)
    now = time.time()
    for moved_s, sentence in ((-86400.0, "does not hold before .* clock"), (31 * 86400.0, "expired on")):
        monkeypatch.setattr(tls.time, "time", lambda moved_s=moved_s: now + moved_s)
        with pytest.raises(ConfigError, match=sentence):
            server_credentials(cert, key)
        with pytest.raises(ConfigError, match=f"no certificate in .* holds now: the first one {sentence.split(' .*')[0]}"):
            channel_credentials(root_ca=cert)
    monkeypatch.undo()
    # of several authorities one that holds is enough
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + certificate("other")[0].read_bytes())
    channel_credentials(root_ca=both)


def test_messages_that_are_too_large(toy_bundle: Bundle):
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", message_limit_bytes=100_000)) as server:
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(server.address, options=options) as channel, connect(server.address) as service:
            call = channel.unary_unary("/surrogate_fmu.v1.Surrogate/DoStep")
            bomb = bytes(50_000_000)
            assert len(zlib.compress(bomb)) < 100_000
            for compression in (None, grpc.Compression.Gzip):  # the second one is small on the wire
                with pytest.raises(grpc.RpcError) as caught:
                    call(bomb, compression=compression, timeout=20)
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            with pytest.raises(grpc.RpcError):
                call(b"", metadata=[("x", "y" * 1_000_000)], timeout=20)
            with service.open(MODEL) as session:
                session.do_step()


def test_silent_connections_starve_nobody(server: Server):
    host, _, port = server.address.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(200)]
    try:
        for connection in silent[::2]:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with connect(server.address) as service, service.open(MODEL) as session:
            for _ in range(20):
                session.do_step()
    finally:
        for connection in silent:
            connection.close()


def test_a_slow_reader_of_a_rollout_holds_up_nobody(toy_bundle: Bundle):
    config = ServeConfig(listen="127.0.0.1:0", write_timeout_s=0.5)
    with Server([toy_bundle], config) as server, connect(server.address) as service:
        request = pb.RolloutRequest(model_name=MODEL, seeds=list(range(100)), step_count=20_000)
        stream = service.stub.Rollout(request)
        next(iter(stream))  # and then nothing is read
        with service.open(MODEL) as session:
            for _ in range(50):
                session.do_step()
        result = service.rollout(MODEL, 10, seeds=2)
        assert np.isfinite(result.outputs["temperature"]).all()
        stream.cancel()


def test_an_expired_certificate_is_named_with_its_date(
    certificate: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
):
    cert, key = certificate("short")
    monkeypatch.setattr("surrogate_fmu.service.tls.time.time", lambda: 4e9)  # the year 2096
    with pytest.raises(ConfigError, match=r"short\.pem expired on .* GMT; renew it"):
        server_credentials(cert, key)
