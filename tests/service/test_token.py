"""Tokens: only those of a server with the key are taken, whole and unchanged."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surrogate_fmu.errors import ConfigError, SnapshotError
from surrogate_fmu.service.private_file import check_private
from surrogate_fmu.service.token import TokenKey, default_key_path

SECRET, OTHER = bytes(range(32)), bytes(range(1, 33))
KEY = TokenKey(SECRET)
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such file modes")


@given(st.binary(max_size=2000))
def test_a_token_gives_its_payload_back(payload: bytes):
    token = KEY.seal(payload)
    assert TokenKey(SECRET).open(token) == payload
    assert len(token) == len(payload) + 40
    assert KEY.seal(payload) == token, "equal states have equal tokens"


@given(st.binary(max_size=300), st.data())
def test_any_changed_bit_is_refused(payload: bytes, data: st.DataObject):
    token = bytearray(KEY.seal(payload))
    place = data.draw(st.integers(0, 8 * len(token) - 1))
    token[place // 8] ^= 1 << place % 8
    with pytest.raises(SnapshotError):
        KEY.open(bytes(token))


@given(st.binary(max_size=300), st.data())
def test_any_truncation_or_addition_is_refused(payload: bytes, data: st.DataObject):
    token = KEY.seal(payload)
    for wrong in (token[: data.draw(st.integers(0, len(token) - 1))], token + data.draw(st.binary(min_size=1, max_size=50))):
        with pytest.raises(SnapshotError):
            KEY.open(wrong)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda rest: b"SFT1" + rest)))
def test_bytes_that_the_service_did_not_make_are_refused(token: bytes):
    with pytest.raises(SnapshotError):
        KEY.open(token)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_parts_of_two_tokens_make_no_third(one: bytes, other: bytes):
    first, second = KEY.seal(one), KEY.seal(other)
    for wrong in (first[:-32] + second[-32:], first[:8] + second[8:-32] + first[-32:]):
        if wrong not in (first, second):
            with pytest.raises(SnapshotError):
                KEY.open(wrong)


def test_each_refusal_says_what_is_wrong():
    token = KEY.seal(b"payload")
    for wrong, said in (
        (b"", "0 bytes is truncated"),
        (token[:30], "30 bytes is truncated"),
        (token[:-1], "damaged or truncated"),
        (b"SFT2" + token[4:], r"begins with b'SFT2'.*another version"),
        (b"{" + token, "no token, or of another version"),
        (TokenKey(OTHER).seal(b"payload"), "another key; start the service with the --key-file"),
    ):
        with pytest.raises(SnapshotError, match=said):
            KEY.open(wrong)


def test_no_message_holds_bytes_of_the_signature_or_the_payload():
    token = KEY.seal(b"confidential numbers")
    with pytest.raises(SnapshotError) as caught:
        KEY.open(token[:-1])
    assert "confidential" not in str(caught.value)


def test_after_a_change_of_the_key_tokens_of_before_are_taken_and_new_ones_are_of_the_new_key():
    changed = TokenKey(OTHER, previous=(SECRET,))
    assert changed.open(KEY.seal(b"old")) == b"old"
    assert TokenKey(OTHER).open(changed.seal(b"new")) == b"new"
    with pytest.raises(SnapshotError, match="another key"):
        KEY.open(changed.seal(b"new"))


def test_a_key_of_before_that_is_the_present_one_changes_nothing():
    assert TokenKey(SECRET, previous=(SECRET, OTHER)).seal(b"") == KEY.seal(b"")


def test_random_keys_do_not_know_each_other():
    with pytest.raises(SnapshotError, match="another key"):
        TokenKey.random().open(TokenKey.random().seal(b""))


@pytest.mark.parametrize("secrets", [(b"",), (bytes(31),), (SECRET, b"short")])
def test_a_short_secret_is_refused(secrets: tuple[bytes, ...]):
    with pytest.raises(ConfigError, match="at least 32 are needed"):
        TokenKey(secrets[0], secrets[1:])


def test_a_key_file_is_made_once_and_kept(tmp_path: Path):
    path = tmp_path / "state" / "token.key"
    token = TokenKey.from_file(path).seal(b"x")
    assert TokenKey.from_file(path).open(token) == b"x"
    assert len(path.read_bytes()) == 32
    assert [file.name for file in path.parent.iterdir()] == ["token.key"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_of_servers_that_start_at_once_one_makes_the_key(tmp_path: Path):
    path = tmp_path / "token.key"
    code = (
        "import sys; from pathlib import Path; from surrogate_fmu.service.token import TokenKey; "
        "print(TokenKey.from_file(Path(sys.argv[1])).seal(b'').hex())"
    )
    command = [sys.executable, "-c", code, str(path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in processes}) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["token.key"]


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int):
    path = tmp_path / "token.key"
    TokenKey.from_file(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"key file .*mode {mode:04o}.* can be read by others; run: chmod 600"):
        TokenKey.from_file(path)


@posix
@pytest.mark.parametrize(("mode", "refused"), [(0o440, False), (0o400, False), (0o460, True), (0o444, True), (0o441, True)])
def test_a_file_of_root_may_be_read_by_the_group_that_the_server_is_in(
    tmp_path: Path, mode: int, refused: bool, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "token.key"
    path.write_bytes(SECRET)
    path.chmod(mode)
    if path.stat().st_uid != 0:
        pytest.skip("only root makes a file of root")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if refused:
        with pytest.raises(ConfigError, match="can be read by others"):
            check_private(path, "key file")
    else:
        check_private(path, "key file")


def test_a_key_file_that_is_too_short_is_named(tmp_path: Path):
    path = tmp_path / "token.key"
    path.touch(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ConfigError, match=rf"{path.name} has 5 bytes, at least 32 are needed"):
        TokenKey.from_file(path)


def test_a_key_file_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "token.key", tmp_path):
        with pytest.raises(ConfigError, match=r"--key-file|can be read by others"):
            TokenKey.from_file(path)


def test_the_key_lies_where_xdg_puts_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_key_path() == tmp_path / "surrogate-fmu" / "token.key"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert default_key_path() == tmp_path / ".local" / "state" / "surrogate-fmu" / "token.key"
