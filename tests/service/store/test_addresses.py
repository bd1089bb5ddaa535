"""Which address opens which store."""

import builtins
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from surrogate_fmu.errors import ConfigError
from surrogate_fmu.service.store import open_store


def test_none_is_no_store():
    assert open_store("none") is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "sessions.db", "sqlite", "sqlite:", "sqlite://", "sqlite:///", "sqlite://sessions.db", "SQLITE", "memory://"),
        *("sqlite:///a.db?synchronous=off", "sqlite:///a.db?sync=full", "sqlite:///a.db?synchronous=", "file:///a.db"),
    ],
)
def test_another_address_is_refused_and_writes_nothing(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"use none, sqlite:///relative/path.db"):
        open_store(url)
    assert not list(tmp_path.iterdir())


def test_a_password_in_an_address_of_no_known_kind_is_not_shown():
    with pytest.raises(ConfigError, match="'postgres' is of no known kind") as caught:
        open_store("postgres://me:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


def test_a_missing_client_of_redis_is_named(monkeypatch: pytest.MonkeyPatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("surrogate_fmu.service.store.find_spec", lambda name: None if name == "redis" else found(name))
    with pytest.raises(ConfigError, match=r"pip install 'surrogate-fmu\[redis\]'"):
        open_store("redis://127.0.0.1/0")


def test_sqlite_needs_no_client_of_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any):
    imported = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        assert not name.startswith("redis")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}")
    assert store is not None
    run(store.close())
