"""Puts the client package on the path; the tests of this folder need no daemon."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "client" / "python"))
