#!/usr/bin/env python3
"""Writes VERBS.md, the page of every verb's body and result, from verbs.json.

    proto/verbs.py           writes proto/VERBS.md
    proto/verbs.py --check   exit code 1 when the page is not what verbs.json says, or when
                             verbs.json breaks its own rules
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
TITLES = {
    "common": ("Every store", "What any store answers, whatever its kind, when its plugin offers it."),
    "admin": ("The built-in store `headgate`", "The operator's window (kind `admin`)."),
    "sql": ("Kind `sql`", "SQL stores."),
    "document": ("Kind `document`", "Document stores. Filters, updates, pipelines are MongoDB's own."),
    "key_value": ("Kind `key_value`", "Keys and values are bytes (`str` is taken as its UTF-8)."),
}
FIELDS = {"access", "body", "result", "stream", "upload", "needs", "note", "waits"}
TYPE = re.compile(r"^[^|]+\??$")


def faults(table):
    """What is wrong with verbs.json itself, one sentence each."""
    for kind, verbs in table.items():
        if kind == "about":
            continue
        if kind not in TITLES:
            yield f"{kind}: no such kind"
            continue
        for verb, v in verbs.items():
            at = f"{kind}.{verb}"
            if not re.fullmatch(r"[a-z][a-z_]*", verb):
                yield f"{at}: a verb is lower case"
            for field in sorted(set(v) - FIELDS):
                yield f"{at}: unknown field {field}"
            for field in ("access", "body", "result"):
                if field not in v:
                    yield f"{at}: lacks {field}"
            for name, kind_of in v.get("body", {}).items():
                if not TYPE.match(kind_of):
                    yield f"{at}.{name}: {kind_of} is no type"


def cell(text):
    return str(text).replace("|", "\\|")


def code(text):
    return f"`{cell(text)}`"


def body(fields):
    if not fields:
        return "`{}`"
    return "<br>".join(f"`{cell(name)}`: {cell(t)}" for name, t in fields.items())


def notes(v):
    out = []
    if v.get("needs"):
        out.append(f"Needs the option `{v['needs']}`.")
    if v.get("stream"):
        out.append(f"Streams with `fetch`: {v['stream'].rstrip('.')}.")
    if v.get("upload"):
        out.append(f"Upload: {v['upload'].rstrip('.')}.")
    if v.get("waits"):
        out.append("Waits by nature.")
    if v.get("note"):
        out.append(v["note"])
    return cell(" ".join(out))


def page(table):
    lines = [
        "# Verbs",
        "",
        "<!-- Written by proto/verbs.py from proto/verbs.json: edit that, then run it. -->",
        "",
        table["about"],
        "",
        "How a request carries them, and what an answer says besides: [PROTOCOL.md](PROTOCOL.md). Which"
        " of them a store offers, its `describe` says; the rest answer `unsupported`.",
    ]
    for kind, (title, about) in TITLES.items():
        if kind not in table:
            continue
        lines += ["", f"## {title}", "", about, "", "| verb | access | body | result | |",
                  "|---|---|---|---|---|"]
        for verb, v in table[kind].items():
            lines.append(f"| {code(verb)} | {cell(v['access'])} | {body(v['body'])} |"
                         f" {code(v['result'])} | {notes(v)} |")
    return "\n".join(lines) + "\n"


def main():
    table = json.loads((HERE / "verbs.json").read_text())
    wrong = list(faults(table))
    for w in wrong:
        print(f"verbs.json: {w}", file=sys.stderr)
    if wrong:
        return 1
    target = HERE / "VERBS.md"
    text = page(table)
    if "--check" not in sys.argv[1:]:
        target.write_text(text)
        return 0
    if not target.exists() or target.read_text() != text:
        print("VERBS.md is not what verbs.json says: run proto/verbs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
