"""Autocorrelation and spectrum of processes whose laws are known."""

import numpy as np
import pytest

from surrogate_fmu.evaluation.diagnostics.time_scales import autocorrelation, band_power, power_spectrum

RNG = np.random.default_rng(0)
POINTS = 41
NONE = np.zeros(1)


def coloured(keep: float, runs: int = 800) -> np.ndarray:
    """(4, run, point, 1), a first-order autoregressive process of unit variance about a path that differs by schedule."""
    values = np.empty((4, runs, POINTS))
    values[..., 0] = RNG.standard_normal((4, runs))
    for k in range(1, POINTS):
        values[..., k] = keep * values[..., k - 1] + np.sqrt(1.0 - keep**2) * RNG.standard_normal((4, runs))
    return (values + 5.0 * RNG.standard_normal((4, 1, POINTS)))[..., None]


@pytest.mark.parametrize("keep", [0.0, 0.7, 0.95])
def test_autocorrelation_of_a_known_process(keep: float):
    found = autocorrelation(runs := coloured(keep), runs, NONE)
    assert found.shape == (21, 1) and found[:, 0] == pytest.approx(keep ** np.arange(21), abs=0.05)


def test_the_spectrum_sums_to_the_mean_square():
    for points in (POINTS, POINTS - 1):
        runs = coloured(0.5)[:, :, :points]
        deviation = runs[:, :, 1:] - runs[:, :, 1:].mean(axis=1, keepdims=True)
        assert power_spectrum(runs, runs).sum() == pytest.approx((deviation**2).mean())


def test_white_noise_has_a_flat_spectrum_and_a_wave_one_line():
    white = coloured(0.0)
    power = power_spectrum(white, white)[:, 0]
    assert power[1:-1] == pytest.approx(np.full(len(power) - 2, 2 / (POINTS - 1)), rel=0.12)
    phase = RNG.uniform(0, 2 * np.pi, (1, 500, 1))
    wave = np.sin(phase + 2 * np.pi * 5 * np.arange(POINTS) / (POINTS - 1))[..., None]
    line = power_spectrum(wave, np.zeros_like(wave))[:, 0]
    assert line.argmax() == 5 and line[5] == pytest.approx(0.5)
    assert band_power(line[:, None], NONE).shape == (6, 1)
