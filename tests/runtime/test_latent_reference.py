"""The latent stream against Philox written out from the paper, and pinned to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from surrogate_fmu.runtime.latent import SEED_MAX, LatentStream, normal_from_words

_MASK = 2**64 - 1


def philox(counter: int, key: tuple[int, int], rounds: int = 10) -> list[int]:
    """Philox4x64 (Salmon et al., SC'11, section 3.3): four words of one counter."""
    lanes = [counter >> shift & _MASK for shift in (0, 64, 128, 192)]
    low_key, high_key = key
    for _ in range(rounds):
        first, second = 0xD2E7470EE14C6C93 * lanes[0], 0xCA5A826395121157 * lanes[2]
        lanes = [(second >> 64) ^ lanes[1] ^ low_key, second & _MASK, (first >> 64) ^ lanes[3] ^ high_key, first & _MASK]
        low_key, high_key = low_key + 0x9E3779B97F4A7C15 & _MASK, high_key + 0xBB67AE8584CAA73B & _MASK
    return lanes


def word(seed: int, stream: int, number: int) -> int:
    return philox(1 + number // 4, (seed, stream))[number % 4]


def normals(words: list[int]) -> np.ndarray:
    return normal_from_words(np.array(words, dtype=np.uint64))


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        # The known answers that Random123 ships (kat_vectors, philox4x64 10).
        (0, (0, 0), [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]),
        (2**256 - 1, (_MASK, _MASK), [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]),
    ],
)
def test_the_reference_gives_the_known_answers_of_the_paper(counter: int, key: tuple[int, int], expected: list[int]):
    assert philox(counter, key) == expected


@given(seed=st.integers(0, SEED_MAX), step=st.integers(0, 10**9), dim=st.integers(1, 9))
def test_step_latents_are_the_words_that_the_documentation_says(seed: int, step: int, dim: int):
    drawn = LatentStream(seed, 0, dim).step_latents(step, 2)
    expected = normals([word(seed, 1, step * dim + i) for i in range(2 * dim)]).reshape(2, dim)
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, expected)


@given(seed=st.integers(0, SEED_MAX), dim=st.integers(0, 9))
def test_run_latents_are_the_words_of_their_own_stream(seed: int, dim: int):
    assert np.array_equal(LatentStream(seed, dim, 3).run_latent, normals([word(seed, 0, i) for i in range(dim)]))


def test_the_stream_is_pinned_to_the_bit():
    stream = LatentStream(20240229, 4, 3)
    bits = [value.view(np.uint32).item() for value in (*stream.run_latent, *stream.step_latents(1000, 2).ravel())]
    run, step = (
        ["bedddd9d", "3fc1d796", "beb70e32", "3fc0da04"],
        ["bf7e3502", "3f04ea4b", "beadde16", "3d3905e3", "3f12ffcb", "3daf78bc"],
    )
    assert [f"{value:08x}" for value in bits] == run + step


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("first", [0, 1, 63, 64, 12345])
def test_a_block_from_any_step_on_is_the_steps_one_by_one(dim: int, first: int):
    stream = LatentStream(99, 2, dim)
    alone = np.concatenate([LatentStream(99, 2, dim).step_latents(first + k, 1) for k in range(7)])
    assert np.array_equal(stream.step_latents(first, 7), alone)


def test_run_and_step_streams_differ():
    stream = LatentStream(5, 64, 64)
    assert not np.intersect1d(stream.run_latent, stream.step_latents(0, 1)).size


def test_the_size_of_the_run_part_does_not_move_the_step_part():
    assert np.array_equal(LatentStream(5, 0, 3).step_latents(4, 2), LatentStream(5, 9, 3).step_latents(4, 2))


def test_the_same_step_of_one_seed_is_independent_of_another_seeds():
    count = 4000
    draws = np.stack([LatentStream(seed, 0, count).step_latents(0, 1)[0] for seed in range(12)]).astype(float)
    correlation = np.corrcoef(draws) - np.eye(12)
    # 66 pairs, each normal with 1 / sqrt(count): 5 standard deviations.
    assert np.abs(correlation).max() < 5 / np.sqrt(count)
    across = np.array([LatentStream(seed, 1, 0).run_latent[0] for seed in range(3000)], dtype=float)
    assert stats.kstest(across, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(across[:-1], across[1:])[0, 1]) < 5 / np.sqrt(3000)


def test_moments_are_those_of_the_normal():
    draws = LatentStream(31, 0, 1000).step_latents(0, 300).astype(float).ravel()
    count = len(draws)
    assert abs(draws.mean()) < 5 / np.sqrt(count)
    assert abs(draws.var() - 1) < 5 * np.sqrt(2 / count)
    assert abs(stats.skew(draws)) < 5 * np.sqrt(6 / count)
    assert abs(stats.kurtosis(draws)) < 5 * np.sqrt(24 / count)


def test_the_map_rises_and_is_odd():
    words = np.sort(np.random.default_rng(1).integers(0, 2**64, 5000, dtype=np.uint64))
    mapped = normal_from_words(words)
    assert np.all(np.diff(mapped) >= 0)
    # Mirrored words; near one half the sum rounds to the last place of the uniform, 1e-16, below float32.
    assert np.allclose(normal_from_words(~words), -mapped, rtol=2e-7, atol=1e-9)


@pytest.mark.parametrize("upper", [0, 1, 2, 1000, 2**40, 2**51, 2**52, 2**53 - 1000, 2**53 - 3])
def test_the_map_is_right_far_out_and_at_the_centre(upper: int):
    expected = stats.norm.ppf((upper + 0.5) * 2.0**-53)
    assert normals([upper << 11])[0] == pytest.approx(expected, rel=2e-7, abs=1e-9)


def test_the_largest_word_is_the_largest_normal():
    smallest, second, largest = normals([0, (2**53 - 2) << 11, _MASK])
    assert second > 8.0
    assert largest >= second
    assert largest <= -smallest * (1 + 1e-6)


@pytest.mark.parametrize("seed", [-1, SEED_MAX + 1, 2**64])
def test_a_seed_out_of_range_is_refused_with_the_range(seed: int):
    with pytest.raises(ValueError, match=f"seed {seed} is outside 0 to {SEED_MAX}"):
        LatentStream(seed, 1, 1)


def test_the_ends_of_the_seed_range_are_taken():
    assert not np.array_equal(LatentStream(0, 4, 0).run_latent, LatentStream(SEED_MAX, 4, 0).run_latent)
