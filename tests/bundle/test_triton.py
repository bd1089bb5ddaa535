"""The model repository for Triton: its configuration, and its TorchScript driven as Triton drives it."""

import io
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_fmu.bundle.archive import Bundle, write_archive
from surrogate_fmu.bundle.torchscript import export_bundle, export_sequence_step
from surrogate_fmu.bundle.triton import write_triton_repository
from surrogate_fmu.cli.main import main
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.manifest import Manifest
from surrogate_fmu.runtime.latent import LatentStream
from surrogate_fmu.runtime.session import Session
from tests.service.conftest import FIELD_MANIFEST, Field

POWERS = [0.0, 10.0, -20.0, 30.0, 5.0]


@pytest.fixture(scope="module")
def field_bundle() -> Bundle:
    return export_bundle(Field(), FIELD_MANIFEST)


def load(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
        return torch.jit.load(io.BytesIO(data))


def sequence_outputs(bundle: Bundle, seeds: list[int], first_requests: list[int]) -> list[list[np.ndarray]]:
    """Outputs of some runs that share batches; run r begins at request first_requests[r], when the others are under way."""
    manifest, step = bundle.manifest, load(export_sequence_step(bundle))
    streams = [LatentStream(seed, manifest.run_latent_dim, manifest.step_latent_dim) for seed in seeds]
    hidden = torch.full((len(seeds), max(1, manifest.hidden_dim)), float("nan"))
    outputs: list[list[np.ndarray]] = [[] for _ in seeds]
    for request in range(max(first_requests) + len(POWERS) + 1):
        x, z, start = (torch.zeros(len(seeds), size) for size in (manifest.condition_dim, max(1, manifest.latent_dim), 1))
        for row, (stream, first) in enumerate(zip(streams, first_requests, strict=True)):
            point = request - first
            power = POWERS[min(max(point - 1, 0), len(POWERS) - 1)]
            x[row] = torch.tensor([power, 290.0, 300.0])
            start[row] = float(point == 0)
            z[row] = torch.from_numpy(np.concatenate([stream.run_latent, stream.step_latents(max(point - 1, 0), 1)[0]]))
        y, hidden = step(x, z, hidden, start)
        for row, first in enumerate(first_requests):
            if 0 <= request - first <= len(POWERS):
                outputs[row].append(y[row].numpy())
    return outputs


@pytest.mark.parametrize("first_requests", [[0, 0, 0], [0, 1, 4]])
def test_sequences_that_share_batches_give_the_numbers_of_sessions(toy_bundle: Bundle, first_requests: list[int]):
    seeds = [3, 8, 9]
    for seed, outputs in zip(seeds, sequence_outputs(toy_bundle, seeds, first_requests), strict=True):
        with Session(toy_bundle, seed=seed, parameters={"temperature_start": 300.0}) as session:
            session.set_values({"ambient_temperature": 290.0})
            rows = [session.initialize(), *(session.do_step({"power": power}) for power in POWERS)]
        expected = [[row["temperature"], row["flow"]] for row in rows]
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-4)


def test_a_generator_without_memory_keeps_one_zero(field_bundle: Bundle):
    step = load(export_sequence_step(field_bundle))
    for start in (0.0, 1.0):
        y, hidden = step(torch.ones(3, 4), torch.zeros(3, 1), torch.full((3, 1), float("nan")), torch.full((3, 1), start))
        assert y.shape == (3, 7) and y.isfinite().all() and torch.equal(hidden, torch.zeros(3, 1))


def read_config(folder: Path) -> Any:
    if find_spec("tritonclient") is None:
        pytest.skip("tritonclient is not installed (pip install tritonclient protobuf)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2

    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def test_the_configuration_is_a_model_config_of_triton(toy_bundle: Bundle, tmp_path: Path):
    folder = write_triton_repository(toy_bundle, tmp_path, "cuda", batch=16, sequences=64, idle_timeout_s=2.5)
    config = read_config(folder)
    assert (config.name, config.backend, config.max_batch_size) == (folder.name, "pytorch", 16)
    assert {(i.name, tuple(i.dims)) for i in config.input} == {("CONDITION__0", (3,)), ("LATENT__1", (3,))}
    assert [(o.name, tuple(o.dims)) for o in config.output] == [("OUTPUT__0", (2,))]
    batching = config.sequence_batching
    assert batching.max_sequence_idle_microseconds == 2_500_000 and batching.oldest.max_candidate_sequences == 64
    (state,) = batching.state
    assert (state.input_name, state.output_name, tuple(state.dims)) == ("HIDDEN__2", "NEXT_HIDDEN__1", (2,))
    assert state.initial_state[0].zero_data and tuple(state.initial_state[0].dims) == (2,)
    (control,) = batching.control_input
    assert control.name == "START__3" and list(control.control[0].fp32_false_true) == [0.0, 1.0]
    assert config.parameters["bundle_digest"].string_value == toy_bundle.digest


def test_the_folder_holds_what_triton_loads(toy_bundle: Bundle, tmp_path: Path):
    folder = write_triton_repository(toy_bundle, tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        "thermal_mass/1/model.pt",
        "thermal_mass/config.pbtxt",
        "thermal_mass/manifest.json",
    ]
    names = [argument.name for argument in load((folder / "1" / "model.pt").read_bytes()).forward.schema.arguments]
    assert names == ["self", "x", "z", "h", "start"], "the places in the configuration's names"
    assert Manifest.from_json((folder / "manifest.json").read_text()) == toy_bundle.manifest


def test_equal_bundles_give_equal_configurations(toy_bundle: Bundle, tmp_path: Path):
    one, two = (write_triton_repository(toy_bundle, tmp_path / name) for name in ("one", "two"))
    for name in ("config.pbtxt", "manifest.json"):  # names inside the TorchScript are numbered by the process
        assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.parametrize(
    "settings", [{"device": "cuda:1"}, {"batch": 0}, {"batch": 2000, "sequences": 5000}, {"sequences": 3}, {"idle_timeout_s": 0.0}]
)
def test_settings_that_cannot_be_used_are_refused(toy_bundle: Bundle, tmp_path: Path, settings: dict):
    with pytest.raises(ConfigError, match=r"expected|give cpu or cuda"):
        write_triton_repository(toy_bundle, tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_the_verb_writes_and_does_not_overwrite(toy_bundle: Bundle, tmp_path: Path, capsys):
    bundle, repository = tmp_path / "a.bundle", tmp_path / "models"
    write_archive(toy_bundle, bundle)
    command = ["export", str(bundle), "--to", "triton", "-o", str(repository)]
    assert main(command) == 0
    assert f"tritonserver --model-repository {repository}" in capsys.readouterr().out
    assert main(command) == 2
    assert "is there already; remove it, or give another directory" in capsys.readouterr().err
