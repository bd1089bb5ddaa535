"""Checkpoints: all that training needs to go on as if it had not stopped."""

from pathlib import Path
from typing import Any

import torch

from surrogate_fmu.errors import TrainingError

FORMAT = 1


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain data; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save({"format": FORMAT, **content}, partial)
    partial.replace(path)


def read_checkpoint(path: Path, fingerprint: str) -> dict[str, Any]:
    """Read a checkpoint of the same configuration and data.

    Raises:
        TrainingError: it is missing, damaged, or of another configuration or dataset.
    """
    if not path.is_file():
        raise TrainingError(f"there is no checkpoint at {path}; start without --resume")
    try:
        content: Any = torch.load(path, weights_only=True)
    except Exception as error:  # on damaged bytes the unpickler raises whatever comes its way
        raise TrainingError(f"the checkpoint {path} is damaged ({error}); start without --resume") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("fingerprint") != fingerprint:
        raise TrainingError(
            f"the checkpoint {path} belongs to another configuration or dataset; undo the change, or start without --resume"
        )
    return content
