"""Places: which files are read, what is believed of them, and what damage does."""

from __future__ import annotations

import logging
import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytest_django.fixtures import Settings

from tests.mmdb import ASN, CITY, COUNTRY, INSIDE, IPINFO, NETWORK, write
from tracking import geo, geofiles
from tracking.engine.address import parse_address

MAXMIND = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mmdb"
needs_maxmind = pytest.mark.skipif(
    not MAXMIND.is_dir(), reason="MaxMind's test databases are not beside the checkout"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as GEOIP_PATH; each question looks at the files anew."""
    settings.TRACKING_GEOIP_PATH = tmp_path / "geoip"
    monkeypatch.setattr(geo, "CHECK_SECONDS", 0.0)
    geo.reset()
    return tmp_path / "geoip"


def located(text: str) -> tuple[str | None, str | None, int | None]:
    place = geo.locate(parse_address(text))
    return place.country, place.city, place.asn


@pytest.mark.parametrize(
    ("kind", "record", "place"),
    [
        ("GeoLite2-City", CITY, ("GB", "London", None)),
        ("GeoIP2-City", CITY, ("GB", "London", None)),
        ("GeoLite2-Country", COUNTRY, ("FR", None, None)),
        ("GeoLite2-ASN", ASN, (None, None, 20712)),
        ("GeoIP2-ISP", ASN, (None, None, 20712)),
        ("DBIP-City-Lite", CITY, ("GB", "London", None)),
        ("DBIP-Country-Lite", COUNTRY, ("FR", None, None)),
        ("DBIP-ASN-Lite (compat=GeoLite2-ASN)", ASN, (None, None, 20712)),
        ("ipinfo generic_lite.mmdb", IPINFO, ("GB", None, 2856)),
        (
            "ipinfo standard_location.mmdb",
            {"country": "gb", "country_name": "United Kingdom", "city": "London"},
            ("GB", "London", None),
        ),
        ("dbip-city", {"country_code": "GB", "city": "London"}, ("GB", "London", None)),
        ("anything", CITY | {"traits": ASN}, ("GB", "London", 20712)),
    ],
)
def test_each_layout_is_read_by_its_records(
    folder: Path, kind: str, record: object, place: tuple[object, ...]
) -> None:
    write(folder / "whatever.mmdb", kind, {NETWORK: record})
    assert located(INSIDE) == place
    (database,) = geo.status()
    assert (database.name, database.type) == ("whatever.mmdb", kind)
    assert database.built.isoformat() == "2026-10-01T00:00:00+00:00"
    facts = zip(("country", "city", "asn"), place, strict=True)
    assert set(database.kinds) == {name for name, fact in facts if fact is not None}


def test_geoip_path_may_be_one_file(folder: Path, settings: Settings) -> None:
    settings.TRACKING_GEOIP_PATH = write(folder / "here.dat", "GeoLite2-City", {NETWORK: CITY})
    assert located(INSIDE) == ("GB", "London", None)


def test_several_files_are_combined_and_a_city_file_is_asked_first(folder: Path) -> None:
    write(folder / "1.mmdb", "GeoLite2-ASN", {NETWORK: ASN})
    write(folder / "2.mmdb", "GeoLite2-Country", {NETWORK: COUNTRY, "1.2.3.0/24": COUNTRY})
    write(folder / "3.mmdb", "GeoLite2-City", {NETWORK: CITY})
    write(folder / "4.mmdb", "other city file", {NETWORK: CITY | {"country": {"iso_code": "DE"}}})
    write(folder / ".5.mmdb", "hidden", {NETWORK: {"country_code": "ES", "city": "Madrid"}})
    assert located(INSIDE) == ("GB", "London", 20712)
    assert located("1.2.3.4") == ("FR", None, None)
    assert [database.name for database in geo.status()] == [f"{n}.mmdb" for n in (3, 4, 2, 1)]


def test_ipv4_inside_ipv6_is_looked_up_as_ipv4(folder: Path) -> None:
    write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY}, ip_version=4)
    for text in (INSIDE, f"::ffff:{INSIDE}", f"64:ff9b::{INSIDE}"):
        assert located(text) == ("GB", "London", None)
    assert located("2600::1") == (None, None, None)


@pytest.mark.parametrize(
    "text",
    ["10.1.2.3", "127.0.0.1", "100.64.1.1", "192.0.2.1", "fc00::1", "::1", "64:ff9b::10.1.2.3"],
)
def test_special_addresses_are_never_looked_up(folder: Path, text: str) -> None:
    everywhere = dict.fromkeys(("0.0.0.0/1", "128.0.0.0/1", "fc00::/7", "64:ff9b::/96"), CITY)
    write(folder / "a.mmdb", "GeoLite2-City", everywhere)
    assert located("9.9.9.9") == ("GB", "London", None)
    assert located(text) == (None, None, None)


@pytest.mark.parametrize(
    ("record", "place"),
    [
        ({"country_code": "XX", "city": "x"}, (None, "x", None)),
        ({"country_code": "ZZ", "city": "x"}, (None, "x", None)),
        ({"country_code": "G\n", "city": "x"}, (None, "x", None)),
        ({"country_code": "ÄÖ", "city": "x"}, (None, "x", None)),
        ({"country": ["GB"], "city": {"names": ["London"]}, "asn": "AS1"}, (None, None, 1)),
        ({"city": "a\r\n\x1b[31m\u202eb\x00\u2028c"}, (None, "a[31mbc", None)),
        ({"city": "é" * 10_000}, (None, "é" * 128, None)),
        ({"city": " \t ", "asn": 7}, (None, None, 7)),
        ({"country_code": "GB", "asn": "AS99999999999"}, ("GB", None, None)),
        ({"country_code": "GB", "asn": "9" * 5000}, ("GB", None, None)),
        ({"country_code": "GB", "asn": "AS٣"}, ("GB", None, None)),
        ({"country_code": "GB", "asn": 2**64}, ("GB", None, None)),
        ({"country_code": "GB", "asn": 0}, ("GB", None, None)),
    ],
)
def test_only_facts_of_the_right_form_are_believed(
    folder: Path, record: object, place: tuple[object, ...]
) -> None:
    write(folder / "a.mmdb", "somebody's", {NETWORK: record})
    assert located(INSIDE) == place


@pytest.mark.parametrize("record", ["GB", ["GB"], 7, {}, {"country": "nowhere"}])
def test_a_file_without_facts_is_not_used(
    folder: Path, record: object, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder / "a.mmdb", "somebody's", {NETWORK: record})
    assert located(INSIDE) == (None, None, None)
    assert geo.status() == ()
    assert "knows no city, country or autonomous system" in caplog.text


def test_a_maxmind_type_over_wrong_records_is_not_used(folder: Path) -> None:
    write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: {"country": "GB", "city": "London"}})
    assert located(INSIDE) == (None, None, None)


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "text": lambda path: path.write_text("not a database\n" * 1000),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_warns_once_and_is_read_again_when_mended(
    folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY})
    assert located(INSIDE) == ("GB", "London", None)
    DAMAGE[damage](path)
    for _ in range(3):
        assert located(INSIDE) == (None, None, None)
    assert geo.status() == ()
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    mended = write(folder.parent / "mended.mmdb", "GeoLite2-City", {NETWORK: CITY})
    if path.is_dir():
        path.rmdir()
    mended.replace(path)
    assert located(INSIDE) == ("GB", "London", None)


def test_a_file_that_cannot_be_opened_is_read_once_it_can(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY})

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(geofiles.shutil, "copyfileobj", full_disk)
        assert located(INSIDE) == (None, None, None)
        assert located(INSIDE) == (None, None, None)
    assert caplog.text.count("No space left on device") == 1
    assert located(INSIDE) == ("GB", "London", None)


def test_a_file_that_changes_while_it_is_read_leaves_the_known_one_in_use(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY})
    assert located(INSIDE) == ("GB", "London", None)
    write(path, "GeoLite2-Country", {NETWORK: COUNTRY})
    copy = shutil.copyfileobj

    def interrupted(*arguments: object) -> None:
        copy(*arguments)  # type: ignore[arg-type]
        os.utime(path)

    with monkeypatch.context() as patch:
        patch.setattr(geofiles.shutil, "copyfileobj", interrupted)
        assert located(INSIDE) == ("GB", "London", None)
    assert located(INSIDE) == ("FR", None, None)


def test_a_swapped_file_is_noticed_at_the_next_look_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geo, "CHECK_SECONDS", 3600.0)
    path = write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY})
    assert located(INSIDE) == ("GB", "London", None)
    write(folder.parent / "b.mmdb", "GeoLite2-Country", {NETWORK: COUNTRY}).replace(path)
    assert located(INSIDE) == ("GB", "London", None)
    monkeypatch.setattr(geo, "CHECK_SECONDS", 0.0)
    assert located(INSIDE) == ("FR", None, None)


def test_repeated_addresses_are_answered_from_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY})
    assert located(INSIDE) == ("GB", "London", None)
    monkeypatch.setattr(geo.Reader, "find", lambda *_: pytest.fail("looked up again"))
    assert located(INSIDE) == ("GB", "London", None)


@pytest.mark.parametrize(("lifetime", "looks"), [(60, [1, 1, 2]), (0, [1, 2, 3])])
def test_a_place_is_remembered_no_longer_than_it_may_be(
    folder: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    lifetime: int,
    looks: list[int],
) -> None:
    settings.TRACKING_CACHE_TTL_PLACES = lifetime
    write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY})
    looked: list[object] = []
    find = geo.Reader.find
    monkeypatch.setattr(geo.Reader, "find", lambda *asked: looked.append(1) or find(*asked))
    for now, expected in zip((600.0, 659.9, 660.0), looks, strict=True):
        monkeypatch.setattr(geo, "time", SimpleNamespace(monotonic=lambda now=now: now))
        assert located(INSIDE) == ("GB", "London", None)
        assert len(looked) == expected


def test_a_record_that_many_networks_share_is_decoded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = [f"{first}.0.0.0/16" for first in range(20, 60, 2)]
    write(folder / "a.mmdb", "GeoLite2-City", dict.fromkeys(networks, CITY))
    assert located("20.0.0.1") == ("GB", "London", None)
    monkeypatch.setattr(geo._Records, "_resolve_data_pointer", lambda *_: pytest.fail("decoded"))
    assert located("58.0.0.1") == ("GB", "London", None)


def test_a_file_truncated_in_place_cannot_kill_the_process(folder: Path) -> None:
    """A reader that maps the file itself dies of SIGBUS here, so a process of its own asks."""
    networks = {f"{first}.{second}.0.0/16": {"country_code": "GB", "city": f"City {first} {second}"}
                for first in range(20, 60) for second in range(0, 256, 8)}  # fmt: skip
    write(folder / "a.mmdb", "somebody's", networks)
    program = (
        "import sys, os, django; django.setup()\n"
        "from tracking import geo\n"
        "from tracking.engine.address import parse_address\n"
        "geo.locate(parse_address('20.0.0.1'))\n"
        "os.truncate(sys.argv[1], 10)\n"
        "print(geo.locate(parse_address('59.248.0.1')).city)\n"
    )
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "GEOIP_PATH": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "a.mmdb")],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "City 59 248\n"), done.stderr


def test_no_damage_to_a_file_raises_or_crashes(folder: Path) -> None:
    records = {
        f"{first}.0.0.0/8": CITY | {"traits": {"autonomous_system_number": first}}
        for first in range(20, 60)
    }
    for kind in ("GeoIP2-Enterprise", "somebody's"):
        whole = write(folder / "a.mmdb", kind, records).read_bytes()
        dice = random.Random(kind)
        for _ in range(150):
            damaged = bytearray(whole)
            for _ in range(dice.choice((1, 4, 64))):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            (folder / "a.mmdb").write_bytes(damaged)
            for first in range(20, 60, 5):
                place = geo.locate(parse_address(f"{first}.1.2.3"))
                assert place.city is None or place.city.isprintable()
                assert place.country is None or len(place.country) == 2


def test_threads_ask_while_files_are_swapped(folder: Path) -> None:
    first = write(folder.parent / "1", "GeoLite2-City", {NETWORK: CITY}).read_bytes()
    second = write(folder.parent / "2", "somebody's", {NETWORK: IPINFO}).read_bytes()
    write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY})
    allowed = {("GB", "London", None), ("GB", None, 2856)}
    wrong: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                found = located(INSIDE)
            except BaseException as error:  # noqa: BLE001 - the test reports it
                wrong.append(error)
                return
            if found not in allowed:
                wrong.append(found)

    located(INSIDE)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        (folder / "next").write_bytes((first, second)[number % 2])
        (folder / "next").replace(folder / "a.mmdb")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_child_finds_places_though_a_thread_was_loading(folder: Path) -> None:
    write(folder / "a.mmdb", "GeoLite2-City", {NETWORK: CITY})
    located(INSIDE)
    with geo._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if located(INSIDE) == ("GB", "London", None) else 1)
    assert os.waitpid(child, 0)[1] == 0


@needs_maxmind
def test_maxminds_own_databases_give_what_they_were_made_from(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TRACKING_GEOIP_PATH = MAXMIND
    assert located("81.2.69.142") == ("GB", "London", None)
    assert located("175.16.199.7") == ("CN", "Changchun", None)
    assert located("67.43.156.1") == ("BT", None, 35908)
    assert located("2001:218::1") == ("JP", None, None)
    assert located("202.196.224.5")[0] == "PH"
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 3, "two broken databases, and one that knows no places"
