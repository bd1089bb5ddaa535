"""Training that is stopped and goes on, learns, and is refused: what a user of the loop relies on."""

import dataclasses
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_fmu.bundle.archive import Bundle, read_bundle, write_archive
from surrogate_fmu.dataset.trajectories import Trajectories
from surrogate_fmu.errors import ConfigError, DatasetError, TrainingError
from surrogate_fmu.runtime.contract import check_session
from surrogate_fmu.runtime.session import Session
from surrogate_fmu.schema import encode
from surrogate_fmu.training.config import EnergyConfig, Objective, R3ganConfig, TrainingConfig
from surrogate_fmu.training.encoders.run import RunEncoder
from surrogate_fmu.training.export import make_trained_bundle, measure_domain
from surrogate_fmu.training.log import open_log
from surrogate_fmu.training.loop import Progress, TrainingResult, train
from surrogate_fmu.variables import Causality
from tests.training.runs import CONFIG, make_runs, same_weights

Runs = tuple[Trajectories, Trajectories]


@pytest.fixture(scope="module")
def runs(toy_bundle: Bundle) -> Runs:
    return make_runs(toy_bundle, 48, 1, 1), make_runs(toy_bundle, 4, 4, 2)


@pytest.fixture(scope="module")
def whole(runs: Runs) -> TrainingResult:
    return train(*runs, CONFIG)


@contextmanager
def interrupted_inside_update(number: int) -> Iterator[None]:
    """Ctrl-C in the midst of an update, when the encoder reads the batch."""
    calls = itertools.count(1)

    def interrupt(module: torch.nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(module, RunEncoder) and next(calls) == number:
            raise KeyboardInterrupt

    handle = torch.nn.modules.module.register_module_forward_hook(interrupt)
    try:
        yield
    finally:
        handle.remove()


def test_training_does_not_touch_the_global_random_streams(runs: Runs, whole: TrainingResult):
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.random(3)
    torch.manual_seed(5)
    np.random.seed(5)
    assert same_weights(train(*runs, CONFIG), whole)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.random(3), expected[1])


@pytest.mark.parametrize("update", [1, 7, 13])
def test_an_interruption_between_updates_leaves_no_trace(runs: Runs, whole: TrainingResult, tmp_path: Path, update: int):
    def stop(progress: Progress) -> None:
        if progress.update == update:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*runs, CONFIG, tmp_path / "checkpoint", report=stop)
    seen: list[int] = []
    resumed = train(*runs, CONFIG, tmp_path / "checkpoint", True, lambda progress: seen.append(progress.update))
    assert seen == list(range(update + 1, CONFIG.updates + 1))
    assert same_weights(whole, resumed)
    assert (resumed.best, resumed.best_update) == (whole.best, whole.best_update)


def test_an_interruption_inside_an_update_leaves_no_trace(runs: Runs, whole: TrainingResult, tmp_path: Path):
    with interrupted_inside_update(8), pytest.raises(KeyboardInterrupt):
        train(*runs, CONFIG, tmp_path / "checkpoint")
    assert same_weights(whole, train(*runs, CONFIG, tmp_path / "checkpoint", True))


def test_a_finished_training_is_resumed_as_it_is(runs: Runs, whole: TrainingResult, tmp_path: Path):
    train(*runs, CONFIG, tmp_path / "checkpoint")
    assert same_weights(whole, train(*runs, CONFIG, tmp_path / "checkpoint", True))


def test_a_checkpoint_of_other_data_is_refused(runs: Runs, tmp_path: Path):
    train(*runs, dataclasses.replace(CONFIG, updates=2), tmp_path / "checkpoint")
    other = runs[0].select(range(40))
    with pytest.raises(
        TrainingError, match="belongs to another configuration or dataset; undo the change, or start without --resume"
    ):
        train(other, runs[1], dataclasses.replace(CONFIG, updates=2), tmp_path / "checkpoint", True)


def test_without_a_checkpoint_there_is_nothing_to_resume(runs: Runs, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"there is no checkpoint at .*start without --resume"):
        train(*runs, CONFIG, tmp_path / "none", True)
    with pytest.raises(TrainingError, match="resume needs a checkpoint path"):
        train(*runs, CONFIG, None, True)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_truncated_checkpoint_is_refused(runs: Runs, tmp_path: Path, share: float):
    path = tmp_path / "checkpoint"
    train(*runs, dataclasses.replace(CONFIG, updates=2), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(TrainingError, match=r"damaged .*start without --resume"):
        train(*runs, dataclasses.replace(CONFIG, updates=2), path, True)


def test_a_checkpoint_of_another_kind_is_refused(runs: Runs, tmp_path: Path):
    torch.save([1, 2], tmp_path / "checkpoint")
    with pytest.raises(TrainingError, match="checkpoint"):
        train(*runs, CONFIG, tmp_path / "checkpoint", True)


def test_progress_is_reported_at_every_update_and_validation_when_due(runs: Runs):
    seen: list[Progress] = []
    config = dataclasses.replace(CONFIG, validations=4)
    result = train(*runs, config, report=seen.append)
    assert [progress.update for progress in seen] == list(range(1, 21))
    assert [progress.share for progress in seen] == pytest.approx([update / 20 for update in range(1, 21)])
    assert [progress.update for progress in seen if progress.validation] == [1, 5, 10, 15, 20]
    scores = {progress.update: progress.validation.score for progress in seen if progress.validation}
    assert result.best_update == min(scores, key=scores.__getitem__)
    assert result.best.score == min(scores.values())
    # The rate rises over the first updates.
    assert seen[0].learning_rate < seen[5].learning_rate
    assert all(progress.best for progress in seen)


def test_windows_grow_from_the_shortest_to_the_longest(runs: Runs):
    lengths: list[int] = []

    def measure(module: torch.nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(module, RunEncoder):
            lengths.append(arguments[0].shape[1])

    handle = torch.nn.modules.module.register_module_forward_hook(measure)
    try:
        train(*runs, CONFIG)
    finally:
        handle.remove()
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == CONFIG.window_steps
    assert lengths.index(10) == pytest.approx(10, abs=1)  # the full window at half of the training


def test_training_improves_the_score_clearly(runs: Runs):
    scores: list[float] = []
    config = dataclasses.replace(CONFIG, updates=250, batch_size=16, validations=10, learning_rate=5e-3, ema_decay=0.9)
    result = train(*runs, config, report=lambda p: scores.append(p.validation.score) if p.validation else None)
    assert result.best.score < 0.5 * scores[0]
    assert result.ended_by == "updates"


def test_without_recognition_training_goes_too(runs: Runs):
    config = dataclasses.replace(CONFIG, energy=EnergyConfig(members=2, reconstruction_weight=0.0))
    assert np.isfinite(train(*runs, config).best.score)


def test_the_game_begins_after_the_warm_up_and_moves_the_generator(runs: Runs):
    def weights_after(updates: int, warm_up: float) -> list[torch.Tensor]:
        config = dataclasses.replace(
            CONFIG, objective=Objective.R3GAN, r3gan=R3ganConfig(critic_width=8, warm_up_fraction=warm_up), ema_decay=0.0
        )
        losses: list[float] = []

        def keep(progress: Progress) -> None:
            losses.append(progress.loss)

        result = train(*runs, dataclasses.replace(config, updates=updates), report=keep)
        assert np.isfinite(losses).all()
        return [parameter.detach() for parameter in result.generator.parameters()]

    warm, mixed, game = (weights_after(12, share) for share in (1.1, 0.5, 0.0))
    assert all(torch.isfinite(parameter).all() for parameter in (*warm, *mixed, *game))
    assert not all(torch.equal(a, b) for a, b in zip(warm, mixed, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(mixed, game, strict=True))


def test_an_output_that_the_inputs_fix_can_be_trained_and_shipped(runs: Runs):
    """All individuals have the same flow: no spread to measure, and nothing to divide by."""

    def fixed(recorded: Trajectories) -> Trajectories:
        outputs = recorded.outputs.copy()
        outputs[:, 1:, 1] = recorded.inputs[..., 0]
        outputs[:, 0, 1] = 0.0
        return dataclasses.replace(recorded, outputs=outputs)

    # The flow is no longer what cools the mass; the balance keeps to the surroundings.
    balance = dataclasses.replace(CONFIG.generator.balances[0], terms=("ambient_temperature - temperature",))
    config = dataclasses.replace(CONFIG, generator=dataclasses.replace(CONFIG.generator, balances=(balance,)))
    result = train(*map(fixed, runs), config)
    assert np.isfinite(result.best.score)
    assert make_trained_bundle("fixed", "", result, *map(fixed, runs), config).manifest.training["updates"] == CONFIG.updates


def test_the_default_generator_without_balances_gives_no_warning(runs: Runs):
    config = dataclasses.replace(CONFIG, updates=2, generator=dataclasses.replace(CONFIG.generator, balances=()))
    assert np.isfinite(train(*runs, config).best.score)


@pytest.mark.parametrize("name", ["inputs", "outputs", "parameters"])
def test_data_that_are_not_finite_never_reach_training(runs: Runs, name: str):
    array = getattr(runs[0], name).copy()
    array.flat[3] = np.nan
    with pytest.raises(DatasetError, match=f"{name} has 1 values that are not finite"):
        dataclasses.replace(runs[0], **{name: array})


def test_a_loss_that_is_not_finite_ends_training_with_advice(runs: Runs):
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at update .*lower learning_rate or gradient_clip"):
        train(*runs, dataclasses.replace(CONFIG, updates=200, learning_rate=1e9, gradient_clip=1e12))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_steps": (5, 4)}, r"window_steps \[5, 4\] must be two ascending numbers"),
        ({"window_steps": (0, 4)}, "two ascending numbers"),
        ({"updates": 0}, "updates 0 must be above 0"),
        ({"batch_size": -1}, "batch_size -1 must be above 0"),
        ({"budget_cpu_s": 0.0}, "budget_cpu_s 0.0 must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**changes)


def test_the_shipped_bundle_is_the_generator_and_tells_its_training(runs: Runs, whole: TrainingResult, tmp_path: Path):
    bundle = make_trained_bundle("toy_trained", "a test", whole, *runs, CONFIG)
    write_archive(bundle, tmp_path / "toy.bundle")
    read = read_bundle(tmp_path / "toy.bundle")
    manifest = read.manifest
    assert (manifest.run_latent_dim, manifest.step_latent_dim, manifest.hidden_dim) == (2, 1, whole.generator.hidden_dim)
    assert manifest.training["dataset"] == {"training": runs[0].checksum(), "validation": runs[1].checksum(), "runs": 48}
    assert manifest.training["config"]["energy"]["members"] == 3
    assert manifest.training["ended_by"] == "updates"
    assert set(manifest.training["validation_crps_ratio"]) == {"temperature", "flow"}
    session = Session(read, z_mode="mean", parameters={"temperature_start": 300.0})
    x = torch.tensor([[0.0, 293.15, 300.0]])
    y, h = whole.generator.initial(x, torch.zeros(1, 3))
    assert session.initialize() == pytest.approx(dict(zip(("temperature", "flow"), y[0].tolist(), strict=True)), rel=1e-5)
    y, _ = whole.generator(x, torch.zeros(1, 3), h)
    expected = dict(zip(("temperature", "flow"), y[0].tolist(), strict=True))
    assert session.do_step() == pytest.approx(expected, rel=1e-5, abs=1e-4)
    assert len(check_session(lambda **options: Session(read, **options), manifest).kept) == 15


def test_the_domain_is_the_range_of_the_runs_with_a_margin_for_outputs_only(runs: Runs):
    domain = measure_domain(runs[0])
    power = runs[0].inputs[..., 0]
    assert (domain["power"].min, domain["power"].max) == (power.min(), power.max())
    start = runs[0].parameters[:, 0]
    assert (domain["temperature_start"].min, domain["temperature_start"].max) == (start.min(), start.max())
    flow = runs[0].outputs[..., 1]
    margin = 0.05 * (flow.max() - flow.min())
    assert (domain["flow"].min, domain["flow"].max) == pytest.approx((flow.min() - margin, flow.max() + margin))


def test_the_log_is_read_by_tensorboard(runs: Runs, tmp_path: Path):
    seen: list[Progress] = []
    names = runs[0].names(Causality.OUTPUT)
    with open_log(tmp_path / "log") as log:

        def report(progress: Progress) -> None:
            seen.append(progress)
            log(progress, names)

        train(*runs, CONFIG, report=report)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "log"), size_guidance={"scalars": 0})
    events.Reload()
    losses = events.Scalars("loss")
    assert [event.step for event in losses] == list(range(1, 21))
    assert [event.value for event in losses] == pytest.approx([progress.loss for progress in seen], rel=1e-6)
    validated = [progress for progress in seen if progress.validation]
    for tag, pick in (
        ("validation/score", lambda score: score.score),
        ("validation/crps_ratio/flow", lambda score: score.crps_ratio[1]),
        ("validation/spread_ratio/temperature", lambda score: score.spread_ratio[0]),
    ):
        assert [event.step for event in events.Scalars(tag)] == [progress.update for progress in validated]
        assert [event.value for event in events.Scalars(tag)] == pytest.approx([pick(p.validation) for p in validated], rel=1e-6)


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_the_log_is_read_by_mlflow(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    seen: list[Progress] = []
    names = runs[0].names(Causality.OUTPUT)
    with open_log(None, "toy", encode(CONFIG)) as log:

        def report(progress: Progress) -> None:
            seen.append(progress)
            log(progress, names)

        train(*runs, CONFIG, report=report)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["generator.memory_dim"] == "4"
    found = client.get_metric_history(run.info.run_id, "validation/crps_ratio/flow")
    assert [(metric.step, metric.value) for metric in found] == [
        (progress.update, pytest.approx(progress.validation.crps_ratio[1])) for progress in seen if progress.validation
    ]


def test_mlflow_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"pip install 'surrogate-fmu\[mlflow\]'"), open_log(None, "toy"):
        pass


def test_without_a_folder_nothing_is_logged(runs: Runs):
    with open_log(None) as log:
        train(*runs, dataclasses.replace(CONFIG, updates=1), report=lambda progress: log(progress, ("a", "b")))
