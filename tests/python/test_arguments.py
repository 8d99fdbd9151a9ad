"""What the client refuses before it sends anything, and values at the ends of their ranges."""

import datetime

import headgate
import pytest
from headgate import wire
from headgate.address import addresses

UTC = datetime.timezone.utc
EAST = datetime.timezone(datetime.timedelta(hours=14))


@pytest.mark.parametrize("instant", [
    datetime.datetime(1900, 1, 1, 1, 1, 1, 1, tzinfo=UTC),
    datetime.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime.datetime(1, 1, 1, tzinfo=UTC),
    datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime.datetime(2026, 7, 1, 12, 0, 0, 123457, tzinfo=EAST),
])
def test_instants_are_exact_to_the_microsecond(instant):
    assert wire.unpack(wire.pack(instant)) == instant


def test_an_instant_before_the_year_1_keeps_its_value():
    """Python's datetime cannot hold it, so it comes back as what msgpack calls it."""
    back = wire.unpack(wire.pack(datetime.datetime(1, 1, 1, tzinfo=EAST)))
    assert (back.seconds, back.nanoseconds) == (-62135596800 - 14 * 3600, 0)


@pytest.mark.parametrize("value", ["\ud800", {1, 2}, object(), 1j, headgate.Interval(2**40, 0, 0),
                                   headgate.Bson(300, b"")])
def test_what_has_no_form_is_refused(value):
    with pytest.raises(headgate.InvalidRequest):
        wire.pack(value)


def key_file(path, public, secret):
    path.write_bytes(b'public = "' + public + b'"\nsecret = "' + secret + b'"\n')
    return str(path)


@pytest.mark.parametrize("public", ["é".encode() * 40, b"'" * 40, b"\xff" * 40, b"a" * 39])
def test_a_key_that_is_no_z85_is_refused(tmp_path, public):
    url = "tcp://127.0.0.1:1?server_key=" + "a" * 40
    with pytest.raises(headgate.InvalidRequest, match="is no key file"):
        addresses(url, key_file(tmp_path / "key", public, b"b" * 40))
    with pytest.raises(headgate.InvalidRequest, match="server_key"):
        addresses("tcp://127.0.0.1:1?server_key=" + "é" * 40, None)


def test_a_key_of_every_character_of_z85_is_taken(tmp_path):
    z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    for at in (0, 40, 45):
        key = z85[at:at + 40]
        a, = addresses("tcp://h:1?server_key=" + key.decode(), key_file(tmp_path / "key", key, key))
        assert a.server_key == a.public_key == a.secret_key == key


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), 86401, 1e12])
def test_a_timeout_that_is_none(timeout):
    with pytest.raises(headgate.InvalidRequest, match="timeout must be"):
        headgate.connect("ipc:///nowhere/hg.sock", timeout=timeout)


def test_an_endpoint_that_no_socket_takes():
    with pytest.raises(headgate.InvalidRequest, match="too long"):
        headgate.connect("ipc://" + "/long" * 50, timeout=1)
