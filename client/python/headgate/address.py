"""Where a gateway listens, and with which keys: ``ipc:///path`` or ``tcp://host:port?server_key=...``."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from typing import List, Optional, Tuple
from urllib.parse import parse_qsl

from .errors import InvalidRequest

DEFAULT_URL = "ipc:///run/headgate/headgate.sock"
_Z85 = r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]"
_KEY_LINE = re.compile(rf'^\s*(public|secret)\s*=\s*"({_Z85}{{40}})"\s*(?:#.*)?$')


@dataclass(frozen=True)
class Address:
    endpoint: str
    server_key: Optional[bytes] = None
    public_key: Optional[bytes] = None
    secret_key: Optional[bytes] = None

    def __str__(self) -> str:
        return self.endpoint

    def why_not(self) -> str:
        """Why a connection could not be made: libzmq's monitor does not tell, so it is tried once."""
        if not self.endpoint.startswith("ipc://"):
            return "refused, or nobody listens there"
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.settimeout(1)
                probe.connect(self.endpoint[len("ipc://"):])
            except OSError as e:
                return e.strerror or str(e)
        return "the connection was closed"

    def __repr__(self) -> str:  # never the secret key
        return f"Address({self.endpoint!r})"


def read_key_file(path: str) -> Tuple[bytes, bytes]:
    """The client's (public, secret) key from a file that ``headgate keygen`` wrote."""
    keys = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                match = _KEY_LINE.match(line)
                if match:
                    keys[match.group(1)] = match.group(2).encode("ascii")
    except OSError as e:
        raise InvalidRequest(f"cannot read the key file {path}: {e.strerror}", code="invalid") from e
    if "public" not in keys or "secret" not in keys:
        raise InvalidRequest(f'{path} is no key file: it needs the lines public = "..." and '
                             'secret = "..." of 40 characters (see headgate keygen)', code="invalid")
    return keys["public"], keys["secret"]


def addresses(url: Optional[str], key_file: Optional[str]) -> List[Address]:
    """Parses one or several (comma-separated) URLs; the environment fills in what is not given."""
    url = url or os.environ.get("HEADGATE_URL") or DEFAULT_URL
    key_file = key_file or os.environ.get("HEADGATE_KEY_FILE")
    result = [_address(part.strip(), key_file) for part in url.split(",") if part.strip()]
    if not result:
        raise InvalidRequest(f"no gateway address in {url!r}", code="invalid")
    return result


def _address(url: str, key_file: Optional[str]) -> Address:
    endpoint, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=False))
    # Z85 has characters that URL decoding would change, so the key is taken from the raw text.
    raw = re.fullmatch(rf"server_key=({_Z85}{{40}})", query)
    unknown = set(options) - {"server_key"} if not raw else set()
    if unknown:
        raise InvalidRequest(f"unknown option {sorted(unknown)[0]!r} in {endpoint}?...", code="invalid")
    if endpoint.startswith("ipc://") and len(endpoint) > len("ipc://"):
        if query:
            raise InvalidRequest(f"an ipc address takes no options: {endpoint}", code="invalid")
        return Address(endpoint)
    if not re.match(r"^tcp://(\[[^\]]+\]|[^:/\[\]]+):\d{1,5}$", endpoint):
        raise InvalidRequest(f"{endpoint!r} is no gateway address: it must be ipc:///path or "
                             "tcp://host:port?server_key=KEY", code="invalid")
    if "server_key" in options and not raw:
        raise InvalidRequest("server_key must have 40 characters (Z85)", code="invalid")
    if not raw:
        return Address(endpoint)
    if not key_file:
        raise InvalidRequest(f"{endpoint} needs the client's key: give key_file or set "
                             "HEADGATE_KEY_FILE (headgate keygen makes one)", code="invalid")
    public, secret = read_key_file(key_file)
    return Address(endpoint, raw.group(1).encode("ascii"), public, secret)
