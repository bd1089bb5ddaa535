"""What lowering rules work with: the graph under construction, and refusals that say where in the module they arose."""

from typing import Any, NoReturn

import torch
from torch import Tensor

from surrogate_fmu.errors import LoweringError
from surrogate_fmu.fmu.native.builder import Builder
from surrogate_fmu.fmu.native.functions import Function
from surrogate_fmu.fmu.native.graph import Constant, Value, constant
from surrogate_fmu.fmu.native.lowering.tensor import Traced, constant_of

Operand = Traced | Tensor | float | int | bool


class Scope:
    """One graph being lowered.

    Attributes:
        builder: the intermediate form so far.
        operation: name of the operation that is being lowered.
        position: where it stands in the user's module.
    """

    def __init__(self, method: str) -> None:
        self.builder = Builder()
        self.method = method
        self.operation = ""
        self.position = ""
        self._constants: dict[tuple[object, ...], tuple[Tensor, Constant]] = {}

    def refuse(self, reason: str) -> NoReturn:
        """Refuse the present operation.

        Raises:
            LoweringError: always.
        """
        place = f" at {self.position}" if self.position else ""
        where = f"{self.operation}{place}, in the generator's {self.method}"
        raise LoweringError(f"{where}, {reason}; change the module, or build with --backend python")

    def constant(self, tensor: Tensor) -> Constant:
        """The constant of a tensor; one for all uses of it."""
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if key not in self._constants:
            self._constants[key] = (tensor, constant_of(tensor))
        return self._constants[key][1]

    def fixed(self, tensor: Any, what: str) -> Constant:
        """A tensor that has to be a constant.

        Raises:
            LoweringError: it depends on the inputs.
        """
        if not isinstance(tensor, Tensor):
            self.refuse(f"has a {what} that depends on the inputs, which native code cannot take")
        return self.constant(tensor)

    def whole(self, number: Any, what: str) -> int:
        """A number that has to be known.

        Raises:
            LoweringError: it depends on the batch or the inputs.
        """
        if isinstance(number, bool) or not isinstance(number, int):
            self.refuse(f"has a {what} of {number!r}, which is not known when the code is made")
        return number

    def row_axis(self, tensor: Traced, dim: int) -> int:
        """The row's axis of a tensor's axis.

        Raises:
            LoweringError: it is the batch, whose rows must not meet, or there is no such axis.
        """
        if not -tensor.rank <= dim < tensor.rank:
            self.refuse(f"names axis {dim} of a tensor of {tensor.rank} axes")
        axis = tensor.axis(dim)
        if axis is None:
            self.refuse(f"works along the batch (axis {dim}), so that the rows of a batch would influence each other")
        return axis

    def elementwise(self, function: Function, *operands: Operand, dtype: torch.dtype | None = None) -> Traced:
        """An elementwise function with TorchScript's broadcasting and promotion.

        Raises:
            LoweringError: the batch axes of the operands do not meet.
        """
        traced = [operand for operand in operands if isinstance(operand, Traced)]
        right = traced[0].right
        if any(operand.right != right for operand in traced):
            self.refuse(f"combines tensors {[t.shape for t in traced]} whose batch axes do not meet")
        values: list[Value | float] = []
        left = max(operand.batch_axis for operand in traced)
        for operand in operands:
            if isinstance(operand, Traced):
                values.append(operand.value)
            elif isinstance(operand, Tensor):
                axis = operand.dim() - 1 - right
                if axis >= 0 and operand.shape[axis] != 1:
                    self.refuse(f"combines a constant of shape {tuple(operand.shape)} with the batch of {traced[0].shape}")
                values.append(self.constant(operand.squeeze(axis) if axis >= 0 else operand))
                left = max(left, axis)
            else:
                values.append(constant(float(operand)))
        return Traced(self.builder.map(function, *values), left, dtype or promoted(*operands))


def promoted(*operands: Any) -> torch.dtype:
    """The type of arithmetic between operands, as far as it matters here: float32, int64 or bool."""
    dtypes = [operand.dtype if isinstance(operand, Traced | Tensor) else torch.tensor(operand).dtype for operand in operands]
    if any(dtype.is_floating_point for dtype in dtypes):
        return torch.float32
    return torch.bool if all(dtype is torch.bool for dtype in dtypes) else torch.int64
