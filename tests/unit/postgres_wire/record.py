#!/usr/bin/python3
"""Records what a real PostgreSQL says, for the tests of the wire codec.

    record.py SOCKET_FOLDER            # of an empty server that lets user postgres in (auth trust)

It writes recorded/conversations/*.bin (the server's bytes), *.txt (one line a message: tag and bytes
of its payload), recorded/types.jsonl (values of every type, as the server writes them in text and in
binary) and recorded/catalog.bin (the answers to recorded/lookup.sql for the user's types).
"""

import json
import pathlib
import socket
import struct
import sys

HERE = pathlib.Path(__file__).parent / "recorded"


def cstr(s):
    return s.encode() + b"\0"


def message(tag, payload=b""):
    return tag.encode() + struct.pack("!i", len(payload) + 4) + payload


def parse(sql, name=""):
    return message("P", cstr(name) + cstr(sql) + struct.pack("!h", 0))


def bind(params=(), formats=(), name="", portal=""):
    out = cstr(portal) + cstr(name) + struct.pack("!hh", 0, len(params))
    for p in params:
        out += struct.pack("!i", -1) if p is None else struct.pack("!i", len(p)) + p
    return message("B", out + struct.pack(f"!h{len(formats)}h", len(formats), *formats))


def describe(what, name=""):
    return message("D", what.encode() + cstr(name))


def execute(rows=0, portal=""):
    return message("E", cstr(portal) + struct.pack("!i", rows))


SYNC = message("S")


class Server:
    """One connection; `raw` is everything that it has said since the last take()."""

    def __init__(self, folder, **settings):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{folder}/.s.PGSQL.5432")
        self.raw, self.buffer = b"", b""
        options = {"user": "postgres", "database": "postgres", "client_encoding": "UTF8", **settings}
        body = struct.pack("!i", 196608) + b"".join(cstr(k) + cstr(v) for k, v in options.items()) + b"\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.key = b"K" + struct.pack("!i", 12) + dict(self.until("Z"))["K"]

    def message(self):
        while True:
            if len(self.buffer) >= 5:
                n = struct.unpack("!i", self.buffer[1:5])[0] + 1
                if len(self.buffer) >= n:
                    m, self.buffer = self.buffer[:n], self.buffer[n:]
                    self.raw += m
                    return chr(m[0]), m[5:]
            try:
                got = self.socket.recv(1 << 20)
            except ConnectionResetError:
                got = b""
            if not got:
                return None, b""
            self.buffer += got

    def until(self, *tags):
        out = []
        while True:
            tag, payload = self.message()
            out.append((tag, payload))
            if tag is None or tag in tags:
                return out

    def ask(self, *messages, until=("Z",)):
        self.socket.sendall(b"".join(messages))
        return self.until(*until)

    def run(self, sql):
        for tag, payload in self.ask(message("Q", cstr(sql))):
            if tag == "E":
                raise SystemExit(f"{sql}: {payload}")

    def take(self):
        raw, self.raw = self.raw, b""
        return raw


def save(name, raw):
    lines, at = [], 0
    while at < len(raw):
        n = struct.unpack("!i", raw[at + 1:at + 5])[0]
        lines.append(f"{chr(raw[at])} {n - 4}\n")
        at += n + 1
    (HERE / "conversations" / f"{name}.bin").write_bytes(raw)
    (HERE / "conversations" / f"{name}.txt").write_text("".join(lines))


def conversations(folder):
    s = Server(folder)
    s.raw = s.raw.replace(s.key, b"K" + struct.pack("!iii", 12, 4711, 12345))  # no real cancel key
    save("login", s.take())
    s.ask(parse("select 1::int4 as one, 'two' as two, null::text"), describe("S"), bind(formats=(1,)),
          execute(), SYNC)
    save("select", s.take())
    s.run("create table t (id int primary key, v text not null, parent int references t(id) "
          "deferrable initially deferred)")
    save("ddl", s.take())
    for sql in ("insert into t values (1, 'a', null), (2, 'b', 1)", "update t set v = 'x' where id > 5",
                "select from t", "delete from t where id = 2", "create table u as select * from t",
                "", "select v from t where id = $1"):
        params = [b"1"] if "$1" in sql else []
        s.ask(parse(sql), describe("S"), bind(params), execute(), SYNC)
    save("commands", s.take())
    s.ask(parse("selec 1"), SYNC)
    s.ask(parse("select 1/($1::int4 - 1)"), bind([b"1"]), execute(), SYNC)
    s.ask(parse("insert into t values (1, 'again')"), bind(), execute(), SYNC)
    s.ask(parse("select $1::int4"), bind([b"no number"]), execute(), SYNC)
    s.ask(bind(name="nowhere"), SYNC)
    save("errors", s.take())
    # One fails in the middle of a pipeline of three, each with its own Sync; then three under one.
    s.socket.sendall(parse("select 1", "a") + SYNC + parse("select 1/0", "b") + bind(name="b") + execute()
                     + SYNC + bind(name="a") + execute() + SYNC)
    for _ in range(3):
        s.until("Z")
    s.ask(bind(name="a"), execute(), parse("select nothing"), bind(), execute(), bind(name="a"), execute(),
          message("C", b"Sa\0"), SYNC)
    save("pipeline", s.take())
    # The implicit commit fails: CommandComplete, then the error.
    s.ask(parse("insert into t values (7, 'x', 99)"), bind(), execute(), SYNC)
    save("error_at_commit", s.take())
    s.run("begin")
    s.ask(parse("select x.id from t x"), describe("S"), bind(portal="p"), execute(1, "p"), SYNC)
    s.ask(execute(0, "p"), message("C", b"Pp\0"), SYNC)
    s.ask(parse("select 1/0"), bind(), execute(), SYNC)
    s.ask(parse("select 1"), SYNC)
    s.run("rollback")
    save("transaction", s.take())
    s.run("do $$ begin raise notice 'a % notice', 1; raise warning using message = 'warned', hint = 'h', "
          "detail = 'd', errcode = '01234'; end $$")
    s.run("listen news; notify news, 'hello'")
    s.run("set application_name = 'wire'")
    save("notices", s.take())
    s.run("create table c (a int4, b text, n numeric)")
    s.take()
    s.ask(message("Q", cstr("copy c from stdin (format binary)")), until=("G", "E"))
    rows = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
    rows += struct.pack("!hiiiBi", 3, 4, 42, 1, 0x62, -1) + struct.pack("!h", -1)
    s.ask(message("d", rows), message("c"))
    s.ask(message("Q", cstr("copy c from stdin (format binary)")), until=("G", "E"))
    s.ask(message("f", cstr("changed our mind")))
    s.run("insert into c select 1, 'y', 2.5")
    s.run("copy c to stdout (format binary)")
    s.run("copy (select 1 where false) to stdout (format binary)")
    s.run("copy c to stdout")
    save("copy", s.take())
    s.ask(parse("select repeat('x', 200000) as big, 1 as small"), describe("S"), bind(formats=(1,)), execute(),
          SYNC)
    save("large", s.take())
    other = Server(folder)
    pid = s.ask(message("Q", cstr("select pg_backend_pid()")))[1][1][6:].decode()
    s.take()
    s.ask(parse("select pg_sleep(30)"), bind(), message("H"), until=("2",))
    s.socket.sendall(execute() + SYNC)
    while other.ask(message("Q", cstr(f"select 1 from pg_stat_activity where pid = {pid} and "
                                      "wait_event = 'PgSleep'")))[1][0] != "D":
        pass
    other.run(f"select pg_terminate_backend({pid})")
    s.until("Z")
    save("terminated", s.take())


INTS = {"int2": ["0", "-32768", "32767"], "int4": ["0", "-1", "2147483647", "-2147483648"],
        "int8": ["0", "127", "-9223372036854775808", "9223372036854775807"]}
TYPES = {
    **INTS, "bool": ["t", "f"],
    "oid": ["0", "4294967295"], "xid": ["7"], "cid": ["3"], "xid8": ["18446744073709551615"],
    "float4": ["0", "-0", "1.5", "0.1", "3.4028235e38", "1e-45", "NaN", "Infinity", "-Infinity"],
    "float8": ["0", "0.1", "1e300", "5e-324", "1.7976931348623157e308", "NaN", "-Infinity", "123456789.125"],
    "numeric": ["0", "0.00", "1", "-1", "12.50", "10000", "100000000", "0.0001", "0.00001", "-0.000012345",
                "12345678901234567890123456789012345678.0123456789", "NaN", "Infinity", "-Infinity", "9999.9999",
                "1e100", "1e-100", "123e4", "1000000.000", "0.10", "99990000", "0.00000000000000000000000000001"],
    "text": ["", "a", "grüß 😀", "line\nbreak", "x" * 300], "varchar": ["v"], "varchar(3)": ["ab"],
    "bpchar": ["a  "], "char(5)": ["ab"], "name": ["n"], '"char"': ["", "x"], "xml": ["<a>1</a>"],
    "refcursor": ["c"], "json": ['{"a": [1, 2.50, null]}', "1"], "jsonb": ['{"b": 1, "a": "ü"}', "null"],
    "bytea": ["", "\\x00ff10", "\\x" + "ab" * 200],
    "date": ["2000-01-01", "1970-01-01", "2026-11-28", "0001-01-01", "0001-12-31 BC", "4713-01-01 BC",
             "5874897-12-31", "infinity", "-infinity"],
    "time": ["00:00:00", "24:00:00", "23:59:59.999999", "08:15:00.5"],
    "timetz": ["08:15:00.5+01", "00:00:00-15:59:59", "24:00:00+15:59:59", "12:00:00+05:30"],
    "timestamp": ["2026-01-31 08:15:00.5", "0044-03-15 12:00:00 BC", "294276-12-31 23:59:59.999999",
                  "4713-01-01 00:00:00 BC", "infinity", "-infinity", "1969-12-31 23:59:59.999999"],
    "timestamptz": ["2026-01-31 08:15:00.5+01", "0044-03-15 12:00:00+00 BC", "294276-12-31 23:59:59.999999+00",
                    "infinity", "-infinity", "1969-12-31 23:59:59.999999+00", "1970-01-01 00:00:00+00",
                    "2106-02-07 06:28:16+00"],
    "interval": ["P1Y2M3DT4H5M6.7S", "PT0S", "P-1M", "-1 day +2 hours", "PT-0.000001S", "178000000 years"],
    "uuid": ["00010203-0405-0607-0809-0a0b0c0d0eff"],
    "inet": ["192.168.0.1", "192.168.0.1/24", "0.0.0.0/0", "::1", "::", "2001:db8::1/64", "::ffff:1.2.3.4",
             "1:0:0:2:0:0:0:3", "::1.2.3.4", "2001:db8:0:1:1:1:1:1", "fe80::"],
    "cidr": ["10.0.0.0/8", "10.1.2.3/32", "2001:db8::/32", "::1/128"],
    "macaddr": ["08:00:2b:01:02:03"], "macaddr8": ["08:00:2b:ff:fe:01:02:03"],
    "bit": ["1"], "bit(8)": ["10110010"], "varbit": ["", "101", "1" * 600],
    "money": ["12.34"], "point": ["(1,2)"], "tsvector": ["a b"], "pg_lsn": ["0/16B3748"], "tid": ["(0,1)"],
    "regclass": ["pg_type"], "regtype": ["int4"], "int2vector": ["1 2 3", ""], "oidvector": ["23 25"],
    "jsonpath": ["$.a"], "void": [""],
    "int4[]": ["{}", "{1,2,3}", "{NULL,-1}", "{{1,2},{3,4}}", "{{{1}},{{2}}}", "[0:2]={1,2,3}", "[2:2][1:1]={{5}}"],
    "text[]": ['{a,"b c",NULL,"NULL","q\\"\\\\",""}'], "numeric[]": ["{1.50,NaN}"], "bool[]": ["{t,f}"],
    "timestamptz[]": ['{"2026-01-31 08:15:00+00"}'], "uuid[]": ["{00010203-0405-0607-0809-0a0b0c0d0eff}"],
    "inet[]": ["{10.0.0.1,::1/64}"], "cidr[]": ["{10.0.0.0/8}"], "macaddr[]": ["{08:00:2b:01:02:03}"],
    "varbit[]": ["{101,0}"], "money[]": ["{1.00}"], "xml[]": ["{<a/>}"], "jsonb[]": ['{"{\\"a\\": 1}"}'],
    "bytea[]": ['{"\\\\x00ff"}'], '"char"[]': ["{a}"], "interval[]": ["{PT1S}"], "date[]": ["{2026-01-31}"],
    "int4range": ["empty", "[1,10)", "(,5)", "[7,)", "(,)"], "numrange": ["(1.5,2.5]", "[1.0,2.0]"],
    "daterange": ["[2026-01-01,2026-02-01)", "[-infinity,infinity]"], "int8range": ["[1,2)"],
    "tsrange": ['["2026-01-01 00:00:00","2026-01-02 00:00:00")'], "tstzrange": ['["2026-01-01 00:00:00+00",)'],
    "int4multirange": ["{}", "{[1,3),[5,7)}"], "nummultirange": ["{(1.5,2.5]}"], "int4range[]": ['{"[1,3)",empty}'],
    "record": ["(1,x)"],
    "color": ["red", "odd, label"], "color[]": ['{red,"odd, label"}'], "positive": ["5"], "positive2": ["6"],
    "positive[]": ["{1,2}"], "int_list": ["{1,2}"], "pair": ["(1,x)", "(,)", '(2,"a ""quoted"", b")'],
    "pair[]": ['{"(1,x)",NULL}'], "nested": ['("(1,x)","{""(2,y)""}",red,3)', "(,,,)"], "pair_dom": ["(1,x)"],
    "floatrange": ["[1.5,2)"], "floatmultirange": ["{[1,2)}"], "hstore": ['"a"=>"1"'], "citext": ["Hello"],
    "hstore[]": ['{"\\"a\\"=>\\"1\\""}'],
}
SETUP = [
    "create type color as enum ('red', 'green', 'odd, label')",
    "create domain positive as int check (value > 0)", "create domain positive2 as positive",
    'create type pair as (a int, "B b" text)',
    "create type nested as (p pair, ps pair[], c color, d positive)",
    "create type floatrange as range (subtype = float8)", "create domain int_list as int[]",
    "create domain pair_dom as pair", "create extension hstore", "create extension citext",
]


def types(folder):
    s = Server(folder, TimeZone="UTC", IntervalStyle="iso_8601", DateStyle="ISO")
    for sql in SETUP:
        s.run(sql)
    lines, user = [], set()
    for name, values in TYPES.items():
        for value in values:
            quoted = "'" + value.replace("'", "''") + "'"
            expression = "row(1, 'x'::text)" if name == "record" else \
                "pg_notify('a', '')" if name == "void" else f"{quoted}::{name}"
            # Through a table-like value, since a domain's own number is seen only inside another type.
            line = {"type": name}
            for key, format in (("text", 0), ("binary", 1)):
                answer = s.ask(parse(f"select {expression} as v"), describe("S"), bind(formats=(format,)), execute(),
                               SYNC)
                for tag, payload in answer:
                    if tag == "E":
                        raise SystemExit(f"{name} {value}: {payload}")
                    if tag == "T":
                        end = payload.index(b"\0", 2)
                        line["oid"] = struct.unpack("!I", payload[end + 7:end + 11])[0]
                        line["typmod"] = struct.unpack("!i", payload[end + 13:end + 17])[0]
                    if tag == "D":
                        line[key] = payload[6:].decode() if format == 0 else payload[6:].hex()
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
            if line["oid"] >= 10000:
                user.add(line["oid"])
    (HERE / "types.jsonl").write_text("".join(lines))
    s.take()
    sql = (HERE / "lookup.sql").read_text().rstrip("\n")
    argument = "{" + ",".join(map(str, sorted(user))) + "}"
    s.ask(parse(sql), bind([argument.encode()], (1,)), execute(), SYNC)
    (HERE / "catalog.bin").write_bytes(s.take())


if __name__ == "__main__":
    conversations(sys.argv[1])
    types(sys.argv[1])
