"""Training logs that TensorBoard and MLflow read."""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.loop import Progress

Log = Callable[[Progress, Sequence[str]], None]
_Writer = Callable[[Mapping[str, float], int], None]
_MLFLOW_INTERVAL = 20  # updates from one entry to the next; each is a message or a file


@contextmanager
def open_log(folder: Path | None, experiment: str | None = None, settings: Mapping[str, Any] | None = None) -> Iterator[Log]:
    """A function that writes one update's figures, output names given for those of each output.

    Args:
        folder: for TensorBoard's event files; None writes none.
        experiment: of MLflow, in which a run is made where MLFLOW_TRACKING_URI says; None makes none.
        settings: of the training, for MLflow.

    Raises:
        ConfigError: MLflow is not installed, or its server refuses.
    """
    with ExitStack() as stack:
        writers: list[_Writer] = []
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            events = stack.enter_context(SummaryWriter(str(folder)))

            def write_events(figures: Mapping[str, float], update: int) -> None:
                for name, value in figures.items():
                    events.add_scalar(name, value, update)

            writers.append(write_events)
        if experiment is not None:
            writers.append(stack.enter_context(_mlflow_run(experiment, settings or {})))

        def log(progress: Progress, names: Sequence[str]) -> None:
            figures = _figures(progress, names) if writers else {}
            for write in writers:
                write(figures, progress.update)

        yield log


def _figures(progress: Progress, names: Sequence[str]) -> dict[str, float]:
    figures = {"loss": progress.loss, "learning_rate": progress.learning_rate, "cpu_s": progress.cpu_s}
    if progress.validation:
        figures["validation/score"] = progress.validation.score
        for name, crps, spread in zip(names, progress.validation.crps_ratio, progress.validation.spread_ratio, strict=True):
            figures |= {f"validation/crps_ratio/{name}": crps, f"validation/spread_ratio/{name}": spread}
    return figures


@contextmanager
def _mlflow_run(experiment: str, settings: Mapping[str, Any]) -> Iterator[_Writer]:
    try:
        mlflow: Any = importlib.import_module("mlflow")
    except ModuleNotFoundError as error:
        raise ConfigError("--mlflow needs MLflow, which is not installed; run: pip install 'surrogate-fmu[mlflow]'") from error
    try:
        mlflow.set_experiment(experiment)
        run = mlflow.start_run()
        mlflow.log_params(_flat(settings))
    except mlflow.exceptions.MlflowException as error:
        where = os.environ.get("MLFLOW_TRACKING_URI", "the default place, MLFLOW_TRACKING_URI is not set")
        raise ConfigError(f"MLflow at {where} refuses a run of {experiment!r}: {str(error).splitlines()[0]}") from error

    def write(figures: Mapping[str, float], update: int) -> None:
        if update % _MLFLOW_INTERVAL == 0 or "validation/score" in figures:
            mlflow.log_metrics(_allowed(figures), step=update)

    with run:
        yield write


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": str(value)[:500]}
    return flat


def _allowed(figures: Mapping[str, float]) -> dict[str, float]:
    """Names of metrics may have letters, digits and few other signs."""
    return {"".join(c if c.isalnum() or c in "_-. /" else "_" for c in name): value for name, value in figures.items()}
