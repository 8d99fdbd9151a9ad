"""Certificates for tests, made by openssl: a CA, what it signs, and what must be refused.

    ca = Authority(folder, "test CA")
    ca.sign("server", names=["DNS:localhost", "IP:127.0.0.1"])    # folder/server.{crt,key}
    ca.sign("expired", names=[...], days=(-2, -1))
"""

import datetime
import pathlib
import subprocess

DAY = datetime.timedelta(days=1)


def _run(*words: str) -> None:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr}")


def _new_key(file: pathlib.Path) -> None:
    _run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(file))
    file.chmod(0o600)


class Authority:
    """A CA of its own in `folder`: ca.crt, ca.key, and the files of what it signs."""

    def __init__(self, folder: pathlib.Path, name: str, file: str = "ca"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.name = file
        self.certificate = self.folder / f"{file}.crt"
        self.key = self.folder / f"{file}.key"
        _new_key(self.key)
        _run("req", "-x509", "-new", "-key", str(self.key), "-days", "30", "-subj", f"/CN={name}",
             "-addext", "basicConstraints=critical,CA:TRUE", "-out", str(self.certificate))
        (self.folder / f"{file}.index").write_text("")
        (self.folder / f"{file}.serial").write_text("1000\n")

    def sign(self, file: str, subject: str = "localhost", names: list[str] | None = None,
             days: tuple[float, float] = (-1, 30)) -> tuple[pathlib.Path, pathlib.Path]:
        """A certificate valid from now + days[0] to now + days[1], and its key. Files that exist
        are replaced, the certificate at once."""
        key, certificate = self.folder / f"{file}.key", self.folder / f"{file}.crt"
        request, config = self.folder / f"{file}.csr", self.folder / f"{file}.cnf"
        made = self.folder / f"{file}.new"
        _new_key(key)
        _run("req", "-new", "-key", str(key), "-subj", f"/CN={subject}", "-out", str(request))
        here = self.folder / self.name
        alternative = f"subjectAltName = {', '.join(names)}" if names else ""
        config.write_text(f"""
[ca]
default_ca = own
[own]
database = {here}.index
serial = {here}.serial
new_certs_dir = {self.folder}
certificate = {self.certificate}
private_key = {self.key}
default_md = sha256
policy = any
unique_subject = no
x509_extensions = extensions
[any]
commonName = supplied
[extensions]
basicConstraints = CA:FALSE
{alternative}
""")
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = ((now + d * DAY).strftime("%Y%m%d%H%M%SZ") for d in days)
        _run("ca", "-batch", "-notext", "-config", str(config), "-in", str(request), "-out",
             str(made), "-startdate", begin, "-enddate", end)
        made.replace(certificate)
        return certificate, key


def self_signed(folder: pathlib.Path, file: str, names: list[str]):
    key, certificate = folder / f"{file}.key", folder / f"{file}.crt"
    _new_key(key)
    _run("req", "-x509", "-new", "-key", str(key), "-days", "30", "-subj", "/CN=localhost",
         "-addext", f"subjectAltName={','.join(names)}", "-out", str(certificate))
    return certificate, key
