"""Where and in what arithmetic a training runs: device, mixed precision, compiled steps."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from surrogate_fmu.errors import TrainingError
from surrogate_fmu.training.config import ExecutionConfig, Precision, Structure, TrainingConfig
from surrogate_fmu.training.generators import Generator
from surrogate_fmu.training.generators.wiener import WienerGenerator


class Execution:
    """What a training runs on.

    Args:
        config: of the training.
        process_count: how many share it.

    Raises:
        TrainingError: the device is not there, or the training cannot be run so.
    """

    def __init__(self, config: TrainingConfig, process_count: int = 1) -> None:
        execution = config.execution
        wiener = config.generator.structure is Structure.WIENER
        if wiener and execution.precision is Precision.BFLOAT16:
            raise TrainingError("a Wiener generator recognises individuals by least squares, which need precision float32")
        if wiener and execution.compile:
            raise TrainingError("compile has no effect on a Wiener generator, which computes a window at once; leave it out")
        self.device = find_device(execution)
        if process_count > 1 and self.device.type != "cpu":
            raise TrainingError(f"{process_count} processes share a training on the CPU alone; leave out torchrun or device")
        self._precision = execution.precision
        self._compile = execution.compile
        self._methods: dict[str, Callable[..., Any]] = {}

    def placed(self) -> AbstractContextManager[Any]:
        """New tensors are made on the device."""
        return nullcontext() if self.device.type == "cpu" else self.device

    @contextmanager
    def playing(self, generator: Generator) -> Iterator[None]:
        """Losses are computed in the precision, by compiled steps of the generator where that is wanted.

        What stands for known physics, balances and a linear part, stays in float32; networks and critics do not.

        Raises:
            TrainingError: the steps cannot be compiled.
        """
        if self._precision is Precision.FLOAT32 and not self._compile:
            yield
            return
        if not self._methods:
            self._methods = self._changed(generator)
        # The module itself stays as it is, to be copied and scripted.
        generator.__dict__.update(self._methods)
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._precision is Precision.BFLOAT16):
                yield
        finally:
            for name in self._methods:
                del generator.__dict__[name]

    def _changed(self, generator: Generator) -> dict[str, Callable[..., Any]]:
        methods: dict[str, Callable[..., Any]] = {}
        if self._precision is Precision.BFLOAT16:
            for name in ("initial", "roll", "log_likelihood"):
                if hasattr(generator, name):
                    methods[name] = self._cast(getattr(generator, name), False)
            methods |= {name: self._cast(getattr(generator, name), True) for name in getattr(generator, "networks", ())}
        if self._compile and not isinstance(generator, WienerGenerator):
            methods["step"] = _compiled(generator.step)
        return methods

    def _cast(self, method: Callable[..., Any], enabled: bool) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
                found = method(*arguments, **named)
            return tuple(part.float() for part in found) if isinstance(found, tuple) else found.float()

        return call


def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    compiled = torch.compile(step, dynamic=True)

    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except TorchDynamoException as error:
            raise TrainingError(
                f"the generator's step cannot be compiled here ({str(error).splitlines()[0]}); torch.compile needs a C++ compiler; "
                "set compile = false in [training.execution]"
            ) from error

    return call


def find_device(execution: ExecutionConfig) -> torch.device:
    """The device of a configuration.

    Raises:
        TrainingError: there is none of that name here.
    """
    try:
        device = torch.device(execution.device)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"device {execution.device!r} cannot be used here ({reason}); cpu can, or cuda where there is one"
        ) from error
    return device
