"""Steps by a recording, with a recorder that runs on the CPU, and on a GPU where there is one."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import load_generator
from surrogate_fmu.runtime.captured import CapturedStep, capture_cuda_graph
from surrogate_fmu.runtime.stepper import Stepper
from tests.runtime.test_stepper import bits, net_bundle, started  # noqa: F401

Results = tuple[Tensor, Tensor]


class Recorder:
    """Repeats a function into the tensors of its first call, as a graph does."""

    def __init__(self) -> None:
        self.recorded, self.replayed = 0, 0

    def __call__(self, function: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        self.recorded += 1
        results = tuple(part.clone() for part in function())

        def replay() -> None:
            self.replayed += 1
            for place, value in zip(results, function(), strict=True):
                place.copy_(value)

        return replay, results


def numbers(bundle: Bundle, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    manifest, random = bundle.manifest, torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(count, width, generator=random) for width in (manifest.condition_dim, manifest.latent_dim, manifest.hidden_dim)
    )


def test_a_recording_gives_the_bits_of_the_step(net_bundle: Bundle):  # noqa: F811
    forward, recorder = load_generator(net_bundle).forward, Recorder()
    step = CapturedStep(forward, (1, 4), recorder)
    with torch.inference_mode():
        kept = []
        for seed in range(5):
            for count in (1, 4, 3):
                given = numbers(net_bundle, count, seed)
                kept.append((step(*given), forward(*given)))
    # all at the end: a result is the caller's own and does not change with the next step
    for results, expected in kept:
        assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))
    assert recorder.recorded == 2 and recorder.replayed == 2 * (5 + 1)


@pytest.mark.parametrize("fault", ["raises", "other bits"])
def test_a_recording_that_cannot_be_trusted_is_not_used(
    net_bundle: Bundle,  # noqa: F811
    fault: str,
    caplog: pytest.LogCaptureFixture,
):
    def broken(function: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        if fault == "raises":
            raise RuntimeError("operation not permitted when stream is capturing")
        y, h = function()
        return lambda: None, (y + 1.0, h)

    forward = load_generator(net_bundle).forward
    step = CapturedStep(forward, (4,), broken)
    with torch.inference_mode():
        for seed in range(3):
            given = numbers(net_bundle, 4, seed)
            assert all(torch.equal(a, b) for a, b in zip(step(*given), forward(*given), strict=True))
    (record,) = caplog.records
    assert "4 rows are not recorded as a CUDA graph: " + ("operation" if fault == "raises" else "it gives") in record.message


def test_a_stepper_over_recordings(net_bundle: Bundle, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    plain, recorded, recorder = Stepper(net_bundle), Stepper(net_bundle), Recorder()
    monkeypatch.setattr(recorded, "_forward", CapturedStep(recorded._forward, (1, *recorded.reproducible_sizes), recorder))
    runs = [started(plain, place) for place in range(20)]
    for count in (1, 3, 20):
        plans = [plain.plan(*run) for run in runs[:count]]
        expected = plain.advance_reproducibly(plans)
        assert list(map(bits, recorded.advance_reproducibly(plans))) == list(map(bits, expected))
    assert bits(recorded.advance_one(plans[0])) == bits(plain.advance_one(plans[0]))
    assert recorder.replayed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_graph_on_a_gpu(net_bundle: Bundle, caplog: pytest.LogCaptureFixture):  # noqa: F811
    forward = load_generator(net_bundle, "cuda").forward
    step = CapturedStep(forward, (1, 4), capture_cuda_graph)
    with torch.inference_mode():
        for seed in range(5):
            for count in (1, 4):
                given = tuple(part.cuda() for part in numbers(net_bundle, count, seed))
                assert all(torch.equal(a, b) for a, b in zip(step(*given), forward(*given), strict=True))
    assert not caplog.records, "both sizes were recorded"
