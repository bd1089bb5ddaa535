"""The file format: a zip of `manifest.json`, `generator.pt` (TorchScript) and `SHA256SUMS` over both.

Equal contents give equal bytes. Nothing in it is unpickled by this module, and checksums are compared before the
payload reaches torch.
"""

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from surrogate_fmu.errors import BundleError
from surrogate_fmu.manifest import Manifest

MANIFEST, GENERATOR, CHECKSUMS = "manifest.json", "generator.pt", "SHA256SUMS"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in memory.

    Attributes:
        manifest: the description.
        payload: the bytes of the generator.
        digest: SHA-256 of manifest and payload, hexadecimal; it names this bundle in snapshots and services.
    """

    manifest: Manifest
    payload: bytes
    digest: str


def make_bundle(manifest: Manifest, payload: bytes) -> Bundle:
    """Put manifest and payload together; the manifest's checksum is that of the payload from here on."""
    manifest = manifest.replace(payload_sha256=hashlib.sha256(payload).hexdigest())
    return Bundle(manifest, payload, hashlib.sha256(_checksums(manifest, payload)).hexdigest())


def write_archive(bundle: Bundle, path: Path) -> None:
    """Write a bundle; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(archive_bytes(bundle))
    partial.replace(path)


def archive_bytes(bundle: Bundle) -> bytes:
    """The bundle's file as bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            (MANIFEST, bundle.manifest.to_json().encode()),
            (GENERATOR, bundle.payload),
            (CHECKSUMS, _checksums(bundle.manifest, bundle.payload)),
        ):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def read_bundle(path: Path | str) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BundleError: the file is missing, truncated, changed, or of a version that this package does not read.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"there is no bundle at {path}; make one with: surrogate-fmu train")
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            missing = {MANIFEST, GENERATOR, CHECKSUMS} - names
            if missing:
                raise BundleError(f"{path} is no bundle: it holds {sorted(names)}, {sorted(missing)} is missing")
            manifest_text, payload, checksums = (archive.read(name) for name in (MANIFEST, GENERATOR, CHECKSUMS))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{path} is damaged or truncated ({error}); take an intact copy") from error
    if _checksum_lines(manifest_text, payload) != checksums:
        raise BundleError(f"{path} was changed after it was written: its checksums do not match; take an intact copy")
    manifest = Manifest.from_json(manifest_text)
    if hashlib.sha256(payload).hexdigest() != manifest.payload_sha256:
        raise BundleError(f"{path}: the generator is not the one that the manifest describes; take an intact copy")
    return Bundle(manifest, payload, hashlib.sha256(checksums).hexdigest())


def _checksums(manifest: Manifest, payload: bytes) -> bytes:
    return _checksum_lines(manifest.to_json().encode(), payload)


def _checksum_lines(manifest_text: bytes, payload: bytes) -> bytes:
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in ((MANIFEST, manifest_text), (GENERATOR, payload))
    ]
    return "".join(lines).encode()
