"""A session over the wire does what the session in the process does."""

import math
import threading

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.contract import check_session
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.service.client import Service
from surrogate_fmu.service.remote_session import RemoteSession

MODEL = "thermal_mass"


def drive(session: Session | RemoteSession, count: int = 20) -> list[dict[str, float]]:
    return [session.do_step({"power": 20.0 * math.sin(k / 3.0), "ambient_temperature": 280.0 + k}) for k in range(count)]


def test_keeps_the_contract(service: Service, toy_bundle: Bundle):
    check_session(lambda **options: service.open(MODEL, initialize=False, **options), toy_bundle.manifest)


def test_keeps_the_contract_with_arrays_and_no_memory(service: Service, field_bundle: Bundle):
    check_session(lambda **options: service.open("field", initialize=False, **options), field_bundle.manifest)


@pytest.mark.parametrize("z_mode", ["sampled", "mean", "held"])
def test_same_seed_gives_equal_bits(service: Service, toy_bundle: Bundle, z_mode: str):
    options = {"seed": 2**63 - 1, "z_mode": z_mode, "parameters": {"temperature_start": 300.5}}
    local = Session(toy_bundle, **options)
    start = local.initialize()
    with service.open(MODEL, **options) as remote:
        assert remote.outputs == start
        assert drive(remote) == drive(local)
        assert (remote.time, remote.step_index) == (local.time, local.step_index) == (40.0, 20)
        assert remote.values == local.values


def test_external_latents(service: Service, toy_bundle: Bundle):
    latents = np.random.default_rng(0).standard_normal((5, 3))
    local = Session(toy_bundle, z_mode="external")
    remote = service.open(MODEL, z_mode="external", initialize=False)
    assert remote.initialize(latents[0]) == local.initialize(latents[0])
    for z in latents:
        assert remote.do_step({"power": 1.0}, z=z) == local.do_step({"power": 1.0}, z=z)
    assert remote.do_step() == local.do_step(), "a latent that is not given again is kept"


def test_multiples_of_the_step(service: Service, toy_bundle: Bundle):
    local, remote = Session(toy_bundle, 5), service.open(MODEL, 5)
    local.initialize()
    for size in (None, 6.0, 2.0):
        assert remote.do_step(communication_step_size=size) == local.do_step(communication_step_size=size)
    assert remote.step_index == 5


def test_outside_the_domain(service: Service, toy_bundle: Bundle):
    for policy in ("warn", "clamp"):
        local, remote = Session(toy_bundle, domain_policy=policy), service.open(MODEL, domain_policy=policy)
        local.initialize()
        assert remote.do_step({"power": 80.0}) == local.do_step({"power": 80.0})
        assert not remote.in_domain
        assert remote.domain_distance == local.domain_distance == pytest.approx(0.3)
        assert remote.domain_message == local.domain_message != ""
        remote.do_step({"power": 0.0})
        assert remote.in_domain and remote.domain_message == ""


def test_arrays_keep_their_shape(service: Service, field_bundle: Bundle):
    local, remote = Session(field_bundle, 3, parameters={"gain": 1.5}), service.open("field", 3, parameters={"gain": 1.5})
    local.initialize()
    expected, outputs = local.do_step({"profile": [1.0, 2.0, 3.0]}), remote.do_step({"profile": [1.0, 2.0, 3.0]})
    assert outputs["field"].shape == (2, 3) and isinstance(outputs["total"], float)
    np.testing.assert_array_equal(outputs["field"], expected["field"])
    np.testing.assert_array_equal(remote.values["profile"], [1.0, 2.0, 3.0])


def test_outputs_belong_to_the_caller(service: Service):
    remote = service.open("field")
    remote.outputs["field"][:] = math.nan
    remote.do_step()["field"][:] = math.nan
    assert np.isfinite(remote.outputs["field"]).all()


def test_reset_is_a_fresh_session(service: Service):
    remote = service.open(MODEL, 8, parameters={"temperature_start": 310.0})
    first = drive(remote)
    remote.reset()
    assert (remote.step_index, remote.time, remote.values["temperature_start"]) == (0, 0.0, 293.15)
    remote.set_values({"temperature_start": 310.0})
    remote.initialize()
    assert drive(remote) == first


def test_snapshot_goes_into_any_session_of_the_bundle(service: Service):
    remote = service.open(MODEL, 4)
    drive(remote, 7)
    snapshot = remote.snapshot()
    rest = drive(remote)
    for session in (remote, service.open(MODEL, 99), service.open(MODEL, 99, initialize=False)):
        session.restore(snapshot)
        assert session.step_index == 7
        assert drive(session) == rest


def test_sessions_in_threads_share_nothing(service: Service, toy_bundle: Bundle):
    alone = []
    for seed in range(6):
        local = Session(toy_bundle, seed)
        local.initialize()
        alone.append(drive(local))
    together: dict[int, list[dict[str, float]]] = {}

    def work(seed: int) -> None:
        with service.open(MODEL, seed) as remote:
            together[seed] = drive(remote)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[seed] for seed in range(6)] == alone


def test_one_session_may_be_stepped_from_threads(service: Service, toy_bundle: Bundle):
    remote, local = service.open(MODEL, 1), Session(toy_bundle, 1)
    threads = [threading.Thread(target=lambda: [remote.do_step() for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    local.initialize()
    assert remote.outputs == [local.do_step() for _ in range(40)][-1]
