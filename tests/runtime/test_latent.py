"""The latent stream: fixed for ever, addressable by step, normal."""

import numpy as np
import pytest
from scipy import stats

from surrogate_fmu.runtime.latent import LatentStream, normal_from_words


def test_the_stream_never_changes():
    stream = LatentStream(7, 5, 3)
    assert [float(v) for v in stream.run_latent[:3]] == pytest.approx([1.1362473, -0.53777736, -0.2016436], rel=1e-7)
    assert [float(v) for v in stream.step_latents(0, 1)[0]] == pytest.approx([1.1874089, -0.33440143, 0.04280044], rel=1e-6)


@pytest.mark.parametrize("dim", [1, 3, 4, 7])
def test_a_step_is_the_same_alone_and_in_a_block(dim: int):
    stream = LatentStream(3, 0, dim)
    alone = np.concatenate([stream.step_latents(k, 1) for k in range(20)])
    assert np.array_equal(alone, stream.step_latents(0, 20))


def test_the_map_is_the_inverse_normal():
    words = np.random.default_rng(0).integers(0, 2**64, 20000, dtype=np.uint64)
    uniform = ((words >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53
    assert np.allclose(normal_from_words(words), stats.norm.ppf(uniform), rtol=2e-7, atol=1e-9)


def test_draws_are_normal_and_seeds_are_independent():
    first, second = (LatentStream(seed, 0, 500).step_latents(0, 100).ravel().astype(float) for seed in (1, 2))
    assert stats.kstest(first, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(len(first))


def test_seeds_out_of_range_are_refused():
    with pytest.raises(ValueError, match="outside 0 to"):
        LatentStream(-1, 1, 1)
