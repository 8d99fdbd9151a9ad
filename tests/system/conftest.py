"""System tests: the real daemon, real sockets, real files. HEADGATE_BUILD names the build."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from gateway import Gateway  # noqa: E402
from postgres import Postgres  # noqa: E402


@pytest.fixture
def start():
    """start(daemon=..., grants=...) -> Gateway; all are closed at the end of the test."""
    made = []

    def make(*args, **kwargs):
        made.append(Gateway(*args, **kwargs))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def gw(start):
    return start()


@pytest.fixture(scope="module")
def pg():
    """A PostgreSQL that the tests of one file share; it must be left as it was."""
    with Postgres() as server:
        yield server


@pytest.fixture
def table(pg):
    """An empty table `t` of (id, who) in `pg`; called, it says how many rows there are."""
    pg.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, who text)")
    pg.sql("ALTER TABLE t OWNER TO app")
    return lambda: int(pg.sql("SELECT count(*) FROM t"))


@pytest.fixture
def own_pg():
    """own_pg(...) -> Postgres, for a test that stops, breaks or reconfigures it."""
    made = []

    def make(*args, **kwargs):
        made.append(Postgres(*args, **kwargs))
        return made[-1]

    yield make
    for server in made:
        server.close()
