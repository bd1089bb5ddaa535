"""Every completed trajectory is the undisturbed one, bit for bit, whatever happens to the server and the messages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.faults.farm import Farm
from tests.service.faults.redis_server import redis_server
from tests.service.faults.trials import disturbed, drained, killed

STORES = ("none", "sqlite", "redis")


@pytest.fixture(scope="module")
def farm(toy_bundle_path: Path) -> Iterator[Farm]:
    with Farm(toy_bundle_path) as farm:
        yield farm


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, redis: str | None) -> str:
    if request.param == "redis":
        return redis or pytest.skip("redis-server is not on this machine; install Debian's redis-server")
    return "none" if request.param == "none" else f"sqlite:///{tmp_path}/sessions.db"


def check(counts: dict[str, int]) -> None:
    assert counts["equal"] == counts["trajectories"], counts
    assert counts["steps"] > 20, counts


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_a_server_that_is_killed(farm: Farm, tmp_path: Path, store: str):
    counts = killed(farm, tmp_path, store, kills=4, seed=1)
    check(counts)
    assert counts["recoveries"] >= 3, counts


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_a_server_that_drains(farm: Farm, tmp_path: Path, store: str):
    check(drained(farm, tmp_path, store, stops=2, seed=1))


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_messages_that_are_lost_repeated_and_late(farm: Farm, tmp_path: Path, store: str):
    counts = disturbed(farm, tmp_path, store, seconds=3.0, seed=1)
    check(counts)
    assert min(counts["request lost"], counts["reply lost"], counts["sent twice at once"], counts["sent again late"]) > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", STORES, indirect=True)
def test_many_kills(farm: Farm, tmp_path: Path, store: str):
    check(killed(farm, tmp_path, store, kills=60, seed=2))
