"""Files that are no whole bundle: every header bit flipped, every entry taken out or exchanged."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from surrogate_fmu.bundle.archive import (
    CHECKSUMS,
    GENERATOR,
    MANIFEST,
    Bundle,
    archive_bytes,
    make_bundle,
    read_bundle,
    write_archive,
)
from surrogate_fmu.errors import BundleError


def entries(bundle: Bundle) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive_bytes(bundle))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_entries(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def with_checksums(content: dict[str, bytes]) -> dict[str, bytes]:
    lines = [f"{hashlib.sha256(content[name]).hexdigest()}  {name}\n" for name in (MANIFEST, GENERATOR)]
    return {**content, CHECKSUMS: "".join(lines).encode()}


@pytest.fixture(scope="module")
def headers(toy_bundle: Bundle) -> tuple[bytes, list[int]]:
    """The file's bytes and the positions of all headers; between them lies compressed data, which the CRC and SHA cover."""
    content = archive_bytes(toy_bundle)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        places = list(range(archive.start_dir, len(content)))
        for entry in archive.infolist():
            places += range(entry.header_offset, entry.header_offset + 30 + len(entry.filename))
    return content, places


@pytest.mark.parametrize("bit", [0x01, 0x02, 0x04, 0x80, 0x06])
def test_no_flip_in_any_header_is_accepted_as_other_content(
    toy_bundle: Bundle, headers: tuple[bytes, list[int]], tmp_path: Path, bit: int
):
    content, places = headers
    path = tmp_path / "a.bundle"
    refused = 0
    for place in places:
        changed = bytearray(content)
        changed[place] ^= bit
        path.write_bytes(changed)
        try:
            assert read_bundle(path) == toy_bundle
        except BundleError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > len(places) // 4


@pytest.mark.parametrize("missing", [MANIFEST, GENERATOR, CHECKSUMS])
def test_a_missing_entry_is_named(toy_bundle: Bundle, tmp_path: Path, missing: str):
    content = {name: data for name, data in entries(toy_bundle).items() if name != missing}
    with pytest.raises(BundleError, match=f"is no bundle: it holds .*'{missing}'.* is missing"):
        read_bundle(write_entries(tmp_path / "a.bundle", content))


@pytest.mark.parametrize("changed", [MANIFEST, GENERATOR, CHECKSUMS])
def test_an_exchanged_entry_is_refused_though_the_zip_is_whole(toy_bundle: Bundle, tmp_path: Path, changed: str):
    content = entries(toy_bundle)
    content[changed] = content[changed].replace(b"7", b"8", 1) + b"\n"
    with pytest.raises(BundleError, match="changed after it was written: its checksums do not match"):
        read_bundle(write_entries(tmp_path / "a.bundle", content))


def test_another_generator_under_right_checksums_is_refused(toy_bundle: Bundle, tmp_path: Path):
    content = entries(toy_bundle)
    content[GENERATOR] = b"other weights"
    with pytest.raises(BundleError, match="the generator is not the one that the manifest describes"):
        read_bundle(write_entries(tmp_path / "a.bundle", with_checksums(content)))


def test_a_newer_version_in_a_whole_file_is_refused_with_what_to_do(toy_bundle: Bundle, tmp_path: Path):
    content = entries(toy_bundle)
    content[MANIFEST] = json.dumps({**json.loads(content[MANIFEST]), "schema_version": 9}).encode()
    with pytest.raises(BundleError, match=r"schema version 9, this surrogate-fmu reads version 1; upgrade surrogate-fmu"):
        read_bundle(write_entries(tmp_path / "a.bundle", with_checksums(content)))


def test_an_unknown_kind_of_payload_is_refused(toy_bundle: Bundle, tmp_path: Path):
    content = entries(toy_bundle)
    content[MANIFEST] = json.dumps({**json.loads(content[MANIFEST]), "payload": "onnx"}).encode()
    with pytest.raises(BundleError, match="onnx"):
        read_bundle(write_entries(tmp_path / "a.bundle", with_checksums(content)))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_LZMA])
def test_how_the_entries_are_compressed_does_not_matter(toy_bundle: Bundle, tmp_path: Path, compression: int):
    assert read_bundle(write_entries(tmp_path / "a.bundle", entries(toy_bundle), compression)) == toy_bundle


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path):
    (tmp_path / "a.bundle").write_text("weights")
    with pytest.raises(BundleError, match=r"damaged or truncated .*take an intact copy"):
        read_bundle(tmp_path / "a.bundle")


def test_a_missing_file_is_named_with_the_verb_that_makes_one(tmp_path: Path):
    with pytest.raises(BundleError, match=r"there is no bundle at .*none\.bundle; make one with: surrogate-fmu train"):
        read_bundle(tmp_path / "none.bundle")


def test_writing_leaves_no_partial_file_and_makes_folders(toy_bundle: Bundle, tmp_path: Path):
    write_archive(toy_bundle, tmp_path / "new" / "a.bundle")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bundle"]


def test_the_digest_tells_bundles_apart(toy_bundle: Bundle):
    other = make_bundle(toy_bundle.manifest.replace(description="another"), toy_bundle.payload)
    assert other.manifest.payload_sha256 == toy_bundle.manifest.payload_sha256
    assert other.digest != toy_bundle.digest
    assert make_bundle(toy_bundle.manifest, toy_bundle.payload).digest == toy_bundle.digest
