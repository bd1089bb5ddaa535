"""The scales of the data as tensors."""

import torch
from torch import Tensor

from surrogate_fmu.dataset.scaling import Scaling


def scale_tensors(scaling: Scaling) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """conditional_std, condition_mean, condition_std, output_mean, output_std as float32."""
    values = (scaling.conditional_std, scaling.condition_mean, scaling.condition_std, scaling.output_mean, scaling.output_std)
    first, second, third, fourth, fifth = (torch.tensor(value, dtype=torch.float32) for value in values)
    return first, second, third, fourth, fifth
