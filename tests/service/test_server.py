"""The server: models, address, health; what the client needs to import."""

import subprocess
import sys
import time

import grpc
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import ConfigError, DeviceError, ServiceError
from surrogate_fmu.schema import SchemaError, decode
from surrogate_fmu.service.client import Service, connect
from surrogate_fmu.service.config import ServeConfig
from surrogate_fmu.service.server import SERVICE_NAME, Server

FREE_PORT = ServeConfig(listen="127.0.0.1:0")


def test_models_and_manifests(service: Service, toy_bundle: Bundle, field_bundle: Bundle):
    assert service.models() == ("field", "thermal_mass")
    assert service.manifest("thermal_mass") == toy_bundle.manifest
    assert service.manifest("field") == field_bundle.manifest


def test_two_models_of_one_name(toy_bundle: Bundle):
    with pytest.raises(ConfigError, match="two bundles are called 'thermal_mass'"):
        Server([toy_bundle, toy_bundle], FREE_PORT)
    with pytest.raises(ConfigError, match="no bundle"):
        Server([], FREE_PORT)


def test_unknown_device(toy_bundle: Bundle):
    with pytest.raises(DeviceError, match="'abacus' is not a device name"):
        Server([toy_bundle], ServeConfig(listen="127.0.0.1:0", device="abacus"))


def test_a_taken_port(server: Server, toy_bundle: Bundle):
    with pytest.raises(ServiceError, match=f"cannot listen on {server.address}.*choose another"):
        Server([toy_bundle], ServeConfig(listen=server.address))


def test_the_port_is_free_after_stop(toy_bundle: Bundle):
    with Server([toy_bundle], FREE_PORT) as first:
        address = first.address
    with Server([toy_bundle], ServeConfig(listen=address)) as second, connect(address) as service:
        assert second.address == address
        assert service.models() == ("thermal_mass",)


def test_an_idle_session_is_evicted_and_comes_back(toy_bundle: Bundle):
    config = ServeConfig(listen="127.0.0.1:0", idle_timeout_s=0.2)
    with Server([toy_bundle], config) as server, connect(server.address) as service:
        remote, twin = service.open("thermal_mass", 3), service.open("thermal_mass", 3, time_to_live_s=60.0)
        for session in (remote, twin):
            for _ in range(13):
                session.do_step({"power": 3.0})
        deadline = time.monotonic() + 10.0
        while len(server.table) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(server.table) == 1
        assert remote.do_step() == twin.do_step()
    (recovery,) = remote.recoveries
    assert "was evicted, for nobody called it for 0.2 s" in recovery.cause
    assert (recovery.step_number, recovery.replayed_steps) == (14, 3)
    assert not twin.recoveries


def test_health_service(server: Server):
    health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
    from grpc_health.v1 import health_pb2_grpc

    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE_NAME):
            assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
    assert SERVICE_NAME == "surrogate_fmu.v1.Surrogate"


@pytest.mark.parametrize(
    "data",
    [
        {"listen": "50051"},
        {"listen": "localhost:http"},
        {"listen": "localhost:70000"},
        {"session_limit": 0},
        {"token_interval": 0},
        {"idle_timeout_s": 0.0},
        {"stop_grace_s": -1.0},
        {"message_limit_bytes": 0},
        {"keepalive_s": 0.0},
        {"port": 1},
    ],
)
def test_settings_that_cannot_be_used(data: dict):
    with pytest.raises(SchemaError, match=next(iter(data))):
        decode(ServeConfig, data)


def test_settings_from_a_table():
    config = decode(ServeConfig, {"listen": "0.0.0.0:9000", "idle_timeout_s": 60})
    assert (config.host, config.idle_timeout_s, config.device) == ("0.0.0.0", 60.0, "cpu")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("surrogate_fmu.service.client", ("torch", "surrogate_fmu.training", "surrogate_fmu.fmu")),
        ("surrogate_fmu.service.config", ("torch", "grpc", "google.protobuf")),
        ("surrogate_fmu.cli.serve", ("torch", "grpc", "google.protobuf")),
        ("surrogate_fmu.service.server", ("surrogate_fmu.training", "surrogate_fmu.fmu")),
    ],
)
def test_what_an_import_pulls_in(module: str, absent: tuple[str, ...]):
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
