"""The shipped nginx files on loopback ports, in front of the service on a Unix socket."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import secrets
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.acceptance.deployment import ROOT, free_port

FILES = ROOT / "deploy" / "nginx"
NAME = "security.example.org"
CLIENT = "127.0.0.7"  # all of 127.0.0.0/8 is this machine
PATIENCE = 60.0  # seconds
MAIN = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    types {{ text/css css; text/html html; }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/http.conf;
    include {folder}/https.conf;
}}
"""


@dataclass(frozen=True)
class Answer:
    """What came back; `is_ours` if the service answered, not nginx."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def is_ours(self) -> bool:
        return "X-Request-ID" in self.headers


@dataclass(frozen=True)
class Site:
    """A running nginx with the folder of the service behind it."""

    folder: Path
    http_port: int
    https_port: int

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
    ) -> Answer:
        """Return the answer to a request by HTTPS that comes from CLIENT."""
        context = ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))
        plain = socket.create_connection(("127.0.0.1", self.https_port), 20, (CLIENT, 0))
        with closing(http.client.HTTPConnection(NAME, timeout=20)) as connection:
            connection.sock = context.wrap_socket(plain, server_hostname=NAME)
            return answer_of(connection, path, method, body, headers)

    def ask_plainly(self, path: str) -> Answer:
        """Return the answer to a request by HTTP."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        with closing(connection):
            return answer_of(connection, path, "GET", None, {"Host": NAME})

    def address_on_record(self, answer: Answer) -> str:
        """Return the client address on record of a request that was answered."""
        wanted = answer.headers["X-Request-ID"]
        end = time.monotonic() + PATIENCE
        with closing(sqlite3.connect(self.folder / "state" / "db.sqlite3", timeout=30)) as rows:
            while time.monotonic() < end:
                query = "SELECT address FROM tracking_requestlog WHERE request_id = ?"
                for (address,) in rows.execute(query, (wanted,)):
                    return str(ipaddress.ip_address(bytes.fromhex(address[1:])))
                time.sleep(0.02)
        pytest.fail("the request did not come on record")


def answer_of(
    connection: http.client.HTTPConnection,
    path: str,
    method: str,
    body: bytes | None,
    headers: dict[str, str] | list[tuple[str, str]] | None,
) -> Answer:
    given = list(headers.items() if isinstance(headers, dict) else headers or [])
    connection.putrequest(method, path, skip_host="Host" in dict(given))
    for name, value in given:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    if body is not None:
        with contextlib.suppress(OSError):  # refused before all was sent; the answer says why
            connection.send(body)
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


def find_nginx() -> str:
    """Return nginx's program; skip the test where there is none."""
    # Debian keeps it where an ordinary user's PATH does not lead.
    found = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    return found or pytest.skip("there is no nginx here: apt install nginx-light")


def make_certificate(folder: Path) -> None:
    """Write a certificate for NAME, signed by itself, and its key, as certbot names them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "privkey.pem").write_bytes(private)


def render(
    folder: Path, http_port: int, https_port: int, service: Path, *, proxy: str = ""
) -> Path:
    """Write the shipped files into `folder` with a test's ports and folders; return the main one.

    With `proxy` a network, the lines for an nginx behind another proxy are in force.
    """
    for name, port, shipped in (("http", http_port, "80"), ("https", https_port, "443")):
        text = (FILES / f"{name}.conf").read_text()
        for old, new in (
            (f"listen {shipped}", f"listen 127.0.0.1:{port}"),
            (f"listen [::]:{shipped}", f"listen [::1]:{port}"),
            (f"/etc/letsencrypt/live/{NAME}", str(service)),
            ("/run/alx-backend-security", str(service)),
            ("/var/cache/alx-backend-security", str(service)),
            ("/var/www/acme", str(service / "acme")),
        ):
            text = text.replace(old, new)
        if proxy:
            text = text.replace("#set_real_ip_from 10.0.0.0/8", f"set_real_ip_from {proxy}")
            text = text.replace("#real_ip", "real_ip")
        if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
            text = "\n".join(line for line in text.splitlines() if "listen [" not in line)
        (folder / f"{name}.conf").write_text(text)
    main = folder / "nginx.conf"
    main.write_text(MAIN.format(folder=folder, user="" if os.getuid() else "user root;"))
    return main


@contextmanager
def nginx(folder: Path, *, proxy: str = "") -> Iterator[Site]:
    """Run nginx in front of the service in `folder`."""
    site = Site(folder, free_port(), free_port())
    own = folder / f"nginx-{site.https_port}"
    own.mkdir()
    main = render(own, site.http_port, site.https_port, folder, proxy=proxy)
    process = subprocess.Popen([find_nginx(), "-e", own / "error.log", "-p", own, "-c", main])
    try:
        await_true(lambda: listens(site.https_port), process, own / "error.log")
        yield site
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def service(folder: Path) -> Iterator[None]:
    """Run the web server on a socket in `folder`, as deploy/ does; its database is there."""
    env = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "STATE_DIR": str(folder / "state"),
        "STATIC_ROOT": str(folder / "static"),
        "SECRET_KEY": secrets.token_hex(40),
        "JWT_SIGNING_KEYS": f"tests:{secrets.token_hex(40)}",
        "ALLOWED_HOSTS": NAME,
        "TRUSTED_UNIX_SOCKET": "true",
        "SECURE_SSL_REDIRECT": "true",
        "SECURE_HSTS_SECONDS": "3600",
    }
    web_socket, log = folder / "web.sock", folder / "log"
    gunicorn = (sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py")
    command = (*gunicorn, "--bind", f"unix:{web_socket}", "project.wsgi")
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        await_true(web_socket.exists, process, log)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def await_true(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            said = log.read_text()[-2000:] if log.exists() else "nothing"
            pytest.fail(f"{process.args} did not start: {said}")
        time.sleep(0.02)
