"""Generators as TorchScript: what export refuses, what loading shares, devices."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle, make_bundle, read_bundle
from surrogate_fmu.bundle.torchscript import export_bundle, find_device, load_generator
from surrogate_fmu.errors import BundleError, DeviceError
from tests.toy import MANIFEST, ThermalMass

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "models").glob("*/*.bundle"))


class Layers(ThermalMass):
    """A convolution and linear layers between the toy's input and output."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(1, 4, 3, padding=1)
        self.hidden = torch.nn.Linear(12, 16)
        self.last = torch.nn.Linear(16, 2)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu(self.convolution((x + z).unsqueeze(1))).flatten(1)
        h = h + self.last(torch.tanh(self.hidden(features)))
        return h, h


class OneOutputTooFew(ThermalMass):
    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h[:, :1], h


class HiddenGrows(ThermalMass):
    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h[:, :2], torch.cat([h, h], 1)


class BatchOfOneOnly(ThermalMass):
    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h[:1], h[:1]


class NotANumber(ThermalMass):
    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h, h / (h - h)


class NotANumberAtTheStart(ThermalMass):
    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.log(x[:, :2] - x[:, :2] - 1.0)
        return h, h


class WithoutInitial(torch.nn.Module):
    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h, h


class Raising(ThermalMass):
    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return torch.matmul(x, h), h


class Unscriptable(ThermalMass):
    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h, dict.fromkeys(globals(), h)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (OneOutputTooFew(), r"forward gives y of shape \(1, 1\), the manifest says \(1, 2\)"),
        (HiddenGrows(), r"forward gives h of shape \(1, 4\), the manifest says \(1, 2\)"),
        (BatchOfOneOnly(), r"forward gives y of shape \(1, 2\), the manifest says \(2, 2\)"),
        (NotANumber(), "forward gives h that is not finite"),
        (NotANumberAtTheStart(), "initial gives y that is not finite"),
        (WithoutInitial(), r"does not keep initial\(x, z\) and forward\(x, z, h\)"),
        (Raising(), r"does not keep initial\(x, z\) and forward\(x, z, h\)"),
        (Unscriptable(), "cannot be turned into TorchScript"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_a_generator_that_breaks_the_contract_is_refused_at_export(module: torch.nn.Module, message: str):
    with pytest.raises(BundleError, match=message):
        export_bundle(module, MANIFEST)


def test_a_manifest_of_other_sizes_is_refused_at_export_and_at_loading(toy_bundle: Bundle):
    wrong = MANIFEST.replace(hidden_dim=5)
    with pytest.raises(BundleError, match=r"gives h of shape \(1, 2\), the manifest says \(1, 5\)"):
        export_bundle(ThermalMass(), wrong)
    with pytest.raises(BundleError, match=r"gives h of shape \(1, 2\), the manifest says \(1, 5\)"):
        load_generator(make_bundle(wrong, toy_bundle.payload))


def test_a_payload_that_is_no_torchscript_is_refused(toy_bundle: Bundle):
    with pytest.raises(BundleError, match="cannot read the generator"):
        load_generator(make_bundle(toy_bundle.manifest, b"no archive"))


def test_the_stored_generator_computes_what_the_module_does(toy_bundle: Bundle):
    random = torch.Generator().manual_seed(0)
    x, z, h = (torch.randn(6, size, generator=random) * 10 for size in (3, 3, 2))
    stored = load_generator(toy_bundle)
    module = ThermalMass()
    for got, expected in ((stored(x, z, h), module(x, z, h)), (stored.initial(x, z), module.initial(x, z))):
        # Fusing may contract a multiplication and an addition: a few units in the last place.
        assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-5) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_layers_that_loading_rewrites_compute_what_the_module_does(batch: int):
    torch.manual_seed(0)
    module = Layers()
    stored = load_generator(export_bundle(module, MANIFEST))
    x, z, h = (torch.randn(batch, size) for size in (3, 3, 2))
    with torch.no_grad():
        for got, expected in ((stored(x, z, h), module(x, z, h)), (stored.initial(x, z), module.initial(x, z))):
            # Sums of a few dozen terms of the order of one, in another order.
            assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_bits_do_not_depend_on_where_the_tensors_lie(path: Path):
    # A session makes x anew at every step, and h when it is restored, wherever there is memory.
    bundle = read_bundle(path)
    manifest, generator = bundle.manifest, load_generator(bundle)
    random = torch.Generator().manual_seed(0)
    start = torch.tensor([[v.start for v in manifest.condition for _ in range(v.size)]], dtype=torch.float32)
    with torch.inference_mode():
        for _ in range(20):
            x = start * (1.0 + 0.1 * torch.rand(start.shape, generator=random))
            z = torch.randn(1, manifest.latent_dim, generator=random)
            _, h = generator.initial(x, z)
            expected = generator(x, z, h)
            for offset in range(1, 16):
                got = generator(*(_moved(tensor, offset) for tensor in (x, z, h)))
                assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def _moved(tensor: Tensor, offset: int) -> Tensor:
    """The same values `offset` floats behind a boundary of 64 bytes."""
    memory = torch.empty(tensor.numel() + offset)
    assert memory.data_ptr() % 64 == 0
    return memory[offset:].view(tensor.shape).copy_(tensor)


def test_a_generator_is_loaded_once_per_process(toy_bundle: Bundle):
    assert load_generator(toy_bundle) is load_generator(make_bundle(toy_bundle.manifest, toy_bundle.payload))


def test_the_payload_holds_no_path_of_this_machine(toy_bundle: Bundle):
    with zipfile.ZipFile(io.BytesIO(toy_bundle.payload)) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
        assert not [name for name in archive.namelist() if "debug" in name]
    here = Path(__file__).resolve()
    for text in (str(here.parents[2]), str(here.parent), "toy.py", sys.prefix, "site-packages"):
        assert text.encode() not in content


def test_another_process_in_another_folder_makes_equal_bytes(toy_bundle: Bundle, tmp_path: Path):
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from tests.toy import make_toy_bundle
print(make_toy_bundle().digest)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == toy_bundle.digest


@pytest.mark.parametrize("name", ["", "gpu", "cpu:x", "cuda:-1", "CUDA"])
def test_a_name_that_is_no_device_is_refused(name: str):
    with pytest.raises(DeviceError, match="use 'cpu', 'cuda' or 'cuda:<index>'"):
        find_device(name)


@pytest.mark.parametrize("name", ["mps", "meta", "xpu"])
def test_a_device_that_is_not_supported_is_refused(name: str):
    with pytest.raises(DeviceError, match=f"device '{name}' is not supported"):
        find_device(name)


def test_a_cuda_device_that_this_machine_lacks_is_refused_with_the_count():
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    with pytest.raises(DeviceError, match=f"not on this machine, which has {count} CUDA devices"):
        find_device(f"cuda:{count}")


def test_cpu_is_found_with_and_without_an_index():
    assert find_device("cpu") == find_device("cpu:0") == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_a_generator_computes_the_same_on_cuda(toy_bundle: Bundle):
    random = torch.Generator().manual_seed(0)
    x, z, h = (torch.randn(6, size, generator=random) * 10 for size in (3, 3, 2))
    on_device = load_generator(toy_bundle, "cuda")(x.cuda(), z.cuda(), h.cuda())
    for got, expected in zip(on_device, load_generator(toy_bundle)(x, z, h), strict=True):
        assert torch.allclose(got.cpu(), expected, rtol=1e-5, atol=1e-4)
