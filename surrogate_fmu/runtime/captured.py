"""A generator on a GPU: its own stream, and its step as one launch for each size of a batch (a CUDA graph).

A small generator is some ten kernels a step, and launching them one by one takes longer than what they compute. A graph
records the launches once and repeats them all at once, from and to tensors that stay where they are.
Source: PyTorch documentation, "CUDA semantics", section "CUDA Graphs".
"""

import logging
from collections.abc import Callable, Collection
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor

_WARM_UPS = 3  # TorchScript optimises in its first calls, which a graph must not record
_log = logging.getLogger("surrogate_fmu.runtime")

Forward = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
Capture = Callable[[Callable[[], tuple[Tensor, Tensor]]], tuple[Callable[[], None], tuple[Tensor, Tensor]]]
"""Records a function: what repeats it, and the tensors that a repetition writes its results to."""


class _Graph(NamedTuple):
    given: tuple[Tensor, Tensor, Tensor]
    replay: Callable[[], None]
    results: tuple[Tensor, Tensor]


def capture_cuda_graph(function: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
    """Record a function as a CUDA graph, on the present device."""
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function()
    return graph.replay, results


class CapturedStep:
    """Calls a generator's `forward`; batches of some sizes by a recording.

    A recording that fails, or gives other bits than `forward`, is not used: the log tells, and `forward` serves that size.

    Args:
        forward: (x, z, h) -> (y, h).
        sizes: rows of the batches that are recorded, each at its first call.
        capture: how to record.
    """

    def __init__(self, forward: Forward, sizes: Collection[int], capture: Capture = capture_cuda_graph) -> None:
        self._forward = forward
        self._sizes = frozenset(sizes)
        self._capture = capture
        self._graphs: dict[int, _Graph | None] = {}

    def __call__(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim), h (batch, hidden_dim) -> y (batch, output_dim), h."""
        count = x.shape[0]
        if count not in self._sizes:
            return self._forward(x, z, h)
        if count not in self._graphs:
            self._graphs[count] = self._record(x, z, h)
        graph = self._graphs[count]
        return self._forward(x, z, h) if graph is None else _run(graph, x, z, h)

    def _record(self, x: Tensor, z: Tensor, h: Tensor) -> _Graph | None:
        given = (x.clone(), z.clone(), h.clone())
        try:
            replay, results = self._capture(lambda: self._forward(*given))
            graph = _Graph(given, replay, results)
            expected = self._forward(x, z, h)
            if all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(_run(graph, x, z, h), expected, strict=True)):
                return graph
            reason = "it gives other bits"
        except RuntimeError as error:
            reason = str(error)
        _log.warning("steps of %d rows are not recorded as a CUDA graph: %s", len(x), reason)
        return None


class OnStream:
    """Inference on a stream of its own, so that models of one GPU do not wait for each other; enter it as often as wanted."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __enter__(self) -> None:
        self._entered = ExitStack()
        self._entered.enter_context(torch.inference_mode())
        self._entered.enter_context(torch.cuda.stream(self._stream))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._entered.close()


def _run(graph: _Graph, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    for place, given in zip(graph.given, (x, z, h), strict=True):
        place.copy_(given, non_blocking=True)
    graph.replay()
    y, h = graph.results
    return y.clone(), h.clone()
