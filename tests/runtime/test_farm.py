"""Farms: equal numbers whoever computes them, and those of sessions."""

from importlib.util import find_spec

import numpy as np
import pytest

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import ConfigError, DeviceError, InputError, ServiceError
from surrogate_fmu.runtime.farm import Farm, compute_chunk, draw_uniform, gather, run_in_threads
from surrogate_fmu.runtime.ray_farm import run_on_ray
from surrogate_fmu.runtime.session import Session

STEPS = 30
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (pip install 'surrogate-fmu[ray]')")
# Ray leaves sockets and processes of its own to the end of the interpreter, and warns of what it will do in later versions
of_ray = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


def make_farm(bundle: Bundle, members: int = 150, **fields) -> Farm:
    powers = 20.0 * np.sin(np.arange(STEPS))
    conditions = np.stack([powers, np.full(STEPS, 290.0), np.full(STEPS, 293.15)], axis=1)
    starts = draw_uniform(5, "temperature_start", 280.0, 310.0, members)[:, None]
    fields = {"varied": starts, "varied_columns": (2,), **fields}
    return Farm(bundle, conditions, np.arange(members) + 7, **fields)


def test_a_member_is_what_a_session_of_its_seed_gives(toy_bundle: Bundle):
    farm = make_farm(toy_bundle)
    points, distances = gather(farm, run_in_threads(farm, 2), (0, 1))
    assert points.shape == (150, STEPS + 1, 2) and (distances == 0).all()
    for member in (0, 63, 64, 149):
        start = float(farm.varied[member, 0])
        with Session(toy_bundle, seed=7 + member, parameters={"temperature_start": start}) as session:
            session.set_values({"power": 0.0, "ambient_temperature": 290.0})
            rows = [session.initialize()]
            rows += [session.do_step({"power": float(power)}) for power in farm.conditions[:, 0]]
        expected = [[row["temperature"], row["flow"]] for row in rows]
        np.testing.assert_allclose(points[member], expected, rtol=0, atol=2e-4)  # float32 of 300 K over 30 steps


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_count_of_threads_changes_no_bit(toy_bundle: Bundle, threads: int):
    farm = make_farm(toy_bundle, chunk_members=16)
    alone = gather(farm, (compute_chunk(farm, first) for first in farm.chunks), (0, 1))
    together = gather(farm, run_in_threads(farm, threads), (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_more_members_change_none_of_those_before(toy_bundle: Bundle):
    few, many = make_farm(toy_bundle, 64), make_farm(toy_bundle, 200)
    assert np.array_equal(gather(few, run_in_threads(few, 1), (0,))[0], gather(many, run_in_threads(many, 1), (0,))[0][:64])


def test_only_chosen_outputs_are_kept(toy_bundle: Bundle):
    farm = make_farm(toy_bundle, 10)
    whole, chosen = (gather(farm, run_in_threads(farm, 1), columns)[0] for columns in ((0, 1), (1,)))
    assert np.array_equal(whole[:, :, 1:], chosen)


def test_a_member_outside_the_training_domain_is_told(toy_bundle: Bundle):
    farm = make_farm(toy_bundle, 3, varied=np.array([[300.0], [330.0], [300.0]]))
    assert list(gather(farm, run_in_threads(farm, 1), (0,))[1] > 0) == [False, True, False]


def test_draws_of_a_variable_depend_on_its_name_and_seed_alone():
    draws = draw_uniform(5, "a", -1.0, 3.0, 5000)
    assert draws.min() >= -1.0 and draws.max() < 3.0 and abs(draws.mean() - 1.0) < 0.1  # 6 standard errors
    assert np.array_equal(draws[:10], draw_uniform(5, "a", -1.0, 3.0, 10))
    assert not np.array_equal(draws, draw_uniform(6, "a", -1.0, 3.0, 5000))
    assert abs(np.corrcoef(draws, draw_uniform(5, "b", -1.0, 3.0, 5000))[0, 1]) < 0.06


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"chunk_members": 0}, "at least 1"), ({"varied": np.zeros((2, 1))}, r"varied has the shape \(2, 1\)")],
)
def test_a_farm_that_does_not_fit_is_refused(toy_bundle: Bundle, fields: dict, said: str):
    with pytest.raises(InputError, match=said):
        make_farm(toy_bundle, 3, **fields)


def test_a_farm_without_ray_says_what_to_install(toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("surrogate_fmu.ray_cluster.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'surrogate-fmu\[ray\]'"):
        list(run_on_ray(make_farm(toy_bundle, 2)))


@pytest.mark.slow
@needs_ray
@of_ray
def test_ray_gives_the_bits_of_threads(toy_bundle: Bundle):
    farm = make_farm(toy_bundle, chunk_members=16)
    local = gather(farm, run_in_threads(farm, 2), (0, 1))
    spread = gather(farm, run_on_ray(farm, 2), (0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(local, spread, strict=True))


@pytest.mark.slow
@needs_ray
@of_ray
def test_what_a_task_raises_keeps_its_class(toy_bundle: Bundle):
    with pytest.raises(DeviceError, match="device 'meta' is not supported"):
        list(run_on_ray(make_farm(toy_bundle, 2, device="meta"), 1))


@needs_ray
@of_ray
def test_a_cluster_that_is_not_there_is_told(toy_bundle: Bundle):
    with pytest.raises(ServiceError, match=r"the Ray cluster '127.0.0.1:1' failed"):
        list(run_on_ray(make_farm(toy_bundle, 2), 1, "127.0.0.1:1"))


def test_an_engine_that_leaves_a_chunk_out_is_noticed(toy_bundle: Bundle):
    farm = make_farm(toy_bundle, 70)
    with pytest.raises(InputError, match="left out 6 of 70 members"):
        gather(farm, [compute_chunk(farm, 0)], (0,))
