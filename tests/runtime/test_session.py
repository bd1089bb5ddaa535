"""What the contract does not cover: substeps with draws, other processes, arrays, the domain's edges, and the words of refusals."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle, make_bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.errors import CallOrderError, DeviceError, DomainError, InputError, SessionError, SnapshotError, StepSizeError
from surrogate_fmu.manifest import DomainPolicy, Interval, Manifest, ZMode
from surrogate_fmu.runtime.latent import SEED_MAX, LatentStream
from surrogate_fmu.runtime.session import Session, SessionState
from surrogate_fmu.variables import Causality, Variable

INPUTS = {"power": 20.0, "ambient_temperature": 290.0}


class Field(torch.nn.Module):
    """Two arrays and a scalar in, a matrix and a scalar out; infinite once the gain is 99."""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 6), z (batch, 0) -> y (batch, 5), h (batch, 4)."""
        hidden = x[:, :4] * 0.0
        return torch.cat([hidden, x[:, 5:6]], 1), hidden

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 6), z (batch, 0), h (batch, 4) -> y (batch, 5), h (batch, 4)."""
        hidden = h + x[:, :4] / (99.0 - x[:, 4:5])
        return torch.cat([hidden, x[:, 5:6]], 1), hidden


FIELD = Manifest(
    name="field",
    variables=(
        Variable("source", Causality.INPUT, "W", start=1.0, min=-10.0, max=10.0, shape=(2, 2)),
        Variable("gain", Causality.INPUT, start=0.0),
        Variable("level", Causality.PARAMETER, "m", start=0.5),
        Variable("map", Causality.OUTPUT, shape=(2, 2)),
        Variable("echo", Causality.OUTPUT, "m"),
    ),
    step_size=1.0,
    run_latent_dim=0,
    step_latent_dim=0,
    hidden_dim=4,
    domain={name: Interval(-1e6, 1e6) for name in ("source", "gain", "level", "map", "echo")},
)


@pytest.fixture(scope="module")
def field_bundle() -> Bundle:
    return export_bundle(Field(), FIELD)


def running(bundle: Bundle, **options: Any) -> Session:
    session = Session(bundle, **options)
    session.initialize()
    return session


# -- steps and draws -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z_mode", [ZMode.SAMPLED, ZMode.HELD, ZMode.MEAN])
@pytest.mark.parametrize("count", [2, 3, 70, 130])
def test_one_long_communication_step_equals_single_steps_with_their_draws(toy_bundle: Bundle, z_mode: ZMode, count: int):
    fine, coarse = (running(toy_bundle, seed=5, z_mode=z_mode) for _ in range(2))
    for _ in range(count):
        expected = fine.do_step(INPUTS)
    assert coarse.do_step(INPUTS, communication_step_size=count * 2.0) == expected
    assert (coarse.step_index, coarse.time) == (count, 2.0 * count)
    assert coarse.do_step(INPUTS) == fine.do_step(INPUTS)


def test_steps_follow_the_module_with_the_documented_latents(toy_bundle: Bundle):
    session = running(toy_bundle, seed=11, parameters={"temperature_start": 300.0})
    stream = LatentStream(11, 1, 2)
    run = float(stream.run_latent[0])
    temperature = 300.0
    flow = np.exp(0.2 * run) * (300.0 - 293.15)
    assert session.outputs["flow"] == pytest.approx(flow, rel=1e-5)
    for noise in stream.step_latents(0, 70):
        outputs = session.do_step(INPUTS)
        flow = 0.5 * (np.exp(0.2 * run) * (temperature - 290.0) + 0.5 * float(noise[0])) + 0.5 * flow
        temperature += 0.05 * (20.0 - flow) + 0.01 * float(noise[1])
        # 70 steps of float32 about 300 K: 70 half-units of 3e-5.
        assert outputs["temperature"] == pytest.approx(temperature, abs=2e-3)
        assert outputs["flow"] == pytest.approx(flow, abs=4e-3)


def test_held_latents_are_those_of_the_first_step(toy_bundle: Bundle):
    held = running(toy_bundle, seed=3, z_mode=ZMode.HELD)
    external = Session(toy_bundle, z_mode=ZMode.EXTERNAL)
    stream = LatentStream(3, 1, 2)
    z = np.concatenate([stream.run_latent, stream.step_latents(0, 1)[0]])
    external.initialize(z=z)
    for _ in range(4):
        assert held.do_step(INPUTS) == external.do_step(INPUTS)


def test_the_largest_seed_is_taken_and_differs_from_the_smallest(toy_bundle: Bundle):
    assert running(toy_bundle, seed=SEED_MAX).do_step(INPUTS) != running(toy_bundle, seed=0).do_step(INPUTS)


@pytest.mark.parametrize("ratio", [1.0 + 1e-12, 3.0 - 1e-12])
def test_a_step_size_that_differs_by_rounding_is_taken(toy_bundle: Bundle, ratio: float):
    session = running(toy_bundle)
    session.do_step(communication_step_size=2.0 * ratio)
    assert session.step_index == round(ratio)


@pytest.mark.parametrize("size", [0.0, -2.0, 1.0, 3.0, 2.0001, float("nan"), float("inf")])
def test_a_step_size_that_does_not_fit_is_refused_with_both_sizes(toy_bundle: Bundle, size: float):
    session = running(toy_bundle)
    with pytest.raises(StepSizeError, match=rf"{size:g} s is no whole multiple of the generator's step of 2 s"):
        session.do_step(communication_step_size=size)
    assert session.step_index == 0


def test_a_step_size_that_is_no_number_is_refused(toy_bundle: Bundle):
    with pytest.raises(StepSizeError, match="'soon' is no number of seconds"):
        running(toy_bundle).do_step(communication_step_size="soon")


# -- external latents ----------------------------------------------------------------------------------------------


def test_a_given_latent_is_kept_until_the_next(toy_bundle: Bundle):
    once, always = (Session(toy_bundle, z_mode=ZMode.EXTERNAL) for _ in range(2))
    z = [0.3, -1.0, 2.0]
    once.initialize(z=z)
    always.initialize(z=z)
    for _ in range(3):
        assert once.do_step(INPUTS) == always.do_step(INPUTS, z=np.array(z))
    assert once.do_step(INPUTS, z=[0.3, 1.0, 0.0]) != always.do_step(INPUTS)


def test_the_step_part_plays_no_role_at_the_start(toy_bundle: Bundle):
    first, second = (Session(toy_bundle, z_mode=ZMode.EXTERNAL) for _ in range(2))
    assert first.initialize(z=[1.0, 0.0, 0.0]) == second.initialize(z=[1.0, 5.0, -5.0])


@pytest.mark.parametrize("z", [[0.0, 0.0], 0.0, [[0.0, 0.0, 0.0]], [0.0, 0.0, np.nan]])
def test_a_latent_that_does_not_fit_is_refused_with_the_size(toy_bundle: Bundle, z: Any):
    session = Session(toy_bundle, z_mode=ZMode.EXTERNAL)
    with pytest.raises(InputError, match="z: expected 3 finite numbers"):
        session.initialize(z=z)
    assert session.state is SessionState.INSTANTIATED


# -- snapshots -----------------------------------------------------------------------------------------------------


def test_a_snapshot_continues_with_equal_bits_in_another_process(toy_bundle: Bundle, toy_bundle_path: Path, tmp_path: Path):
    session = running(toy_bundle, seed=77, domain_policy="clamp", parameters={"temperature_start": 301.0})
    for step in range(62):
        session.do_step({"power": float(step), "ambient_temperature": 290.0})
    (tmp_path / "snapshot").write_bytes(session.snapshot())
    expected = [session.do_step(INPUTS if step % 2 else None) for step in range(6)]
    program = f"""
from surrogate_fmu import Session, read_bundle
session = Session(read_bundle({str(toy_bundle_path)!r}))
session.restore(open({str(tmp_path / "snapshot")!r}, "rb").read())
assert (session.seed, session.domain_policy, session.step_index) == (77, "clamp", 62)
for step in range(6):
    outputs = session.do_step({INPUTS!r} if step % 2 else None)
    print(*(value.hex() for value in outputs.values()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [value.hex() for outputs in expected for value in outputs.values()]


def test_a_snapshot_before_the_run_keeps_seed_and_values(toy_bundle: Bundle):
    session = Session(toy_bundle, seed=4, parameters={"temperature_start": 310.0, "power": 5.0})
    other = Session(toy_bundle)
    other.restore(session.snapshot())
    assert (other.state, other.seed, other.values) == (SessionState.INSTANTIATED, 4, session.values)
    assert other.initialize() == session.initialize()


def test_a_snapshot_of_another_bundle_is_refused_and_nothing_changes(toy_bundle: Bundle):
    renamed = make_bundle(toy_bundle.manifest.replace(description="another"), toy_bundle.payload)
    session, twin = running(toy_bundle, seed=1), running(toy_bundle, seed=1)
    with pytest.raises(
        SnapshotError, match=f"belongs to the bundle {renamed.digest[:12]}, this session runs {toy_bundle.digest[:12]}"
    ):
        session.restore(running(renamed).snapshot())
    assert session.do_step(INPUTS) == twin.do_step(INPUTS)


@pytest.mark.parametrize("place", [0, 31, 32, 100, -1])
def test_a_snapshot_with_a_changed_byte_is_refused(toy_bundle: Bundle, place: int):
    session = running(toy_bundle)
    damaged = bytearray(session.snapshot())
    damaged[place] ^= 1
    with pytest.raises(SnapshotError, match="damaged or truncated; use the bytes that snapshot"):
        session.restore(bytes(damaged))


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 500])
def test_bytes_that_are_no_snapshot_are_refused(toy_bundle: Bundle, content: bytes):
    with pytest.raises(SnapshotError, match=f"the snapshot of {len(content)} bytes is damaged"):
        Session(toy_bundle).restore(content)


# -- arrays --------------------------------------------------------------------------------------------------------


def test_array_variables_keep_their_shape_and_order(field_bundle: Bundle):
    session = Session(field_bundle)
    assert np.array_equal(session.values["source"], np.ones((2, 2)))
    assert np.array_equal(session.initialize()["map"], np.zeros((2, 2)))
    source = np.array([[1.0, 2.0], [3.0, 4.0]])
    outputs = session.do_step({"source": source, "gain": 98.0})
    assert np.array_equal(outputs["map"], source)
    assert outputs["echo"] == 0.5
    assert np.array_equal(session.do_step({"source": source.tolist()})["map"], 2 * source)


def test_values_read_are_copies(field_bundle: Bundle):
    session = running(field_bundle)
    session.outputs["map"][:] = 7.0
    session.values["source"][:] = 7.0
    assert np.array_equal(session.outputs["map"], np.zeros((2, 2)))
    assert np.array_equal(session.values["source"], np.ones((2, 2)))


def test_a_value_given_as_an_array_is_copied(field_bundle: Bundle):
    session = running(field_bundle)
    source = np.full((2, 2), 3.0)
    session.set_values({"source": source})
    source[:] = -3.0
    assert np.array_equal(session.values["source"], np.full((2, 2), 3.0))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0, 3.0, 4.0], r"'source': expected the shape \(2, 2\), got \(4,\)"),
        (1.0, r"'source': expected the shape \(2, 2\), got \(\)"),
        ([[1.0, 2.0], [3.0]], "'source': expected a number in 'W', got"),
        ([[1.0, 2.0], [3.0, np.inf]], "'source': expected finite numbers in 'W'"),
        ([[1.0, 2.0], [3.0, 11.0]], r"'source': .* is outside the allowed range \[-10, 10\] W"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(field_bundle: Bundle, value: Any, message: str):
    with pytest.raises(InputError, match=message):
        running(field_bundle).set_values({"source": value})


def test_values_that_stop_being_finite_are_refused_and_the_state_stays(field_bundle: Bundle):
    session, twin = running(field_bundle), running(field_bundle)
    with pytest.raises(SessionError, match="do_step: the generator gave values that are not finite; the state is as before"):
        session.do_step({"gain": 99.0})
    assert session.values["gain"] == 0.0
    assert np.array_equal(session.do_step()["map"], twin.do_step()["map"])


class Echo(torch.nn.Module):
    """Outputs its input, and has the last entry of the hidden state become the logarithm of it: not finite from 0 down."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 1), z (batch, 0) -> y (batch, 1), h (batch, hidden_dim)."""
        return x, x.repeat(1, self.hidden_dim)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 1), z (batch, 0), h (batch, hidden_dim) -> y (batch, 1), h (batch, hidden_dim)."""
        return x, torch.cat([h[:, 1:], torch.log(x)], 1)


@pytest.mark.parametrize("hidden_dim", [1, 5, 1000])
@pytest.mark.parametrize("value", [0.0, -1.0], ids=["infinite", "not a number"])
def test_a_hidden_state_that_is_not_finite_is_refused_though_the_outputs_are(hidden_dim: int, value: float):
    manifest = Manifest(
        name="echo",
        variables=(Variable("level", Causality.INPUT, start=1.0), Variable("echo", Causality.OUTPUT)),
        step_size=1.0,
        run_latent_dim=0,
        step_latent_dim=0,
        hidden_dim=hidden_dim,
        domain={"level": Interval(-2.0, 2.0), "echo": Interval(-2.0, 2.0)},
    )
    session = running(export_bundle(Echo(hidden_dim), manifest))
    before = session.snapshot()
    with pytest.raises(SessionError, match="the generator gave values that are not finite; the state is as before"):
        session.do_step({"level": value})
    assert session.snapshot() == before
    assert session.do_step({"level": 1.5}) == {"echo": 1.5}


def test_an_input_beyond_single_precision_is_infinite_to_the_generator_without_a_warning(field_bundle: Bundle):
    session = running(field_bundle)
    assert np.array_equal(session.do_step({"gain": 1e300})["map"], np.zeros((2, 2)))  # 1 / (99 - infinity)
    assert session.values["gain"] == 1e300


# -- the training domain -------------------------------------------------------------------------------------------


def test_distance_and_message_are_those_of_the_worst_variable(toy_bundle: Bundle):
    session = running(toy_bundle)
    session.do_step({"power": 60.0, "ambient_temperature": 330.0})
    assert not session.in_domain
    # 10 W beyond a range of 100 W; 10 K beyond a range of 50 K is worse.
    assert session.domain_distance == pytest.approx(0.2)
    assert session.domain_message == "ambient_temperature = 330 lies outside the training range [270, 320]"
    session.do_step({"power": 0.0, "ambient_temperature": 290.0})
    assert session.in_domain
    assert (session.domain_distance, session.domain_message) == (0.0, "")


def test_the_edges_of_the_domain_are_inside(toy_bundle: Bundle):
    session = running(toy_bundle, domain_policy=DomainPolicy.REFUSE)
    session.do_step({"power": -50.0, "ambient_temperature": 320.0})
    assert session.in_domain


def test_clamping_keeps_the_value_that_was_set(toy_bundle: Bundle):
    clamped = running(toy_bundle, domain_policy="clamp")
    clamped.do_step({"power": 80.0})
    assert clamped.values["power"] == 80.0
    assert clamped.domain_distance == pytest.approx(0.3)


def test_a_start_outside_the_domain_is_refused_and_can_be_repaired(toy_bundle: Bundle):
    session = Session(toy_bundle, domain_policy="refuse", parameters={"temperature_start": 330.0})
    with pytest.raises(DomainError, match=r"temperature_start = 330 lies outside the training range \[270, 320\]; stay inside, or"):
        session.initialize()
    assert session.state is SessionState.INSTANTIATED
    session.set_values({"temperature_start": 300.0})
    assert session.initialize()["temperature"] == 300.0


def test_outputs_that_leave_the_domain_are_refused_before_the_state_changes(toy_bundle: Bundle):
    narrow = toy_bundle.manifest.replace(domain={**toy_bundle.manifest.domain, "temperature": Interval(290.0, 293.3)})
    bundle = make_bundle(narrow, toy_bundle.payload)
    session, twin, warned = (
        running(bundle, domain_policy=policy, z_mode="mean") for policy in ("refuse", "refuse", DomainPolicy.WARN)
    )
    with pytest.raises(DomainError, match=r"the step would end where temperature = 295\.65 lies outside .*\[290, 293.3\]"):
        session.do_step({"power": 50.0})
    assert (session.step_index, session.values["power"]) == (0, 0.0)
    assert session.do_step({"power": 1.0}) == twin.do_step({"power": 1.0})
    warned.do_step({"power": 50.0})
    assert warned.domain_message.startswith("temperature = 295.65 lies outside")


# -- order and words -----------------------------------------------------------------------------------------------


def test_a_closed_session_refuses_all_but_closing_and_says_what_to_do(toy_bundle: Bundle):
    session = running(toy_bundle)
    snapshot = session.snapshot()
    with session:
        pass
    assert session.state is SessionState.CLOSED
    for call in (
        session.do_step,
        session.initialize,
        session.reset,
        session.snapshot,
        lambda: session.configure(seed=1),
        lambda: session.set_values({}),
        lambda: session.restore(snapshot),
        lambda: session.outputs,
    ):
        with pytest.raises(CallOrderError, match="is not allowed while the session is closed: make a new session"):
            call()
    session.close()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.do_step(), "do_step is not allowed while the session is instantiated: call initialize first"),
        (lambda s: s.outputs, "outputs is not allowed while the session is instantiated: call initialize first"),
        (lambda s: (s.initialize(), s.initialize()), "initialize is not allowed while the session is running: .*call reset"),
        (lambda s: (s.initialize(), s.configure(seed=1)), "configure is not allowed while .* running: .*call reset first"),
        (lambda s: (s.initialize(), s.set_values({"temperature_start": 1.0})), "'temperature_start' is a parameter and fixed"),
    ],
)
def test_a_call_out_of_order_says_what_comes_first(toy_bundle: Bundle, call: Any, message: str):
    with pytest.raises(CallOrderError, match=message):
        call(Session(toy_bundle))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pwoer": 1.0}, "no variable is called 'pwoer'; there are 'power', 'ambient_temperature', 'temperature_start'"),
        ({"flow": 1.0}, r"'flow' is an output and cannot be set; inputs are \['power', 'ambient_temperature'\]"),
        ({"power": 100.5}, r"'power': 100.5 is outside the allowed range \[-100, 100\] W"),
        ({"ambient_temperature": float("inf")}, "'ambient_temperature': expected finite numbers in 'K', got inf"),
        ({"power": [1.0]}, r"'power': expected the shape \(\), got \(1,\)"),
        ({"power": "hot"}, "'power': expected a number in 'W', got 'hot'"),
        ({"power": None}, "'power': expected finite numbers in 'W', got None"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_name_unit_and_range(toy_bundle: Bundle, values: dict[str, Any], message: str):
    session = running(toy_bundle)
    before = session.values
    for call in (session.set_values, session.do_step):
        with pytest.raises(InputError, match=message):
            call({"ambient_temperature": 300.0} | values)
    assert session.values == before


@pytest.mark.parametrize("number", [7, np.float64(7), np.float32(7), np.array(7.0)])
def test_any_number_is_taken(toy_bundle: Bundle, number: Any):
    session = Session(toy_bundle)
    session.set_values({"power": number})
    assert session.values["power"] == 7.0


@pytest.mark.parametrize("seed", [-1, SEED_MAX + 1, 1.5, "1", True])
def test_a_seed_out_of_range_is_refused(toy_bundle: Bundle, seed: Any):
    with pytest.raises(InputError, match=rf"seed {seed!r} must be a whole number from 0 to {SEED_MAX}"):
        Session(toy_bundle, seed=seed)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"z_mode": "random"}, "z_mode 'random' is unknown; use one of 'sampled', 'mean'"), ({"domain_policy": 1}, "domain_policy 1")],
)
def test_an_unknown_mode_is_refused_with_the_known_ones(toy_bundle: Bundle, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Session(toy_bundle, **options)


def test_an_unknown_device_is_refused(toy_bundle: Bundle):
    with pytest.raises(DeviceError):
        Session(toy_bundle, device="gpu")


def test_reset_undoes_configure_and_constructor_parameters(toy_bundle: Bundle):
    session = Session(toy_bundle, seed=5, parameters={"temperature_start": 310.0})
    session.configure(seed=9, z_mode="mean", domain_policy="clamp")
    session.initialize()
    session.reset()
    assert (session.seed, session.z_mode, session.domain_policy) == (5, ZMode.SAMPLED, DomainPolicy.WARN)
    assert session.values["temperature_start"] == 293.15


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_session_on_cuda_follows_one_on_the_cpu(toy_bundle: Bundle):
    here, there = running(toy_bundle, seed=1), running(toy_bundle, seed=1, device="cuda")
    for _ in range(10):
        expected, outputs = here.do_step(INPUTS), there.do_step(INPUTS)
    assert outputs == pytest.approx(expected, rel=1e-4)
