"""Sessions are spread over servers evenly, alike everywhere, and move only when they must."""

import subprocess
import sys
from collections import Counter

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.service.client import connect
from surrogate_fmu.service.routing import SESSION_KEY, choose_target, rank_targets, session_mark
from surrogate_fmu.service.server import Server

SERVERS = [f"surrogate-fmu-{number}.surrogate-fmu:50051" for number in range(5)]
SESSIONS = [f"session-{number:016d}" for number in range(5000)]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)


def test_the_choice_never_changes_between_versions():
    assert [choose_target(session, SERVERS)[14] for session in SESSIONS[:12]] == list("014210111443")


def test_another_process_chooses_the_same():
    code = "import sys; from surrogate_fmu.service.routing import choose_target; print(choose_target(sys.argv[1], sys.argv[2:]))"
    for session in SESSIONS[:3]:
        answer = subprocess.run([sys.executable, "-c", code, session, *SERVERS], capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == choose_target(session, SERVERS)


@given(NAMES, st.lists(NAMES, min_size=1, max_size=8), st.randoms())
def test_order_and_repetition_of_the_servers_do_not_matter(session: str, targets: list[str], random):
    mixed = targets + targets[:2]
    random.shuffle(mixed)
    assert rank_targets(session, mixed) == rank_targets(session, targets)
    assert choose_target(session, targets) in targets


@given(NAMES, st.lists(NAMES, min_size=2, max_size=8, unique=True))
def test_without_a_server_the_order_of_the_others_stays(session: str, targets: list[str]):
    ranked = rank_targets(session, targets)
    for gone in targets:
        assert rank_targets(session, [t for t in targets if t != gone]) == [t for t in ranked if t != gone]


def test_servers_get_equal_shares():
    counts = Counter(choose_target(session, SERVERS) for session in SESSIONS)
    assert all(850 < counts[server] < 1150 for server in SERVERS)  # 1000 +- 5 standard deviations (28)


def test_one_server_more_takes_its_share_and_nothing_else_moves():
    more = [*SERVERS, "surrogate-fmu-5.surrogate-fmu:50051"]
    moved = [s for s in SESSIONS if choose_target(s, more) != choose_target(s, SERVERS)]
    assert 650 < len(moved) < 1020  # 5000 / 6
    assert {choose_target(s, more) for s in moved} == {more[-1]}


def test_the_sessions_of_a_server_that_goes_spread_over_all_others():
    left = SERVERS[1:]
    counts = Counter(choose_target(s, left) for s in SESSIONS if choose_target(s, SERVERS) == SERVERS[0])
    assert set(counts) == set(left) and min(counts.values()) > 150  # of 250


def test_no_server_is_refused():
    with pytest.raises(ConfigError, match="give at least one host:port"):
        choose_target("session", [])


def test_every_call_of_a_session_brings_its_mark_and_no_header_its_id(server: Server, monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[str, dict[str, str]]] = []

    class Recording(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            seen.append((details.method.rpartition("/")[2], dict(details.metadata or ())))
            return continuation(details, request)

        intercept_stream_stream = intercept_unary_unary

    channel = grpc.insecure_channel
    monkeypatch.setattr(grpc, "insecure_channel", lambda *a, **k: grpc.intercept_channel(channel(*a, **k), Recording()))
    ids = []
    with connect(server.address) as service:
        for streaming in (False, True):
            with service.open("thermal_mass", streaming=streaming) as session:
                ids.append(session.session_id)
                session.do_step({"power": 1.0})
                session.snapshot()
    of_sessions = {(method, metadata[SESSION_KEY]) for method, metadata in seen if SESSION_KEY in metadata}
    assert of_sessions >= {(method, session_mark(ids[0])) for method in ("Open", "DoStep", "Snapshot", "Close")}
    assert of_sessions >= {(method, session_mark(ids[1])) for method in ("Open", "Run", "Close")}
    assert {method for method, metadata in seen if SESSION_KEY not in metadata} == {"ListModels", "GetModel"}
    assert not any(name in str(metadata) for name in ids for _, metadata in seen)
