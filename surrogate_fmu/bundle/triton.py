"""A bundle as a model repository of NVIDIA Triton Inference Server.

    DIRECTORY/<name>/config.pbtxt    stateful model of Triton's PyTorch backend
    DIRECTORY/<name>/1/model.pt      the generator, one step per request
    DIRECTORY/<name>/manifest.json   what the numbers mean

Triton's sequence batcher sends the requests of one sequence to one instance in order, gathers steps of several sequences into a
batch, and keeps the hidden state between two requests (implicit state). The first request of a sequence gives the start of the
run, every further one a step; the caller draws z, by `surrogate_fmu.runtime.latent`. What Triton does not have: numbered
steps, snapshots, checks of ranges and of the training domain.

Names end with `__<place>`, by which the PyTorch backend orders the arguments and results of the TorchScript.
"""

from pathlib import Path

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_sequence_step
from surrogate_fmu.errors import BundleError, ConfigError

CONDITION, LATENT, HIDDEN, START = "CONDITION__0", "LATENT__1", "HIDDEN__2", "START__3"
OUTPUT, NEXT_HIDDEN = "OUTPUT__0", "NEXT_HIDDEN__1"
_CONFIG = """\
name: "{name}"
backend: "pytorch"
platform: "pytorch_libtorch"
max_batch_size: {batch}
input [
  {{ name: "{CONDITION}" data_type: TYPE_FP32 dims: [ {condition_dim} ] }},
  {{ name: "{LATENT}" data_type: TYPE_FP32 dims: [ {latent_dim} ] }}
]
output [
  {{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: [ {output_dim} ] }}
]
sequence_batching {{
  max_sequence_idle_microseconds: {idle_us}
  oldest {{
    max_candidate_sequences: {sequences}
    preferred_batch_size: [ {batch} ]
    max_queue_delay_microseconds: {delay_us}
  }}
  control_input [
    {{
      name: "{START}"
      control [ {{ kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] }} ]
    }}
  ]
  state [
    {{
      input_name: "{HIDDEN}"
      output_name: "{NEXT_HIDDEN}"
      data_type: TYPE_FP32
      dims: [ {hidden_dim} ]
      initial_state: [ {{ name: "zero" data_type: TYPE_FP32 dims: [ {hidden_dim} ] zero_data: true }} ]
    }}
  ]
}}
instance_group [ {{ count: 1 kind: {kind} }} ]
parameters {{ key: "INFERENCE_MODE" value: {{ string_value: "true" }} }}
parameters {{ key: "bundle_digest" value: {{ string_value: "{digest}" }} }}
parameters {{ key: "step_size_s" value: {{ string_value: "{step_size!r}" }} }}
"""


def write_triton_repository(
    bundle: Bundle, directory: Path, device: str = "cpu", batch: int = 32, sequences: int = 1024, idle_timeout_s: float = 3600.0
) -> Path:
    """Write the model beside the others of a repository.

    Args:
        bundle: what to serve.
        directory: of the repository; made where there is none.
        device: "cpu" or "cuda".
        batch: rows of a batch at most, 1 to 1024.
        sequences: that have their state in memory at once, at least `batch`.
        idle_timeout_s: a sequence that nobody called for so long loses its state [s].

    Returns:
        The folder of the model.

    Raises:
        ConfigError: a setting cannot be used, the model is there already, or the folder cannot be written.
        BundleError: torch cannot read the generator, or it has neither inputs nor parameters.
    """
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"device {device!r} is not for a Triton repository; give cpu or cuda, Triton chooses which one")
    if not (1 <= batch <= 1024 and sequences >= batch and 0 < idle_timeout_s < 1e12):
        raise ConfigError(
            f"batch {batch}, sequences {sequences}, idle_timeout_s {idle_timeout_s:g}: expected a batch from 1 to 1024, as many "
            "sequences or more, and a positive time"
        )
    manifest = bundle.manifest
    if not manifest.condition_dim:
        raise BundleError(
            f"{manifest.name!r} has neither inputs nor parameters, and Triton takes no empty tensor; serve it over gRPC"
        )
    folder = directory / manifest.name
    config = _CONFIG.format(
        **{name: globals()[name] for name in ("CONDITION", "LATENT", "HIDDEN", "START", "OUTPUT", "NEXT_HIDDEN")},
        name=manifest.name,
        batch=batch,
        condition_dim=manifest.condition_dim,
        latent_dim=max(1, manifest.latent_dim),
        hidden_dim=max(1, manifest.hidden_dim),
        output_dim=manifest.output_dim,
        idle_us=round(idle_timeout_s * 1e6),
        sequences=sequences,
        delay_us=0,
        kind="KIND_GPU" if device == "cuda" else "KIND_CPU",
        digest=bundle.digest,
        step_size=manifest.step_size,
    )
    model = export_sequence_step(bundle)
    try:
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.pt").write_bytes(model)
        (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        (folder / "config.pbtxt").write_text(config, encoding="utf-8")
    except FileExistsError as error:
        raise ConfigError(f"{folder} is there already; remove it, or give another directory") from error
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error}); give another directory") from error
    return folder
