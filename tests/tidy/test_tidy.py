"""The house rules as tests: who may include whom, banned calls, line width, file headers.

The include table is ARCHITECTURE.md's, "Who may include whom". Every folder may include itself,
proto and daemon/core (daemon folders only); beyond that what its row names.
"""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIDTH = 100

# folder -> what it may include of ours, beyond itself and proto
ALLOWED = {
    "proto": [],
    "daemon/core": [],
    "daemon/config": ["daemon/core"],
    "daemon/policy": ["daemon/core"],
    "daemon/plugin": ["daemon/core", "plugins/sdk"],
    "daemon/pool": ["daemon/core", "daemon/policy", "daemon/plugin"],
    "daemon/access": ["daemon/core"],
    "daemon/dispatch": ["daemon/core", "daemon/access", "daemon/pool"],
    "daemon/transport": ["daemon/core", "daemon/access", "daemon/dispatch"],
    "daemon/loop": ["daemon/core"],
    "daemon/admin": ["daemon/core", "daemon/access"],
    "plugins/sdk": [],
    "plugins/sqlite": ["plugins/sdk"],
    "plugins/postgres": ["plugins/sdk"],
    "client/cpp": [],
    "client/cli": ["client/cpp"],
}
ONLY_HERE = {"zmq": ["daemon/transport", "client/cpp", "client/cli/local", "bench", "tests"],
             "uv": ["daemon/loop"]}
# pattern -> (why, path prefixes it holds for, path prefixes excepted)
BANNED = {
    r"\b(?:usleep|nanosleep|sleep_for|sleep_until)\s*\(|(?<![\w:.])sleep\s*\(":
        ("wait for a condition, never for a time", ["daemon"], []),
    r"\bgetenv\s*\(": ("only configuration reads the environment", ["daemon", "plugins"],
                       ["daemon/config", "daemon/core/log", "daemon/main", "daemon/admin"]),
    r"std::cout": ("the daemon logs", ["daemon"], ["daemon/main"]),
    r"\.detach\s*\(": ("a thread is joined", ["daemon", "plugins", "client"], []),
    r"\bco_(?:await|yield|return)\b": ("gcc 12 destroys temporaries twice in co_await", [""], []),
}


def sources():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True,
                            capture_output=True, check=True).stdout.split()
    return [ROOT / f for f in listed if f.endswith((".hpp", ".cpp", ".h", ".c")) and (ROOT / f).is_file()]


def code_of(path):
    """Text without comments and string contents; line numbers stay."""
    text = path.read_text(encoding="utf-8")
    keep_lines = lambda m: "\n" * m.group(0).count("\n")
    text = re.sub(r"/\*.*?\*/", keep_lines, text, flags=re.S)
    return re.sub(r"//[^\n]*", "", text)


def owner(relative):
    best = [f for f in ALLOWED if relative.startswith(f + "/")]
    return max(best, key=len) if best else None


def test_there_is_something_to_check():
    assert len(sources()) > 20


def test_include_table():
    faults = []
    for path in sources():
        relative = str(path.relative_to(ROOT))
        folder = owner(relative)
        if folder is None:
            continue
        for n, line in enumerate(code_of(path).splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not m:
                continue
            target = owner(m.group(1))
            if target is None or target in (folder, "proto") or target in ALLOWED[folder]:
                continue
            faults.append(f"{relative}:{n}: {folder} may not include {m.group(1)}")
    assert not faults, "\n".join(faults)


def test_zmq_and_uv_stay_in_their_folders():
    faults = []
    for path in sources():
        relative = str(path.relative_to(ROOT))
        for n, line in enumerate(code_of(path).splitlines(), 1):
            m = re.match(r"\s*#\s*include\s+<(zmq|uv)\.hp?p?>", line)
            if m and not relative.startswith(tuple(ONLY_HERE[m.group(1)] + ["tests", "bench"])):
                faults.append(f"{relative}:{n}: <{m.group(1)}.h> belongs to {ONLY_HERE[m.group(1)][0]}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("pattern", BANNED)
def test_banned_calls(pattern):
    why, where, excepted = BANNED[pattern]
    faults = []
    for path in sources():
        relative = str(path.relative_to(ROOT))
        if not relative.startswith(tuple(where)) or (excepted and relative.startswith(tuple(excepted))):
            continue
        for n, line in enumerate(code_of(path).splitlines(), 1):
            if re.search(pattern, re.sub(r'"(?:\\.|[^"\\])*"', '""', line)):
                faults.append(f"{relative}:{n}: {line.strip()} ({why})")
    assert not faults, "\n".join(faults)


def test_line_width():
    faults = [f"{path.relative_to(ROOT)}:{n}: {len(line)} characters"
              for path in sources() for n, line in enumerate(path.read_text("utf-8").splitlines(), 1)
              if len(line) > WIDTH and "http" not in line]
    assert not faults, "\n".join(faults)


def test_a_header_says_what_it_is():
    faults = [str(p.relative_to(ROOT)) for p in sources()
              if p.suffix in (".hpp", ".h") and not p.read_text("utf-8").lstrip().startswith(("//", "/*"))]
    assert not faults, "\n".join(faults)


def test_no_path_of_a_machine():
    faults = []
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, text=True, capture_output=True,
                            check=True).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.suffix in (".json", ".bin") or not path.is_file() or name.startswith("tests/tidy/"):
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        faults += [f"{name}:{n}" for n, line in enumerate(text.splitlines(), 1)
                   if re.search(r"/work/(?:main|shared)|/root/|/home/\w+/", line)]
    assert not faults, "\n".join(faults)
