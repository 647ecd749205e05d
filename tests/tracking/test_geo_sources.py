"""`manage.py update_geoip` with accounts: a server here speaks MaxMind's and IPinfo's protocol."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import logging
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.mmdb import ASN, CITY, INSIDE, IPINFO, NETWORK, write
from tracking import archives, conf, geo, geosources, geoupdate, tasks
from tracking.engine.address import parse_address
from tracking.engine.geoaccounts import read_geo_accounts

ACCOUNT, KEY, TOKEN = "123456", "key-of-maxmind", "token-of-ipinfo"
BASIC = "Basic " + base64.b64encode(f"{ACCOUNT}:{KEY}".encode()).decode()


class Handler(BaseHTTPRequestHandler):
    """MaxMind's list and downloads (which lead to a store), the store, and IPinfo's file."""

    server: Server

    def do_GET(self) -> None:
        presented = self.headers["Authorization"] or ""
        self.server.asked.append((self.command, self.path, presented))
        path, _, query = self.path.partition("?")
        if path.startswith("/geoip/") and presented != BASIC:
            self.answer(401)
        elif path == "/geoip/updates/metadata":
            self.answer(200, self.server.listed(query.removeprefix("edition_id=")))
        elif path.startswith("/geoip/databases/"):
            edition = path.split("/")[3]
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/{edition}")
            self.end_headers()
        elif path == "/ipinfo":
            self.ipinfo(presented)
        elif path[1:] in self.server.stored:
            self.answer(200, self.server.stored[path[1:]])
        else:
            self.answer(404)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def ipinfo(self, presented: str) -> None:
        if presented != f"Bearer {TOKEN}":
            self.answer(403)
        elif self.headers["If-Modified-Since"] == "Sun, 01 Nov 2026 00:00:00 GMT":
            self.answer(304)
        else:
            self.answer(200, self.server.stored["ipinfo"])

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Sun, 01 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stored: dict[str, bytes] = {}
        self.databases: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.list: bytes | None = None

    def offer(self, edition: str, database: bytes) -> None:
        self.databases[edition] = database
        self.stored[edition] = packed({f"{edition}_20261101/{edition}.mmdb": database})

    def listed(self, edition: str) -> bytes:
        if self.list is not None:
            return self.list
        md5 = hashlib.md5(self.databases[edition], usedforsecurity=False).hexdigest()
        entry = {"edition_id": edition, "md5": md5, "date": "2026-11-01"}
        return json.dumps({"databases": [entry]}).encode()

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.asked]


def packed(files: dict[str, bytes]) -> bytes:
    """Return a tar.gz as MaxMind packs it: a folder with a licence beside the database."""
    sent = io.BytesIO()
    with tarfile.open(fileobj=sent, mode="w:gz") as tar:
        folder = tarfile.TarInfo("GeoLite2_20261101")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in {"GeoLite2_20261101/LICENSE.txt": b"licence", **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return sent.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(
            geosources, "IPINFO_LITE", f"http://127.0.0.1:{server.server_port}/ipinfo"
        )
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.TRACKING_GEOIP_PATH = tmp_path / "geoip"
    monkeypatch.setattr(geo, "CHECK_SECONDS", 0.0)
    geo.reset()
    return tmp_path / "geoip"


@pytest.fixture
def maxmind(server: Server, settings: Settings, tmp_path: Path) -> Server:
    """A server on which an account is known, with GeoLite2 City and ASN."""
    settings.TRACKING_GEOIP_ACCOUNTS = {
        "maxmind_account": ACCOUNT,
        "maxmind_key": KEY,
        "maxmind_host": f"http://127.0.0.1:{server.server_port}",
    }
    server.offer("GeoLite2-City", database(tmp_path, "GeoLite2-City", CITY))
    server.offer("GeoLite2-ASN", database(tmp_path, "GeoLite2-ASN", ASN))
    return server


@pytest.fixture
def ipinfo(server: Server, settings: Settings, tmp_path: Path) -> Server:
    settings.TRACKING_GEOIP_ACCOUNTS = {"ipinfo_token": TOKEN}
    server.stored["ipinfo"] = database(tmp_path, "ipinfo ipinfo_lite.mmdb", IPINFO)
    return server


def database(folder: Path, kind: str, record: object) -> bytes:
    return write(folder / "made.mmdb", kind, {NETWORK: record}).read_bytes()


def run(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("update_geoip", *map(str, arguments), stdout=out, stderr=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    except CommandError as error:
        return 1, str(error)
    return 0, out.getvalue()


def place() -> tuple[str | None, str | None, int | None]:
    found = geo.locate(parse_address(INSIDE))
    return found.country, found.city, found.asn


def test_maxmind_is_asked_for_what_is_new_and_then_for_that(maxmind: Server, folder: Path) -> None:
    status, told = run()
    assert status == 0, told
    assert place() == ("GB", "London", 20712)
    assert "GeoLite Data created by MaxMind" in told
    sidecar = json.loads((folder / "city.mmdb.json").read_text())
    assert sidecar["licence"] == "MaxMind's end user licence agreement"
    assert maxmind.paths()[:3] == [
        "/geoip/updates/metadata?edition_id=GeoLite2-City",
        "/geoip/databases/GeoLite2-City/download?date=20261101&suffix=tar.gz",
        "/GeoLite2-City",
    ]


def test_the_key_goes_to_maxmind_alone_and_nowhere_else(
    maxmind: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _, told = run()
    assert [bool(presented) for _, _, presented in maxmind.asked[:3]] == [True, True, False]
    kept = "".join(path.read_text() for path in folder.glob("*.json"))
    for where in (told, kept, caplog.text, repr(conf.current())):
        assert KEY not in where
        assert BASIC not in where


def test_a_database_with_the_same_md5_is_not_downloaded(maxmind: Server) -> None:
    run()
    maxmind.asked.clear()
    status, told = run("--edition", "city")
    assert (status, "nothing newer" in told) == (0, True)
    assert maxmind.paths() == ["/geoip/updates/metadata?edition_id=GeoLite2-City"]
    assert "current" in run("--edition", "city", "--check")[1]
    assert run("--edition", "city", "--force")[0] == 0
    assert "/GeoLite2-City" in maxmind.paths()


def test_check_tells_of_a_newer_one_without_fetching_it(maxmind: Server, tmp_path: Path) -> None:
    run()
    maxmind.offer("GeoLite2-City", database(tmp_path, "GeoLite2-City", CITY | {"x": 1}))
    maxmind.asked.clear()
    assert "available" in run("--edition", "city", "--check")[1]
    assert maxmind.paths() == ["/geoip/updates/metadata?edition_id=GeoLite2-City"]


def test_a_wrong_key_is_told_and_made_up_for_by_nobody(
    maxmind: Server, settings: Settings, folder: Path
) -> None:
    accounts = settings.TRACKING_GEOIP_ACCOUNTS
    settings.TRACKING_GEOIP_ACCOUNTS = accounts | {"maxmind_key": "wrong-key"}
    status, told = run("--edition", "city")
    assert (status, "refuses the account or its key (401)" in told) == (1, True)
    assert "wrong-key" not in told
    assert not list(folder.glob("*.mmdb"))
    assert len(maxmind.asked) == 1


CITY_FILE = "GeoLite2-City_20261101/GeoLite2-City.mmdb"
HOSTILE = {
    "no database": (packed({}), "0 files .mmdb"),
    "two databases": (packed({CITY_FILE: b"1", "x.mmdb": b"2"}), "2 files .mmdb"),
    "many members": (packed({f"{n}.txt": b"" for n in range(200)}), "more than 100 members"),
    "another database": (packed({CITY_FILE: b"x" * 600}), "MD5"),
    "cut": (packed({CITY_FILE: b"x" * 9000})[:-20], "gzip file is damaged"),
    "too large": (packed({CITY_FILE: bytes(3_000_000)}), "more than 2000000 bytes"),
    "a header as large as memory": (
        gzip.compress(
            tarfile.TarInfo.create_pax_global_header({"a": "b" * 5_000_000})
        ), "header that is too large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_an_archive_that_is_not_right_takes_no_place(
    maxmind: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    run()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    body, reason = HOSTILE[case]
    limit = 20_000_000 if "memory" in case else 2_000_000
    monkeypatch.setattr(geoupdate, "LARGEST_DATABASE", limit)
    maxmind.stored["GeoLite2-City"] = body
    status, told = run("--edition", "city", "--force")
    assert (status, reason in told) == (1, True), told
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert place() == ("GB", "London", 20712)


def test_a_link_in_an_archive_is_not_followed(folder: Path, tmp_path: Path) -> None:
    sent = io.BytesIO()
    with tarfile.open(fileobj=sent, mode="w") as tar:
        link = tarfile.TarInfo("x.mmdb")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    (tmp_path / "sent.tar").write_bytes(sent.getvalue())
    assert archives.is_tar(tmp_path / "sent.tar")
    assert "0 files .mmdb" in run("--file", tmp_path / "sent.tar")[1]


@pytest.mark.parametrize(
    "listed",
    [
        b"", b"[]", b"{}", b"[" * 50_000, b'{"databases": 5}', b'{"databases": [1, null]}',
        b'{"databases": [{"edition_id": "GeoLite2-City", "date": "../..", "md5": "x"}]}',
        b'{"databases": [{"edition_id": "GeoLite2-ASN", "date": "2026-11-01", "md5": "0"}]}',
    ],
    ids=str,
)  # fmt: skip
def test_a_list_nobody_understands_is_as_if_nobody_answered(maxmind: Server, listed: bytes) -> None:
    maxmind.list = listed
    assert run("--edition", "city")[0] == 3
    assert len(maxmind.asked) == 1


def test_a_list_without_end_is_given_up(maxmind: Server) -> None:
    maxmind.list = b" " * 100_000
    assert run("--edition", "city")[0] == 1


def test_paid_editions_are_asked_by_their_names(
    maxmind: Server, settings: Settings, tmp_path: Path
) -> None:
    named = {"maxmind_editions": "GeoIP2-ISP, GeoIP2-City"}
    settings.TRACKING_GEOIP_ACCOUNTS = settings.TRACKING_GEOIP_ACCOUNTS | named
    maxmind.offer("GeoIP2-City", database(tmp_path, "GeoIP2-City", CITY))
    assert run("--edition", "city")[0] == 0
    assert maxmind.paths()[0].endswith("GeoIP2-City")
    assert "names no database of edition country" in run("--edition", "country")[1]


def test_ipinfo_is_asked_with_its_token_in_a_header(ipinfo: Server, folder: Path) -> None:
    status, told = run("--edition", "asn")
    assert status == 0, told
    assert place() == ("GB", None, 2856)
    assert "CC BY-SA 4.0" in told
    assert ipinfo.asked == [("GET", "/ipinfo", f"Bearer {TOKEN}")]
    assert TOKEN not in told + (folder / "asn.mmdb.json").read_text() + repr(conf.current())


def test_what_ipinfo_has_not_changed_is_not_sent_again(ipinfo: Server) -> None:
    run("--edition", "asn")
    assert "nothing newer" in run("--edition", "asn")[1]
    assert "current" in run("--edition", "asn", "--check")[1]


def test_a_wrong_token_is_told(ipinfo: Server, settings: Settings) -> None:
    settings.TRACKING_GEOIP_ACCOUNTS = {"ipinfo_token": "wrong-token"}
    status, told = run("--edition", "asn")
    assert (status, "(403)" in told, "wrong-token" in told) == (1, True, False)


def test_ipinfo_has_no_cities_so_db_ip_is_asked_for_them(ipinfo: Server) -> None:
    assert geosources.chosen("city", None).key == "dbip"
    assert geosources.chosen("asn", None).key == "ipinfo"
    assert "IPinfo Lite has no edition city" in run("--source", "ipinfo", "--edition", "city")[1]


def test_a_source_without_its_account_says_what_it_needs() -> None:
    status, told = run("--source", "maxmind")
    assert (status, "MaxMind needs GEOIPUPDATE_ACCOUNT_ID and" in told) == (1, True)
    assert geosources.chosen("city", None).key == "dbip"


def test_another_sources_older_database_takes_the_place(
    maxmind: Server, folder: Path, tmp_path: Path
) -> None:
    newer = write(
        tmp_path / "n", "DBIP-City-Lite", {NETWORK: CITY | {"country": {"iso_code": "FR"}}}
    )
    assert run("--file", newer)[0] == 0
    assert place()[0] == "FR"
    assert run("--edition", "city")[0] == 0
    assert place()[0] == "GB"


@pytest.mark.parametrize(
    ("accounts", "sentence"),
    [
        (5, "no mapping"),
        ({"maxmind": "x"}, "not one of maxmind_account"),
        ({"maxmind_account": "12"}, "go together"),
        ({"maxmind_account": "secret!", "maxmind_key": "k"}, "maxmind_account has not"),
        ({"ipinfo_token": "with space"}, "ipinfo_token has not"),
        ({"maxmind_host": "ftp://x"}, "maxmind_host has not"),
        ({"ipinfo_token": 5}, "ipinfo_token has not"),
    ],
)
def test_accounts_that_cannot_be_used_say_why_and_show_no_secret(
    accounts: object, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        read_geo_accounts(accounts)
    assert "secret" not in str(caught.value)


def test_the_worker_fetches_what_is_a_week_old(
    maxmind: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tasks.update_places.call_local()
    assert place() == ("GB", "London", 20712)
    assert "Places, city: updated" in caplog.text
    maxmind.asked.clear()
    tasks.update_places.call_local()
    assert maxmind.asked == []


def test_the_worker_tells_of_a_refused_key_and_goes_on(
    maxmind: Server, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = settings.TRACKING_GEOIP_ACCOUNTS
    settings.TRACKING_GEOIP_ACCOUNTS = accounts | {"maxmind_key": "wrong-key"}
    tasks.update_places.call_local()
    assert caplog.text.count("refuses the account or its key") == 2
    assert "wrong-key" not in caplog.text


def test_the_worker_leaves_somebodys_own_file_alone(
    maxmind: Server, settings: Settings, tmp_path: Path
) -> None:
    own = write(tmp_path / "own.mmdb", "GeoLite2-City", {NETWORK: CITY})
    settings.TRACKING_GEOIP_PATH = own
    tasks.update_places.call_local()
    assert maxmind.asked == []


def test_the_worker_leaves_another_run_alone(
    maxmind: Server, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    with geoupdate._alone_in(folder):
        tasks.update_places.call_local()
    assert "Another update_geoip is at work" in caplog.text
    assert maxmind.asked == []
