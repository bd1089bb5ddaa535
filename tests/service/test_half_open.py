"""Connections whose other end has gone without a word."""

import select
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.client import connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import Server
from surrogate_fmu.service.v1 import surrogate_pb2 as pb
from surrogate_fmu.service.v1.surrogate_pb2_grpc import SurrogateStub
from tests.service.wire import MODEL

KEEPALIVE_S = 1.0
PATIENCE_S = 60.0


class Cable:
    """Passes bytes between callers and a server until it is cut: then what was connected hears nothing more, of no end.

    Attributes:
        address: where callers connect to.
        ended: connections that the server gave up after the cut.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._peer: dict[socket.socket, socket.socket] = {}
        self._deaf: set[socket.socket] = set()
        self._upstream: set[socket.socket] = set()
        self._stopped = False
        self.ended = 0
        self._thread = threading.Thread(target=self._pass, daemon=True)
        self._thread.start()

    def cut(self) -> int:
        """Cut what is connected now; new connections pass. How many there were."""
        self._deaf |= self._upstream
        return len(self._upstream)

    def close(self) -> None:
        """Close everything."""
        self._stopped = True
        self._thread.join()
        for connection in (self._listener, *self._peer):
            connection.close()

    def _pass(self) -> None:
        while not self._stopped:
            silent = {self._peer[connection] for connection in self._deaf}
            ready, _, _ = select.select([self._listener, *(self._peer.keys() - silent)], [], [], 0.02)
            for connection in ready:
                if connection is self._listener:
                    caller, server = connection.accept()[0], socket.create_connection(self._target)
                    self._peer |= {caller: server, server: caller}
                    self._upstream.add(server)
                    continue
                if connection not in self._peer:
                    continue
                try:
                    data = connection.recv(65536)
                    if data and connection not in self._deaf:
                        self._peer[connection].sendall(data)
                except OSError:
                    data = b""
                if not data:
                    self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        self.ended += connection in self._deaf
        other = self._peer.pop(connection)
        self._peer.pop(other, None)
        self._deaf -= {connection, other}
        self._upstream -= {connection, other}
        connection.close()
        other.close()


@pytest.fixture
def cable(toy_bundle: Bundle) -> Iterator[Cable]:
    with Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", keepalive_s=KEEPALIVE_S)) as server:
        cable = Cable(server.address)
        yield cable
        cable.close()


@pytest.mark.parametrize("streaming", [False, True])
def test_a_caller_behind_a_cut_cable_goes_on(cable: Cable, toy_bundle: Bundle, streaming: bool):
    undisturbed = Session(toy_bundle, seed=5)
    undisturbed.initialize()
    with (
        connect(cable.address, timeout_s=1.0, recovery_timeout_s=PATIENCE_S, keepalive_s=KEEPALIVE_S) as service,
        service.open(MODEL, seed=5, streaming=streaming) as session,
    ):
        for step in range(12):
            if step in (4, 8):
                assert cable.cut()
            assert session.do_step() == undisturbed.do_step()
        assert [recovery.step_number for recovery in session.recoveries] == [5, 9]


def test_the_server_gives_up_callers_that_have_gone(cable: Cable):
    channels = [grpc.insecure_channel(cable.address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(20)]
    for seed, channel in enumerate(channels):
        stub = SurrogateStub(channel)
        session_id = stub.Open(pb.OpenRequest(model_name=MODEL, seed=seed)).session_id
        replies = stub.Run(iter(threading.Event().wait, None))  # a stream whose caller says nothing
        del replies, session_id
    assert cable.cut() == 20
    end = time.monotonic() + PATIENCE_S
    while cable.ended < 20 and time.monotonic() < end:
        time.sleep(0.05)
    assert cable.ended == 20
    with connect(cable.address) as service, service.open(MODEL) as session:
        session.do_step()
    for channel in channels:
        channel.close()
