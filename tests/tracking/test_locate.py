"""`manage.py locate`: rows recorded without a place get the one that is known now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction
from pytest_django import Settings

from tests.tracking.records import HARMLESS
from tracking import backfill, geo, recorder
from tracking.engine.address import parse_address
from tracking.models import ReadPosition, RequestLog

pytestmark = pytest.mark.django_db(transaction=True)

LONDON, FRANCE, PRIVATE, NOBODYS = "81.2.69.7", "2.125.160.9", "10.0.0.1", "9.9.9.9"


@pytest.fixture
def record(settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Ten rows of each address, recorded while no place was known; then the databases came."""
    settings.TRACKING_GEOIP_PATH = tmp_path / "none"
    geo.reset()
    fill(10)
    request.getfixturevalue("places")


def fill(each: int) -> None:
    position = ReadPosition.objects.get_or_create(name="test")[0]
    records = [
        HARMLESS._replace(
            address=address, request_id=f"{number:032x}", at=f"2026-11-{day} 10:00:00"
        )
        for number in range(each)
        for day, address in ((20, LONDON), (21, FRANCE), (22, PRIVATE), (22, NOBODYS))
    ]
    recorder.advance(position, position.offset + len(records), records)


def located() -> set[tuple[str, str, str, int | None]]:
    return set(RequestLog.objects.values_list("address", "country", "city", "asn"))


PLACED = {
    (LONDON, "GB", "London", 20712),
    (FRANCE, "FR", "", None),
    (PRIVATE, "", "", None),
    (NOBODYS, "", "", None),
}


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("locate", *arguments)
    return capsys.readouterr().out


@pytest.mark.usefixtures("record")
def test_rows_get_their_places_and_the_rest_is_told_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = list(RequestLog.objects.order_by("id").values("id", "at", "recorded_at", "path"))
    out = told(capsys)
    assert out.startswith("40 rows without a place: 20 have one now, 10 are of addresses that are")
    assert "10 no database knows" in out
    assert located() == PLACED
    assert (
        list(RequestLog.objects.order_by("id").values("id", "at", "recorded_at", "path")) == before
    )
    assert told(capsys).startswith("20 rows without a place: 0 have one now")
    assert not ReadPosition.objects.filter(name__startswith="locate:").exists()


@pytest.mark.usefixtures("record")
def test_a_place_on_record_stays(capsys: pytest.CaptureFixture[str]) -> None:
    RequestLog.objects.filter(address=LONDON).update(country="FR")
    assert told(capsys).startswith("30 rows without a place: 10 have one now")
    assert (LONDON, "FR", "", None) in located()


@pytest.mark.usefixtures("record")
def test_only_requests_since_then(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--since", "2026-11-21").startswith("30 rows without a place: 10 have")
    assert (LONDON, "", "", None) in located()
    assert (FRANCE, "FR", "", None) in located()


@pytest.mark.usefixtures("record")
def test_a_stopped_run_is_taken_up_where_it_was(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "WINDOW_KEYS", 8)
    write, calls = backfill._write, []

    def interrupted(updates: Any) -> int:
        calls.append(len(updates))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(updates)

    monkeypatch.setattr(backfill, "_write", interrupted)
    with pytest.raises(CommandError, match=r"Stopped\. .* 8 have one now.*run this again"):
        told(capsys)
    assert RequestLog.objects.exclude(country="").count() == 8
    # The windows before are not looked through again.
    assert told(capsys).startswith("24 rows without a place: 12 have one now, 6 are")
    assert located() == PLACED


@pytest.mark.usefixtures("record")
def test_a_database_that_goes_away_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> int:
        raise OperationalError("gone")

    monkeypatch.setattr(backfill, "_write", away)
    with pytest.raises(CommandError, match=r"The database is away \(gone\).*run this again"):
        call_command("locate")


def test_without_databases_it_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    settings.TRACKING_GEOIP_PATH = tmp_path / "none"
    geo.reset()
    with pytest.raises(CommandError, match="update_geoip"):
        call_command("locate")


@pytest.mark.usefixtures("places")
def test_an_empty_record_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys).startswith("0 rows without a place")


@pytest.mark.usefixtures("record")
def test_slow_writes_make_the_next_smaller(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "LONGEST_SECONDS", 0.0)
    monkeypatch.setattr(backfill, "MOST_ROWS", 8)
    monkeypatch.setattr(backfill, "FEWEST_ROWS", 2)
    write, sizes = backfill._write, []

    def noted(updates: Any) -> int:
        sizes.append(len(updates))
        return write(updates)

    monkeypatch.setattr(backfill, "_write", noted)
    told(capsys)
    assert sizes == [8, 4, 2, 2, 2, 2]


@pytest.mark.usefixtures("record")
def test_a_row_that_is_placed_meanwhile_is_left_alone() -> None:
    row = RequestLog.objects.filter(address=LONDON)[0]
    update = backfill._update(row.pk, geo.locate(parse_address(LONDON)))
    with transaction.atomic():
        RequestLog.objects.filter(pk=row.pk).update(country="FR")
    assert backfill._write([update]) == 0


def test_since_takes_how_long_ago(places: None, capsys: pytest.CaptureFixture[str]) -> None:
    fill(1)
    RequestLog.objects.update(country="", city="", asn=None)
    RequestLog.objects.filter(address=LONDON).update(at=datetime.now(UTC) - timedelta(hours=1))
    RequestLog.objects.exclude(address=LONDON).update(at=datetime.now(UTC) - timedelta(days=9))
    assert told(capsys, "--since", "7d").startswith("1 rows without a place: 1 have one now")


def test_a_wide_gap_between_numbers_is_passed_over(
    record: None, django_assert_max_num_queries: Any
) -> None:
    newest = RequestLog.objects.order_by("-pk").values_list("pk", flat=True)[0]
    RequestLog.objects.filter(pk=newest).update(id=newest + 9_000_000)
    with django_assert_max_num_queries(40):
        call_command("locate")
    assert located() == PLACED
