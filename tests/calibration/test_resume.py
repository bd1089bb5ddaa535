"""A posterior as a file, as sessions and as rollouts: all go on where the measurements end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle, write_archive
from surrogate_fmu.calibration.calibrate import calibrate
from surrogate_fmu.calibration.config import CalibrationConfig, Method
from surrogate_fmu.calibration.posterior import Posterior, read_posterior
from surrogate_fmu.calibration.resume import member_snapshot, open_member, replay
from surrogate_fmu.cli.main import main
from surrogate_fmu.errors import ConfigError, DatasetError
from surrogate_fmu.runtime.ensemble import RolloutRun
from surrogate_fmu.runtime.session import Session
from tests.calibration.linear import NOISE, make_linear_bundle, measure


@pytest.fixture(scope="module", params=[False, True], ids=["run latents", "step latents too"])
def unit(request: pytest.FixtureRequest) -> tuple[Bundle, Posterior]:
    bundle = make_linear_bundle(request.param)
    measurements = measure(np.array([0.4, -0.8, *[0.0] * (5 * request.param)]), 5, seed=2)
    return bundle, calibrate(bundle, measurements, CalibrationConfig(Method.ENKF, 32, noise={"level": NOISE, "drift": NOISE}))


def test_a_file_gives_the_posterior_back(unit: tuple[Bundle, Posterior], tmp_path: Path):
    _, posterior = unit
    posterior.save(tmp_path / "new" / "unit.npz")
    read = read_posterior(tmp_path / "new" / "unit.npz")
    for name in ("run_latents", "step_latents", "inputs", "parameters", "weights", "noise"):
        assert np.array_equal(getattr(read, name), getattr(posterior, name))
    assert (read.bundle_digest, read.method, read.estimated) == (posterior.bundle_digest, posterior.method, posterior.estimated)
    assert read.diagnostics == posterior.diagnostics


def test_a_member_stands_where_a_session_with_its_latents_and_the_measured_inputs_does(unit: tuple[Bundle, Posterior]):
    bundle, posterior = unit
    step = posterior.step_latents
    with Session(bundle, z_mode="external", parameters={"offset": 0.5}) as session:
        session.initialize(np.append(posterior.run_latents[7], np.zeros(step.shape[2])))
        for k, row in enumerate(posterior.inputs):
            outputs = session.do_step({"u": row[0]}, z=np.append(posterior.run_latents[7], step[7, k]))
        with open_member(bundle, posterior, 7, seed=3) as member:
            assert member.step_index == session.step_index == 5
            assert member.outputs == pytest.approx(outputs, abs=1e-5)


def test_sessions_and_rollouts_go_on_alike_and_keep_the_units_latents(unit: tuple[Bundle, Posterior]):
    bundle, posterior = unit
    inputs = np.linspace(-2, 2, 6)
    conditions = np.stack([inputs, np.full(6, 0.5)], axis=1)
    seeds = [11, 12, 13]
    run = RolloutRun(bundle, conditions, seeds, standing=replay(bundle, posterior, [3, 4, 5]))
    points, _ = run.advance(7)
    for row, (seed, number) in enumerate(zip(seeds, (3, 4, 5), strict=True)):
        with open_member(bundle, posterior, number, seed) as member:
            levels = [member.outputs["level"], *(member.do_step({"u": u})["level"] for u in inputs)]
        np.testing.assert_allclose(points[row, :, 0], levels, atol=1e-5)


def test_a_members_snapshot_continues_with_equal_bits(unit: tuple[Bundle, Posterior]):
    bundle, posterior = unit
    with Session(bundle) as first, Session(bundle) as second:
        first.restore(member_snapshot(bundle, posterior, 2, seed=6))
        first.do_step({"u": 1.0})
        second.restore(first.snapshot())
        assert second.do_step() == first.do_step()


def test_the_verb_writes_a_posterior_that_rollout_goes_on_from(unit: tuple[Bundle, Posterior], tmp_path: Path, capsys):
    bundle, _ = unit
    write_archive(bundle, tmp_path / "linear.bundle")
    measurements = measure(np.array([1.5, -0.8, *[0.0] * (8 * bundle.manifest.step_latent_dim)]), 8, seed=2)
    lines = ["time [s],u [W],level [K],drift"]
    for k, (level, drift) in enumerate(measurements.outputs):
        u = measurements.inputs[k, 0] if k < 8 else ""
        lines.append(f"{100 + 2.0 * k},{u},{level},{'' if np.isnan(drift) else drift}")
    (tmp_path / "unit.csv").write_text("\n".join(lines) + "\n")
    base, out = str(tmp_path / "linear.bundle"), str(tmp_path / "posterior.npz")
    arguments = ["--until", "6", "--estimate", "offset=-1:2", "--noise", "level=0.3", "--members", "64"]
    assert main(["calibrate", base, str(tmp_path / "unit.csv"), "-o", out, *arguments]) == 0
    said = capsys.readouterr().out
    assert "z[2]:" in said and "offset:" in said and "effective sample size" in said and "stands at step 6" in said
    runs = str(tmp_path / "runs.npz")
    assert main(["rollout", base, "-o", runs, "--posterior", out, "--members", "100", "--steps", "3", "--set", "u=1"]) == 0
    with np.load(runs) as arrays:
        assert arrays["time"].tolist() == [12.0, 14.0, 16.0, 18.0] and arrays["level"].shape == (100, 4)
        assert -1 < arrays["offset"].min() < arrays["offset"].max() < 2
        now = arrays["level"][:, 0]
    assert abs(now.mean() - measurements.outputs[6, 0]) < 4 * NOISE
    assert main(["rollout", base, "-o", runs, "--posterior", out, "--members", "2", "--steps", "3", "--set", "offset=1"]) == 9
    assert "'offset' is a parameter and fixed during a run" in capsys.readouterr().err


def test_another_bundle_is_refused(unit: tuple[Bundle, Posterior], toy_bundle: Bundle):
    with pytest.raises(ConfigError, match="calibrate this bundle"):
        replay(toy_bundle, unit[1], [0])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"text"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "unit.npz").write_bytes(content)
    with pytest.raises(DatasetError, match="cannot be read as a posterior"):
        read_posterior(tmp_path / "unit.npz")


def test_members_are_chosen_by_their_weights(unit: tuple[Bundle, Posterior]):
    posterior = replace(unit[1], weights=np.eye(32)[4] * 0.75 + np.eye(32)[9] * 0.25)
    assert np.bincount(posterior.choose(100, seed=1), minlength=32)[[4, 9]].tolist() == [75, 25]


def test_run_latents_alone_leave_step_latents_to_the_seed():
    bundle = make_linear_bundle(True)
    with Session(bundle, seed=5) as sampled, Session(bundle, seed=5, z_mode="external") as given:
        from surrogate_fmu.runtime.latent import LatentStream

        first, second = sampled.initialize(), given.initialize(LatentStream(5, 2, 1).run_latent)
        assert first == second
        assert [sampled.do_step() for _ in range(4)] == [given.do_step() for _ in range(4)]
