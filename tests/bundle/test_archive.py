"""Bundles on disk: round trip, and every kind of damage."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_fmu.bundle.archive import Bundle, archive_bytes, make_bundle, read_bundle, write_archive
from surrogate_fmu.errors import BundleError
from surrogate_fmu.manifest import Manifest
from tests.toy import make_toy_bundle


def test_what_is_written_is_read(tmp_path: Path, toy_bundle: Bundle):
    write_archive(toy_bundle, tmp_path / "a.bundle")
    assert read_bundle(tmp_path / "a.bundle") == toy_bundle


def test_equal_generators_give_equal_bytes(toy_bundle: Bundle):
    assert archive_bytes(make_toy_bundle()) == archive_bytes(toy_bundle)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_never_accepted_as_other_content(toy_bundle: Bundle, tmp_path_factory, data: st.DataObject):
    content = bytearray(archive_bytes(toy_bundle))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flipped") / "a.bundle"
    path.write_bytes(content)
    try:
        assert read_bundle(path) == toy_bundle
    except BundleError as error:
        assert str(error)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_bundle_is_refused(tmp_path: Path, toy_bundle: Bundle, share: float):
    content = archive_bytes(toy_bundle)
    (tmp_path / "a.bundle").write_bytes(content[: int(share * len(content))])
    with pytest.raises(BundleError, match="damaged or truncated"):
        read_bundle(tmp_path / "a.bundle")


def test_a_newer_version_is_refused(toy_bundle: Bundle):
    text = make_bundle(toy_bundle.manifest, toy_bundle.payload).manifest.to_json()
    with pytest.raises(BundleError, match="schema version 2"):
        Manifest.from_json(text.replace('"schema_version": 1', '"schema_version": 2'))
