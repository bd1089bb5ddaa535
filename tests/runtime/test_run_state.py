"""A run as bytes: every bit comes back, and what is no run is refused."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_fmu.errors import SnapshotError
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.runtime.run_state import RunState, decode_run, encode_run
from tests.contract.tunable import MANIFEST as TUNED
from tests.toy import MANIFEST

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def tuples(size: int) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[NUMBERS] * size)


def runs(manifest: Manifest, tunable: int) -> st.SearchStrategy[RunState]:
    return st.builds(
        RunState,
        seed=st.integers(0, 2**63 - 1),
        z_mode=st.sampled_from(list(ZMode)),
        domain_policy=st.sampled_from(list(DomainPolicy)),
        condition=tuples(manifest.condition_dim),
        external_latent=tuples(manifest.latent_dim),
        step_index=st.integers(0, 2**62),
        hidden=st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=manifest.hidden_dim, max_size=manifest.hidden_dim
        ).map(lambda numbers: np.array(numbers, np.float32)),
        outputs=tuples(manifest.output_dim),
        domain_distance=st.floats(0.0, 1e300),
        domain_message=st.text(max_size=40),
        start=tuples(tunable),
        tuned_distance=st.floats(0.0, 1e300) if tunable else st.just(0.0),
    )


RUNS = runs(MANIFEST, 0)


@settings(deadline=None)
@pytest.mark.parametrize(("manifest", "tunable"), [(MANIFEST, 0), (TUNED, 2)], ids=["fixed", "tunable"])
@given(st.data())
def test_every_bit_comes_back(manifest: Manifest, tunable: int, data: st.DataObject):
    run = data.draw(runs(manifest, tunable))
    back = decode_run(encode_run(run), manifest)
    assert back.hidden.tobytes() == run.hidden.tobytes()
    assert [str(a) for a in back._replace(hidden=None)] == [str(a) for a in run._replace(hidden=None)]
    before = run._replace(hidden=None, outputs=None, start=(), tuned_distance=0.0)
    assert decode_run(encode_run(before), manifest) == before


def test_a_distance_below_zero_is_none():
    numbers = (0.0,) * TUNED.condition_dim, (0.0,) * TUNED.latent_dim
    hidden = np.zeros(TUNED.hidden_dim, np.float32)
    run = RunState(1, ZMode.MEAN, DomainPolicy.WARN, *numbers, 3, hidden, (0.0, 0.0), start=(1.0, 290.0), tuned_distance=-0.5)
    with pytest.raises(SnapshotError, match="damaged"):
        decode_run(encode_run(run), TUNED)


@settings(deadline=None)
@given(RUNS, st.integers(0, 2**32))
def test_broken_bytes_are_refused_or_are_a_run(run: RunState, seed: int):
    chance = random.Random(seed)
    data = bytearray(encode_run(run))
    for _ in range(chance.randrange(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.3:
        del data[chance.randrange(len(data)) :]
    try:
        back = decode_run(bytes(data), MANIFEST)
    except SnapshotError:
        return
    assert np.isfinite(back.condition).all() and 0 <= back.seed < 2**63 and back.step_index >= 0


def test_what_belongs_elsewhere():
    run = RunState(1, ZMode.MEAN, DomainPolicy.WARN, (0.0,) * 7, (), 3)
    with pytest.raises(
        SnapshotError, match=r"the snapshot has \(7, 0, 0, 0\) numbers .*restore it into a session of its own bundle"
    ):
        decode_run(encode_run(run), MANIFEST)
    with pytest.raises(SnapshotError, match="the format 9, this version reads 2"):
        decode_run(b"\x09" + encode_run(run)[1:], MANIFEST)
