"""Training logs that TensorBoard reads."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from surrogate_fmu.training.loop import Progress

Log = Callable[[Progress, Sequence[str]], None]


@contextmanager
def open_log(folder: Path | None) -> Iterator[Log]:
    """A function that writes one update's figures to event files in `folder`; without a folder it does nothing."""
    if folder is None:
        yield lambda progress, names: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def log(progress: Progress, names: Sequence[str]) -> None:
            scalars = {"loss": progress.loss, "learning_rate": progress.learning_rate, "cpu_s": progress.cpu_s}
            if progress.validation:
                scalars["validation/score"] = progress.validation.score
                for name, crps, spread in zip(names, progress.validation.crps_ratio, progress.validation.spread_ratio, strict=True):
                    scalars |= {f"validation/crps_ratio/{name}": crps, f"validation/spread_ratio/{name}": spread}
            for tag, value in scalars.items():
                writer.add_scalar(tag, value, progress.update)

        yield log
