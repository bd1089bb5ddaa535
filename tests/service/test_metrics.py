"""What a service tells of itself: metrics, the live page, `top`, log lines, the caller's trace."""

import json
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import grpc
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.cli import main as command_line
from surrogate_fmu.cli.top import table
from surrogate_fmu.errors import InputError, ServiceError
from surrogate_fmu.service import servicer
from surrogate_fmu.service.client import connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.log import JsonFormatter, TextFormatter
from surrogate_fmu.service.opening import Opening
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.trace import trace_id, traced
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from tests.service.wire import MODEL, step_request, stub_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def server(toy_bundle: Bundle) -> Iterator[Server]:
    config = ServeConfig(listen="127.0.0.1:0", metrics="127.0.0.1:0", idle_timeout_s=0.2)
    with Server([toy_bundle], config) as running:
        yield running


def scrape(server: Server) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def test_what_is_counted(server: Server):
    label = f'{{model="{MODEL}"}}'
    with connect(server.address) as service:
        session = service.open(MODEL)
        for _ in range(5):
            session.do_step()
        service.stub.DoStep(step_request(session.session_id, 5, None))
        with pytest.raises(InputError):
            service.call(service.stub.DoStep, step_request(session.session_id, 6, 1e9))
        service.rollout(MODEL, 10, seeds=3)
        deadline = time.monotonic() + 10.0
        while len(server.table) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # until the sweep has counted what is left
        seen = scrape(server)
    assert seen[f"surrogate_fmu_steps_total{label}"] == 6
    assert seen[f"surrogate_fmu_replays_total{label}"] == 1
    assert seen['surrogate_fmu_refused_total{error="InputError"}'] == 1
    assert seen[f"surrogate_fmu_step_seconds_count{label}"] == 6
    assert seen[f"surrogate_fmu_batch_rows_count{label}"] == 5
    assert seen[f"surrogate_fmu_rollout_member_steps_total{label}"] == 30
    assert seen[f"surrogate_fmu_sessions{label}"] == 0
    for event, count in (("opened", 1), ("evicted", 1)):
        assert seen[f'surrogate_fmu_session_events_total{{event="{event}",model="{MODEL}"}}'] == count


def test_the_page_and_nothing_else(server: Server):
    base = f"http://{server.metrics_address}"
    with urllib.request.urlopen(f"{base}/", timeout=5) as reply:
        page = reply.read().decode()
    assert reply.headers["Content-Type"].startswith("text/html")
    assert "<table" in page and "http" not in page.replace('fetch("/metrics")', ""), "the page needs nothing from elsewhere"
    for request in (f"{base}/etc/passwd", urllib.request.Request(f"{base}/metrics", data=b"x", method="POST")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=5)
        assert caught.value.code in (404, 501)
        caught.value.close()


def test_a_taken_address_of_the_metrics(server: Server, toy_bundle: Bundle):
    with pytest.raises(ServiceError, match="for metrics"):
        Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", metrics=server.metrics_address))


def test_top(server: Server, capsys: pytest.CaptureFixture):
    with connect(server.address) as service, service.open(MODEL, time_to_live_s=60.0) as session:
        session.do_step()
        arguments = ["top", f"http://{server.metrics_address}", "--once", "--interval-s", "0.3"]
        assert command_line.main(arguments) == 0
    head, line, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["model", "sessions", "steps"]
    assert line.split()[0] == MODEL and line.split()[2] == "1"


@pytest.mark.parametrize(
    ("url", "code", "sentence"), [("nowhere", 2, "is no address of metrics"), ("http://127.0.0.1:1", 10, "is `surrogate-fmu serve")]
)
def test_top_of_nothing(url: str, code: int, sentence: str, capsys: pytest.CaptureFixture):
    assert command_line.main(["top", url, "--once"]) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://", "http://host:port", "http://[::1", "ftp://h:1", " http://h:1", "http://h:99999"])
def test_urls_that_are_no_address(url: str, capsys: pytest.CaptureFixture):
    assert command_line.main(["top", url, "--once"]) == 2
    assert "is no address of metrics" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 900\r\n\r\nsurrogate_fmu_steps", "no metrics at"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "no metrics at"),
        (b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe", "no metrics at"),
        (b"HTTP/1.0 200 OK\r\n\r\nsurrogate_fmu_steps_total many\n", "is no service of surrogate-fmu"),
        (b"", "no metrics at"),
    ],
)
def test_replies_that_are_no_metrics(reply: bytes, sentence: str, capsys: pytest.CaptureFixture):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        assert command_line.main(["top", f"http://127.0.0.1:{listener.getsockname()[1]}", "--once"]) == 10
        thread.join()
    assert sentence in capsys.readouterr().err


def test_rates_after_a_restart_are_not_negative():
    before = {("steps_total", MODEL, ""): 1000.0, ("sessions", MODEL, ""): 1.0}
    after = {("steps_total", MODEL, ""): 50.0, ("sessions", MODEL, ""): 1.0}
    assert table(after, before, 2.0)[1].split()[:4] == [MODEL, "1", "50", "25"]


def test_callers_who_say_nothing_neither_hold_threads_for_ever_nor_the_server_up(toy_bundle: Bundle):
    def threads() -> int:
        return sum("process_request_thread" in thread.name for thread in threading.enumerate())

    before = threads()
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", metrics="127.0.0.1:0")) as server:
        host, _, port = server.metrics_address.rpartition(":")
        silent, seen = [], []
        for place in range(90):
            silent.append(socket.create_connection((host, int(port))))
            if place % 2:
                silent[-1].sendall(b"GET /metr")  # and no more
            seen.append(threads())
        with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=5) as reply:
            assert b"surrogate_fmu" in reply.read()
        assert max(seen) - before <= 32 and threads() - before <= 32
    assert threads() == before
    for connection in silent:
        connection.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_metrics_on_ipv6(toy_bundle: Bundle):
    config = ServeConfig(listen="127.0.0.1:0", metrics="[::1]:0")
    with (
        Server([toy_bundle], config) as server,
        urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=5) as reply,
    ):
        assert reply.status == 200


def test_a_fault_is_logged_in_the_callers_trace(server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    seen: list[tuple[str, str]] = []
    original = servicer._log.error

    def note(text: str, call: str, **more: object) -> None:
        seen.append((call, trace_id()))
        original(text, call, **more)

    monkeypatch.setattr(servicer._log, "error", note)
    monkeypatch.setattr(Opening, "token", lambda *_: 1 / 0)
    monkeypatch.setattr(type(server.servicer._rollouts), "run", lambda *_: 1 / 0)
    with stub_of(server.address) as stub:
        metadata = [("traceparent", PARENT)]
        for call in (
            lambda: stub.Open(pb.OpenRequest(model_name=MODEL), metadata=metadata),
            lambda: list(stub.Rollout(pb.RolloutRequest(model_name=MODEL), metadata=metadata)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert seen == [("Open", TRACE), ("Rollout", TRACE)]


def test_steps_of_a_stream_belong_to_its_trace(server: Server, monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []
    original = type(server.servicer)._step

    async def step(self, session, request):
        seen.append(trace_id())
        return await original(self, session, request)

    monkeypatch.setattr(type(server.servicer), "_step", step)
    with stub_of(server.address) as stub:
        session_id = stub.Open(pb.OpenRequest(model_name=MODEL)).session_id
        for metadata in ([("traceparent", PARENT)], None):
            number = len(seen) + 1
            list(stub.Run(iter([step_request(session_id, number)]), metadata=metadata))
    assert seen == [TRACE, ""]


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("surrogate_fmu.service", logging.WARNING, "", 0, message, None, None)
    made.__dict__.update(fields)
    return made


def test_log_lines():
    with traced("DoStep", [("traceparent", PARENT)]):
        entry = json.loads(JsonFormatter().format(record("evicted", session="abcdef...", step=7)))
        text = TextFormatter().format(record("evicted", session="abcdef...", step=7))
    assert {"level": "warning", "event": "evicted", "session": "abcdef...", "step": 7, "trace_id": TRACE}.items() <= entry.items()
    assert text.endswith(f"WARNING evicted session=abcdef... step=7 trace_id={TRACE}")
    assert "trace_id" not in json.loads(JsonFormatter().format(record("later")))


@pytest.mark.parametrize(
    "header", ["", "00", "ff" + PARENT[2:], PARENT.upper(), PARENT.replace(TRACE, "0" * 32), PARENT + "x", None]
)
def test_a_trace_that_is_not_well_formed_is_ignored(header: str | None):
    with traced("DoStep", [("traceparent", header)] if header is not None else None):
        assert trace_id() == ""


def test_the_callers_trace_reaches_the_log(server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    seen: list[str] = []
    monkeypatch.setattr(Opening, "token", lambda *_: seen.append(trace_id()) or b"")
    with connect(server.address) as service:
        session = service.open(MODEL)
        request = pb.SnapshotRequest(session_id=session.session_id)
        service.stub.Snapshot(request, metadata=[("traceparent", PARENT)])
        service.stub.Snapshot(request)
    assert seen[-2:] == [TRACE, ""]


def test_a_span_joins_the_callers_trace(server: Server):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    with connect(server.address) as service:
        session = service.open(MODEL)
        service.stub.DoStep(step_request(session.session_id, 1), metadata=[("traceparent", PARENT)])
        service.stub.DoStep(step_request(session.session_id, 2))
    (span,) = exporter.get_finished_spans()
    assert span.name == "DoStep" and span.kind is trace.SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" == TRACE and span.parent is not None
