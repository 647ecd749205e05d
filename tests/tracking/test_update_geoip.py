"""`manage.py update_geoip`: what a source sends, what takes its place, and what never does."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.mmdb import ASN, CITY, INSIDE, NETWORK, write
from tracking import download, geo, geosources, geoupdate
from tracking.engine.address import parse_address
from tracking.geosources import Offer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers from the server's table; whatever is not in it is a 404."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path))
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        else:
            answer(self)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, server: Server
) -> Path:
    """An empty GEOIP_PATH, and a source on loopback in the place of the real one."""
    settings.TRACKING_GEOIP_PATH = tmp_path / "geoip"
    monkeypatch.setattr(geo, "CHECK_SECONDS", 0.0)
    geo.reset()

    def offers(edition: str, today: date) -> tuple[Offer, ...]:
        return tuple(Offer(server.url(f"/{edition}-{month}.gz")) for month in ("this", "last"))

    local = replace(geosources.SOURCES[-1], offers=offers)
    monkeypatch.setattr(geosources, "SOURCES", (*geosources.SOURCES[:-1], local))
    return tmp_path / "geoip"


def database(
    folder: Path, kind: str = "DBIP-City-Lite", record: object = CITY, day: int = 1
) -> bytes:
    built = datetime(2026, 11, day, tzinfo=UTC)
    return write(folder.parent / "made.mmdb", kind, {NETWORK: record}, built).read_bytes()


def sending(body: bytes, etag: str = "", announced: int | None = None) -> Answer:
    def answer(handler: Handler) -> None:
        if etag and handler.headers["If-None-Match"] == etag:
            handler.send_response(304)
            handler.end_headers()
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body) if announced is None else announced))
        if etag:
            handler.send_header("ETag", etag)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    return answer


def run(*arguments: object) -> tuple[int, str]:
    """Run the command; return its exit status and all it wrote."""
    out = io.StringIO()
    try:
        call_command("update_geoip", *map(str, arguments), stdout=out, stderr=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def city() -> str | None:
    return geo.locate(parse_address(INSIDE)).city


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".update_geoip.lock"}


def test_city_and_asn_are_fetched_and_at_once_in_use(folder: Path, server: Server) -> None:
    body = database(folder)
    server.answers["/city-this.gz"] = sending(gzip.compress(body))
    asn = database(folder, "DBIP-ASN-Lite (compat=GeoLite2-ASN)", ASN)
    server.answers["/asn-this.gz"] = sending(gzip.compress(asn))
    assert city() is None
    status, told = run()
    assert status == 0
    assert "city: updated." in told
    assert "CC BY 4.0" in told
    assert "https://db-ip.com" in told
    place = geo.locate(parse_address(INSIDE))
    assert (place.country, place.city, place.asn) == ("GB", "London", 20712)
    assert files(folder) == {"city.mmdb", "city.mmdb.json", "asn.mmdb", "asn.mmdb.json"}
    sidecar = json.loads((folder / "city.mmdb.json").read_text())
    assert sidecar["sha256"] == hashlib.sha256(body).hexdigest()
    assert sidecar["built"] == "2026-11-01T00:00:00+00:00"
    assert sidecar["licence"] == "CC BY 4.0"
    assert sidecar["source"] == "127.0.0.1"


def test_the_real_source_is_asked_for_this_month_and_then_the_last() -> None:
    assert [offer.url for offer in geosources._db_ip_offers("city", date(2027, 1, 31))] == [
        "https://download.db-ip.com/free/dbip-city-lite-2027-01.mmdb.gz",
        "https://download.db-ip.com/free/dbip-city-lite-2026-12.mmdb.gz",
    ]


def test_a_month_not_published_yet_falls_back_to_the_last(folder: Path, server: Server) -> None:
    server.answers["/city-last.gz"] = sending(gzip.compress(database(folder)))
    assert run("--edition", "city")[0] == 0
    assert city() == "London"
    assert server.asked == [("GET", "/city-this.gz"), ("GET", "/city-last.gz")]


def test_an_unchanged_database_is_not_sent_again(folder: Path, server: Server) -> None:
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)), etag='"1"')
    assert "updated" in run("--edition", "city")[1]
    inode = (folder / "city.mmdb").stat().st_ino
    status, told = run("--edition", "city")
    assert (status, "nothing newer" in told) == (0, True)
    assert (folder / "city.mmdb").stat().st_ino == inode
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder, day=2)), etag='"2"')
    assert "2026-11-02" in run("--edition", "city")[1]


def test_validators_do_not_count_for_a_file_that_was_changed_by_hand(
    folder: Path, server: Server
) -> None:
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)), etag='"1"')
    run("--edition", "city")
    (folder / "city.mmdb").write_bytes(b"damaged")
    assert city() is None
    assert "updated" in run("--edition", "city", "--if-older", "7d")[1]
    assert city() == "London"


def test_check_tells_and_changes_nothing(folder: Path, server: Server) -> None:
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)), etag='"1"')
    status, told = run("--edition", "city", "--check")
    assert (status, "available" in told, files(folder)) == (0, True, set())
    run("--edition", "city")
    assert "city: current." in run("--edition", "city", "--check")[1]
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder, day=2)), etag='"2"')
    assert "available" in run("--edition", "city", "--check")[1]
    assert [method for method, _ in server.asked] == ["HEAD", "GET", "HEAD", "HEAD"]


def test_a_source_asked_lately_is_left_alone(folder: Path, server: Server) -> None:
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)))
    run("--edition", "city", "--if-older", "7d")
    status, told = run("--edition", "city", "--if-older", "7d")
    assert (status, "not long ago" in told, len(server.asked)) == (0, True, 1)
    sidecar = folder / "city.mmdb.json"
    about = json.loads(sidecar.read_text()) | {"checked": "2020-01-01T00:00:00+00:00"}
    sidecar.write_text(json.dumps(about))
    run("--edition", "city", "--if-older", "7d")
    assert len(server.asked) == 2


def chunked_and_cut(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ff\r\nhalf of it")


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"\0" * 65536)
    except OSError:
        pass


def failing(handler: Handler) -> None:
    handler.send_error(503)


def redirecting(to: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


def cut(body: bytes) -> bytes:
    return body[: len(body) // 2]


REAL_ROWS = bytes(range(256)) * 64  # does not compress to nothing

BAD_ANSWERS: dict[str, tuple[Callable[[Path], Answer], int, str]] = {
    "broken off": (
        lambda folder: sending(cut(database(folder)), announced=len(database(folder))), 3,
        "broke off",
    ),
    "broken off in a chunk": (lambda _: chunked_and_cut, 3, "broke off"),
    "an error of the server": (lambda _: failing, 3, "answers 503"),
    "no such file": (lambda _: None, 3, "answers 404"),  # type: ignore[arg-type, return-value]
    "announced as too large": (lambda _: sending(b"", announced=10**12), 1, "at most"),
    "endless": (lambda _: endless, 1, "stopped there"),
    "too large when unpacked": (
        lambda _: sending(gzip.compress(bytes(3_000_000))), 1, "unpacked it has more than",
    ),
    "damaged gzip": (
        lambda folder: sending(cut(gzip.compress(database(folder)))), 1, "gzip file is damaged",
    ),
    "gzip with a wrong checksum": (
        lambda folder: sending(gzip.compress(database(folder))[:-8] + b"01234567"), 1,
        "gzip file is damaged",
    ),
    "gzip with damage inside": (
        lambda _: sending(b"\x1f\x8b\x08\0\0\0\0\0\0\0" + REAL_ROWS), 1, "gzip file is damaged",
    ),
    "not a database": (lambda _: sending(b"<html>Sign in</html>"), 1, "no MMDB file"),
    "truncated database": (lambda folder: sending(cut(database(folder))), 1, "no MMDB file"),
    "nothing": (lambda _: sending(b""), 1, "no MMDB file"),
    "another edition": (
        lambda folder: sending(database(folder, "DBIP-ASN-Lite", ASN)), 1, "no database of edition",
    ),
    "a database of nothing": (
        lambda folder: sending(database(folder, "DBIP-City-Lite", {"a": 1})), 1, "knows no city",
    ),
    "older": (lambda folder: sending(database(folder, day=1)), 1, "--force takes it"),
    "led to a file of this machine": (
        lambda _: redirecting("file:///etc/passwd"), 3, "answers 302",
    ),
    "led to ftp": (lambda _: redirecting("ftp://127.0.0.1/x"), 1, "only https"),
    "led to another host by http": (
        lambda _: redirecting("http://192.0.2.1/x"), 1, "only https",
    ),
    "led to another scheme": (
        lambda _: redirecting("https://192.0.2.1/x"), 1, "leads to another scheme",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_nothing_bad_takes_the_place_of_a_good_database(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    good = database(folder, day=15)
    server.answers["/good"] = sending(good)
    assert run("--url", server.url("/good"))[0] == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(geoupdate, "LARGEST_DOWNLOAD", 1_000_000)
    monkeypatch.setattr(geoupdate, "LARGEST_DATABASE", 2_000_000)
    make, status, reason = BAD_ANSWERS[case]
    server.answers["/bad"] = make(folder)
    found, told = run("--url", server.url("/bad"))
    assert (found, reason in told, "2026-11-15" in told) == (status, True, True), told
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert city() == "London"


def test_no_network_is_status_3_and_a_clear_sentence(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as closed:
        gone = closed.url("/x")
    nobody = replace(geosources.SOURCES[-1], offers=lambda *_: (Offer(gone),))
    monkeypatch.setattr(geosources, "SOURCES", (nobody,))
    status, told = run()
    assert status == 3
    assert "No source could be reached (127.0.0.1: 'Connection refused')" in told
    assert "what no other file tells stays unknown" in told
    assert files(folder) == set()


def test_a_silent_server_is_given_up(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def silent(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        go_on.wait(20)

    monkeypatch.setattr(download, "SILENCE_SECONDS", 0.2)
    server.answers["/silent"] = silent
    status, told = run("--url", server.url("/silent"))
    go_on.set()
    assert (status, "timed out" in told) == (3, True)


def test_a_dripping_server_is_given_up(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TOTAL_SECONDS", 0.0)
    server.answers["/slow"] = sending(database(folder))
    status, told = run("--url", server.url("/slow"))
    assert (status, "took more than" in told) == (3, True)


def test_progress_starts_anew_with_each_download(folder: Path, server: Server) -> None:
    sizes = {}
    for edition, record in (("city", CITY), ("asn", ASN)):
        body = gzip.compress(database(folder, f"DBIP-{edition}", record))
        server.answers[f"/{edition}-this.gz"] = sending(body)
        sizes[edition] = len(body)
    steps: list[tuple[int, int | None]] = []
    orders = [geoupdate.Order(edition=edition) for edition in sizes]
    geoupdate.update(orders, lambda more, total: steps.append((more, total)))
    assert [total for more, total in steps if more == 0] == list(sizes.values())
    assert sum(more for more, _ in steps) == sum(sizes.values())


def test_force_takes_an_older_database(folder: Path, server: Server) -> None:
    server.answers["/new"] = sending(database(folder, day=2))
    server.answers["/old"] = sending(database(folder, day=1))
    assert run("--url", server.url("/new"))[0] == 0
    assert run("--url", server.url("/old"))[0] == 1
    assert run("--url", server.url("/old"), "--force")[0] == 0
    (about,) = geo.status()
    assert about.built.day == 1


def test_a_usual_source_that_lags_behind_is_no_failure(folder: Path, server: Server) -> None:
    server.answers["/new"] = sending(database(folder, day=2))
    server.answers["/city-last.gz"] = sending(database(folder, day=1))
    assert run("--url", server.url("/new"))[0] == 0
    status, told = run("--edition", "city")
    assert (status, "city: current." in told, "older than what is here" in told) == (0, True, True)


def test_a_file_of_ones_own_is_taken(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "own.mmdb.gz"
    packed.write_bytes(gzip.compress(database(folder, "GeoLite2-City")))
    status, told = run("--file", packed)
    assert (status, "GeoLite2-City" in told, "DB-IP" in told) == (0, True, False)
    assert city() == "London"
    status, told = run("--file", tmp_path / "nowhere")
    assert (status, "nowhere: No such file" in told) == (1, True)


def test_the_sha256_may_be_that_of_the_archive_or_of_the_database(
    folder: Path, server: Server
) -> None:
    body = database(folder)
    packed = gzip.compress(body)
    server.answers["/x"] = sending(packed)
    for right in (packed, body):
        digest = hashlib.sha256(right).hexdigest()
        assert run("--url", server.url("/x"), "--sha256", digest.upper(), "--force")[0] == 0
    status, told = run("--url", server.url("/x"), "--sha256", "0" * 64, "--force")
    assert (status, "not the expected one" in told) == (1, True)


def test_secrets_of_a_url_are_neither_shown_nor_stored(folder: Path, server: Server) -> None:
    server.answers["/x?token=hunter2"] = sending(database(folder))
    status, told = run("--url", server.url("/x?token=hunter2"))
    assert status == 0
    _, failed = run("--url", server.url("/y?token=hunter2"))
    for text in (told, failed, (folder / "city.mmdb.json").read_text()):
        assert "hunter2" not in text


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://192.0.2.1/x.mmdb", "only https"),
        ("http://localhost.example/x", "only https"),
        ("http://127.0.0.1@192.0.2.1/x", "only https"),
        ("ftp://127.0.0.1/x", "only https"),
        ("file:///etc/passwd", "not a URL"),
        ("https://", "not a URL"),
        ("https://host:port/x", "not a URL"),
        ("https://[::1/x", "not a URL"),
        ("https://host/a b\r\nHost: c", "not a URL"),
        ("city.mmdb", "not a URL"),
    ],
)
def test_only_https_is_asked(url: str, sentence: str) -> None:
    status, told = run("--url", url)
    assert (status, sentence in told) == (1, True), told


def test_two_runs_at_once_leave_one_alone(folder: Path, server: Server) -> None:
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)))
    folder.mkdir()
    with (folder / ".update_geoip.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="Another update_geoip is at work"):
            run("--edition", "city")
    assert server.asked == []
    assert run("--edition", "city")[0] == 0


def test_one_file_as_geoip_path_is_fetched_but_a_foreign_one_is_kept(
    folder: Path, server: Server, settings: Settings
) -> None:
    one = folder / "places.mmdb"
    settings.TRACKING_GEOIP_PATH = one
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)))
    assert run()[0] == 0
    assert city() == "London"
    with pytest.raises(CommandError, match="name a folder"):
        run("--edition", "city", "--edition", "asn")
    write(one, "GeoLite2-City", {NETWORK: CITY})
    status, told = run()
    assert (status, "somebody else" in told) == (1, True)
    assert run("--force")[0] == 0
    assert "updated" not in run()[1]


def test_an_unusable_folder_is_one_clear_sentence(folder: Path) -> None:
    folder.parent.joinpath("geoip").write_text("a file")
    folder.unlink()
    folder.symlink_to(folder.parent / "geoip")
    with pytest.raises(CommandError, match="cannot be used"):
        run()


def test_what_a_killed_run_left_is_no_obstacle(folder: Path, server: Server) -> None:
    folder.mkdir()
    (folder / ".city.mmdb.part").write_bytes(b"half")
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)))
    assert run("--edition", "city")[0] == 0
    assert files(folder) == {"city.mmdb", "city.mmdb.json"}


def test_one_edition_fails_without_the_other(folder: Path, server: Server) -> None:
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)))
    status, told = run()
    assert status == 3
    assert "city: updated." in told
    assert "asn: unreachable." in told
    assert city() == "London"


def test_the_result_as_json(folder: Path, server: Server) -> None:
    server.answers["/city-this.gz"] = sending(gzip.compress(database(folder)))
    status, told = run("--json")
    city, asn = json.loads(told)
    assert (status, city["state"], asn["state"]) == (3, "updated", "unreachable")
    assert city["path"] == str(folder / "city.mmdb")
    assert city["about"]["attribution"].endswith("https://db-ip.com")
    assert asn["about"] == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--url", "https://h/x", "--edition", "city", "--edition", "asn"), "name one --edition"),
        (("--sha256", "0" * 64), "goes with --url or --file"),
        (("--sha256", "12", "--file", "x"), "64 hexadecimal digits"),
        (("--if-older", "soon"), "write 12h, 7d or 2w"),
        (("--if-older", "٣d"), "write 12h, 7d or 2w"),
        (("--edition", "moon"), "invalid choice"),
        (("--url", "https://h/x", "--file", "x"), "not allowed with"),
        (("--file", "x", "--check"), "does not go with --file"),
    ],
)
def test_wrong_arguments_are_one_clear_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(*arguments)
