"""What a tensor is while a TorchScript graph is read: a value of the intermediate form and where its batch axis stands."""

from dataclasses import dataclass

import numpy as np
import torch

from surrogate_fmu.fmu.native.graph import Constant, Value, constant


class BatchSize:
    """The size of the batch, or a number calculated from it: symbolic, so it equals itself and nothing that is known."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


BATCH = BatchSize("batch")
UNKNOWN = BatchSize("number that depends on the batch")

Size = int | BatchSize


@dataclass(frozen=True, eq=False)
class Traced:
    """A tensor that depends on the inputs, or at least has their batch axis.

    Attributes:
        value: what each row holds.
        batch_axis: where the batch stands in the tensor's own axes.
        dtype: of the tensor in TorchScript; rows hold reals all the same.
    """

    value: Value
    batch_axis: int
    dtype: torch.dtype = torch.float32

    @property
    def rank(self) -> int:
        """Axes of the tensor, the batch's among them."""
        return len(self.value.shape) + 1

    @property
    def shape(self) -> list[Size]:
        """Sizes as TorchScript sees them."""
        sizes: list[Size] = list(self.value.shape)
        sizes.insert(self.batch_axis, BATCH)
        return sizes

    @property
    def right(self) -> int:
        """Axes to the right of the batch."""
        return self.rank - 1 - self.batch_axis

    def axis(self, dim: int) -> int | None:
        """The value's axis of a tensor's axis; None for the batch."""
        dim = dim + self.rank if dim < 0 else dim
        return None if dim == self.batch_axis else dim - (dim > self.batch_axis)

    def with_value(self, value: Value, batch_axis: int | None = None, dtype: torch.dtype | None = None) -> "Traced":
        """The same kind of tensor with other rows."""
        return Traced(value, self.batch_axis if batch_axis is None else batch_axis, dtype or self.dtype)


def constant_of(tensor: torch.Tensor) -> Constant:
    """A constant of a tensor's numbers; float64 stays, all else becomes float32."""
    array = tensor.detach().cpu().numpy()
    return constant(array if array.dtype == np.float64 else array.astype(np.float32))
