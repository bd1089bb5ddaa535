"""Generators as TorchScript: the only torch.jit calls of the package.

A stored generator is a scripted module with two methods (shapes as in `Manifest`, float32, physical units):

    initial(x, z)    -> (y, h)     x (batch, condition_dim), z (batch, latent_dim): outputs and hidden state at the start
    forward(x, z, h) -> (y, h')    y (batch, output_dim), h (batch, hidden_dim): one step of `step_size`
"""

import io
import threading
import warnings
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle, make_bundle
from surrogate_fmu.errors import BundleError, DeviceError
from surrogate_fmu.manifest import Manifest

_WARM_UP_STEPS = 3  # the profiling executor settles within two calls
_loaded: dict[tuple[str, str], torch.jit.ScriptModule] = {}
_loading = threading.Lock()


def export_bundle(module: torch.nn.Module, manifest: Manifest) -> Bundle:
    """Script a generator module, check that it keeps the contract, and put it into a bundle.

    Raises:
        BundleError: the module cannot be scripted, or does not keep the contract.
    """
    module = module.cpu().eval()
    try:
        with _DeprecationsIgnored():
            scripted = module if isinstance(module, torch.jit.ScriptModule) else torch.jit.script(module)
            buffer = io.BytesIO()
            torch.jit.save(scripted, buffer)
    except (RuntimeError, torch.jit.frontend.FrontendError) as error:
        raise BundleError(f"the generator cannot be turned into TorchScript: {error}") from error
    check_generator(scripted, manifest)
    return make_bundle(manifest, _without_debug_records(buffer.getvalue()))


def read_torchscript(path: Path) -> torch.jit.ScriptModule:
    """A generator that was trained and scripted anywhere, on the CPU.

    Raises:
        BundleError: there is no such file, or torch cannot read it.
    """
    if not path.is_file():
        raise BundleError(f"there is no TorchScript file at {path}; write one with torch.jit.script(module).save(path)")
    try:
        with _DeprecationsIgnored():
            return torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-any-return, no-untyped-call]
    except RuntimeError as error:
        raise BundleError(f"torch {torch.__version__} cannot read {path} as TorchScript: {error}") from error


def load_generator(bundle: Bundle, device: str = "cpu") -> torch.jit.ScriptModule:
    """The bundle's generator on a device, loaded and warmed up once per process; it holds no state, so all sessions share it.

    Raises:
        BundleError: torch cannot read the payload, or it does not keep the contract.
        DeviceError: this machine has no such device.
    """
    target = find_device(device)
    with _loading:
        key = (bundle.digest, str(target))
        if key not in _loaded:
            with _DeprecationsIgnored():
                # Linear layers become products with weights that are laid out for them: a tenth off a small generator's step.
                module = torch.jit.optimize_for_inference(_freeze(bundle, target))
            check_generator(module, bundle.manifest, target)
            _loaded[key] = module
        return _loaded[key]


def load_rollout(bundle: Bundle, device: str = "cpu") -> torch.jit.ScriptModule:
    """The bundle's generator on a device with the loop over steps inside TorchScript, as one more method.

        rollout(x, z, h) -> (y, h')    x (step, batch, condition_dim), z (step, batch, latent_dim), h (batch, hidden_dim):
                                       y (step, batch, output_dim), and h' after the last step

    Raises:
        BundleError, DeviceError: as `load_generator`.
    """
    target = find_device(device)
    with _loading:
        key = (bundle.digest + " rollout", str(target))
        if key not in _loaded:
            _loaded[key] = _freeze(bundle, target, _ROLLOUT)
        return _loaded[key]


def load_differentiable(bundle: Bundle, device: str = "cpu") -> torch.jit.ScriptModule:
    """The generator of `load_rollout` to be differentiated, or run for few steps of ever other lengths; within `unspecialised`.

    Raises:
        BundleError, DeviceError: as `load_generator`.
    """
    target = find_device(device)
    with _loading:
        key = (bundle.digest + " differentiable", str(target))
        if key not in _loaded:
            try:
                with _DeprecationsIgnored():
                    module = torch.jit.load(io.BytesIO(bundle.payload), map_location=target)  # type: ignore[no-untyped-call]
                    module.define(_ROLLOUT)
            except RuntimeError as error:
                raise BundleError(f"torch {torch.__version__} cannot read the generator: {error}") from error
            for weight in module.parameters():
                weight.requires_grad_(False)
            _loaded[key] = module.eval()
        return _loaded[key]


def unspecialised() -> AbstractContextManager[None]:
    """Calls within are not recompiled for the shapes that they see: seconds each time for a loop that is differentiated."""
    found: AbstractContextManager[None] = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    return found


def export_sequence_step(bundle: Bundle) -> bytes:
    """The generator as one TorchScript function for servers that keep the hidden state of a sequence and tell where one begins.

        forward(x, z, h, start) -> (y, h')

    x (batch, condition_dim), z (batch, max(1, latent_dim)), h (batch, max(1, hidden_dim)), start (batch, 1), float32. A row whose
    start is not 0 gives the start of a run from x and the run latents of z, and h is not read; any other is one step. The columns
    of a size that is 0 are not read, and are 0 in h'.

    Raises:
        BundleError: torch cannot read the payload, or it does not keep the contract.
    """
    manifest = bundle.manifest
    check_generator(_freeze(bundle, torch.device("cpu")), manifest)
    buffer = io.BytesIO()
    with _DeprecationsIgnored():
        generator = torch.jit.load(io.BytesIO(bundle.payload), map_location="cpu")  # type: ignore[no-untyped-call]
        step = _SequenceStep(generator, manifest.run_latent_dim, manifest.latent_dim, manifest.hidden_dim)
        torch.jit.save(torch.jit.freeze(torch.jit.script(step.eval())), buffer)
    return _without_debug_records(buffer.getvalue())


class _SequenceStep(torch.nn.Module):
    def __init__(self, generator: torch.jit.ScriptModule, run_latent_dim: int, latent_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.generator = generator
        self.run_latent_dim = run_latent_dim
        self.latent_dim = latent_dim
        self.hidden_dim = hidden_dim

    def forward(self, x: Tensor, z: Tensor, h: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        z, h, begins = z[:, : self.latent_dim], h[:, : self.hidden_dim], start.reshape(-1, 1) != 0
        # what a server has there before the first step of a sequence need not be finite
        y, following = self.generator.forward(x, z, torch.where(begins, torch.zeros_like(h), h))
        if bool(begins.any()):
            run_latents = torch.cat([z[:, : self.run_latent_dim], torch.zeros_like(z[:, self.run_latent_dim :])], 1)
            first_y, first_h = self.generator.initial(x, run_latents)
            y, following = torch.where(begins, first_y, y), torch.where(begins, first_h, following)
        if self.hidden_dim == 0:
            following = torch.zeros_like(y[:, :1])
        return y, following


_ROLLOUT = """
def rollout(self, x: Tensor, z: Tensor, h: Tensor) -> Tuple[Tensor, Tensor]:
    outputs: List[Tensor] = []
    for step in range(x.size(0)):
        y, h = self.forward(x[step], z[step], h)
        outputs.append(y)
    return torch.stack(outputs), h
"""


def read_generator(bundle: Bundle) -> torch.jit.ScriptModule:
    """The bundle's generator with its weights as constants of the graph, in the operations that it was written in.

    Raises:
        BundleError: torch cannot read the payload, or it does not keep the contract.
    """
    module = _freeze(bundle, torch.device("cpu"))
    check_generator(module, bundle.manifest)
    return module


def _freeze(bundle: Bundle, target: torch.device, method: str = "") -> torch.jit.ScriptModule:
    """The generator with its weights as constants; `method` is the source of one more method, called rollout."""
    try:
        with _DeprecationsIgnored():
            loaded = torch.jit.load(io.BytesIO(bundle.payload), map_location=target)  # type: ignore[no-untyped-call]
            if method:
                loaded.define(method)
            # Weights become constants of the graph: about a third off a small generator's step.
            kept = ["initial", "rollout"] if method else ["initial"]
            return torch.jit.freeze(loaded.eval(), preserved_attrs=kept)  # type: ignore[no-any-return]
    except RuntimeError as error:
        raise BundleError(f"torch {torch.__version__} cannot read the generator: {error}") from error


def find_device(name: str) -> torch.device:
    """The torch device of that name: "cpu", "cuda", "cuda:1".

    Raises:
        DeviceError: the name is no device, or this machine does not have it.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device {name!r} is not a device name; use 'cpu', 'cuda' or 'cuda:<index>'") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise DeviceError(f"device {name!r} is not supported; use 'cpu', 'cuda' or 'cuda:<index>'")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise DeviceError(f"device {name!r} is not on this machine, which has {count} CUDA devices; use 'cpu' or one of those")
    return device


def check_generator(module: Any, manifest: Manifest, device: torch.device | None = None) -> None:
    """Run the generator at the start values with batches of one and two and compare what comes with the manifest.

    Raises:
        BundleError: a method is missing, a shape differs, or a value is not finite.
    """
    device = device or torch.device("cpu")
    start = [variable.start for variable in manifest.condition for _ in range(variable.size)]
    with torch.inference_mode():
        for batch in (1, 2):
            x = torch.tensor([start] * batch, dtype=torch.float32, device=device).reshape(batch, manifest.condition_dim)
            z = torch.zeros(batch, manifest.latent_dim, device=device)
            try:
                y, h = module.initial(x, z)
                _check_result("initial", y, h, batch, manifest)
                for _ in range(_WARM_UP_STEPS):
                    y, h = module(x, z, h)
                    _check_result("forward", y, h, batch, manifest)
            except (AttributeError, RuntimeError, TypeError) as error:
                raise BundleError(f"the generator does not keep initial(x, z) and forward(x, z, h): {error}") from error


def _check_result(method: str, y: Tensor, h: Tensor, batch: int, manifest: Manifest) -> None:
    for letter, tensor, size in (("y", y, manifest.output_dim), ("h", h, manifest.hidden_dim)):
        if tensor.shape != (batch, size):
            raise BundleError(
                f"the generator's {method} gives {letter} of shape {tuple(tensor.shape)}, the manifest says {(batch, size)}"
            )
        if not torch.isfinite(tensor).all():
            raise BundleError(f"the generator's {method} gives {letter} that is not finite at the start values")


def _without_debug_records(payload: bytes) -> bytes:
    """TorchScript archives carry source positions with this machine's paths; without them equal weights give equal bytes."""
    source, target = zipfile.ZipFile(io.BytesIO(payload)), io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for entry in source.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                archive.writestr(zipfile.ZipInfo(entry.filename, (1980, 1, 1, 0, 0, 0)), source.read(entry))
    return target.getvalue()


class _DeprecationsIgnored(warnings.catch_warnings):
    """torch.jit warns that it is deprecated; the bundle format is TorchScript by choice (docs/design.md)."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
