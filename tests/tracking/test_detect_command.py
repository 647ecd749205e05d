"""`manage.py detect` and `manage.py backtest`, as an operator types them."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from pytest_django import Settings

from tests.tracking.records import HARMLESS
from tracking import backtest, detection, drainer, journal, tally
from tracking.engine.visit import Record
from tracking.models import AccessRule, Counter, DetectionRun, SuspiciousIP

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime.now(UTC)
CLIENT = "198.51.100.7"
ATTACK = "/cgi-bin/../../../../etc/passwd"


@pytest.fixture(autouse=True)
def nothing_noticed_yet() -> None:
    tally.reset()


def record(records: Iterable[Record]) -> None:
    for each in records:
        journal.mine().append(each)
    drainer.drain()


def request(at: datetime, **facts: object) -> Record:
    written = at.isoformat(" ").removesuffix("+00:00")
    return HARMLESS._replace(
        **({"at": written, "address": CLIENT, "request_id": os.urandom(16).hex()} | facts)
    )


def attack(at: datetime = NOW - timedelta(minutes=5), **facts: object) -> None:
    record([request(at, path=ATTACK, status=404, **facts)])


def many(number: int, minutes_ago: int) -> None:
    start = NOW - timedelta(minutes=minutes_ago)
    record(request(start + timedelta(seconds=n)) for n in range(number))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command(*arguments)
    return capsys.readouterr().out


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(capsys, *arguments, "--json"))
    return answer


def test_detect_blocks_and_shows_what_it_has_found(capsys: pytest.CaptureFixture[str]) -> None:
    attack()
    head, line = run(capsys, "detect").splitlines()
    assert head.split() == [
        "TARGET", "DETECTOR", "SEVERITY", "COUNT", "UNTIL", "(UTC)", "RESPONSE", "REASON",
    ]  # fmt: skip
    assert line.startswith(f"{CLIENT}  signatures  HIGH      1      ")
    assert "blocked for 1:00:00" in line
    assert "path_traversal" in line
    assert AccessRule.objects.get().target == CLIENT


def test_detect_says_when_nothing_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    attack()
    run(capsys, "detect")
    call_command("detect")
    assert capsys.readouterr().err == "Nothing new is suspicious.\n"
    assert DetectionRun.objects.count() == 2


def test_a_dry_run_shows_the_same_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    attack()
    assert "would be blocked for 1:00:00" in run(capsys, "detect", "--dry-run")
    assert not AccessRule.objects.exists()
    assert not SuspiciousIP.objects.exists()
    assert not DetectionRun.objects.exists()
    assert not Counter.objects.filter(name=detection.WATERMARK).exists()


def test_detect_tells_programs_each_fact(capsys: pytest.CaptureFixture[str]) -> None:
    attack()
    answer = told(capsys, "detect")
    (finding,) = answer["findings"]
    assert finding["target"] == CLIENT
    assert finding["response"] == "ENFORCE"
    assert finding["duration_seconds"] == 3600
    assert len(finding["evidence"]) == 1
    (report,) = answer["runs"]
    assert (report["findings"], report["raised"], report["blocked"]) == (1, 1, 1)
    assert answer["dry_run"] is False
    assert told(capsys, "detect", "--dry-run")["findings"] == []


def test_detect_says_why_it_does_not_block(capsys: pytest.CaptureFixture[str]) -> None:
    attack(address="10.1.2.3")
    attack(NOW - timedelta(hours=5), address="198.51.100.9")
    output = run(capsys, "detect")
    assert "suggested for 1:00:00: 10.1.2.3 is not a public address" in output
    assert "none: it is long past" in output


def test_since_looks_again_with_thresholds_that_are_others_now(
    capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    many(30, minutes_ago=20)
    run(capsys, "detect")
    mark = detection.watermark()
    settings.TRACKING_DETECTORS = {"flood": {"requests": 20}}
    assert run(capsys, "detect") == ""
    assert "30 requests" in run(capsys, "detect", "--dry-run", "--since", "1h")
    assert not SuspiciousIP.objects.exists()
    assert "30 requests" in run(capsys, "detect", "--since", "1h")
    assert SuspiciousIP.objects.get().detector == "flood"
    assert detection.watermark() == mark


def test_since_also_looks_at_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "detect")
    attack()
    assert CLIENT in run(capsys, "detect", "--since", "2m")
    assert detection.watermark() > 0


def test_looking_again_has_no_consequences_again(capsys: pytest.CaptureFixture[str]) -> None:
    attack()
    run(capsys, "detect")
    rows = list(SuspiciousIP.objects.values())
    assert run(capsys, "detect", "--since", "1h") == ""
    assert list(SuspiciousIP.objects.values()) == rows
    assert AccessRule.objects.count() == 1


def test_since_leaves_out_what_is_older(capsys: pytest.CaptureFixture[str]) -> None:
    attack(NOW - timedelta(hours=30))
    detection_so_far = Counter.objects.create(name=detection.WATERMARK, value=10**6)
    assert run(capsys, "detect", "--since", "24h") == ""
    assert "long past" in run(capsys, "detect", "--since", "2d")
    detection_so_far.refresh_from_db()
    assert detection_so_far.value == 10**6


@pytest.mark.parametrize("when", ["yesterday", "2026-13-01", "", "9999999999d", "2026-11-22T25:00"])
@pytest.mark.parametrize("command", ["detect", "backtest"])
def test_a_moment_that_is_none_is_refused(command: str, when: str) -> None:
    with pytest.raises(CommandError, match="is no moment: write it like"):
        call_command(command, f"--since={when}")


def test_detect_cannot_run_while_another_process_looks() -> None:
    with detection._lease(), pytest.raises(CommandError, match="try again soon") as refused:
        call_command("detect")
    assert refused.value.returncode == 1


def test_detect_says_that_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("no route")

    monkeypatch.setattr(detection, "run_to_end", away)
    with pytest.raises(CommandError, match="The database is away"):
        call_command("detect")


def test_a_wrong_threshold_in_the_settings_is_one_sentence(settings: Settings) -> None:
    settings.TRACKING_DETECTORS = {"flood": {"request": 20}}
    attack()
    with pytest.raises(CommandError, match="TRACKING_DETECTORS: flood: 'request' is none of"):
        call_command("detect", skip_checks=True)


def test_what_attackers_send_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record(
        request(NOW - timedelta(minutes=n), path=f"/wp-login.php/%1b[2J%9b{n}", status=404)
        for n in range(1, 6)
    )
    output = run(capsys, "detect")
    assert "wp-login" in output
    assert output.replace("\n", "").isprintable()


def test_a_backtest_shows_hours_targets_and_a_sum(capsys: pytest.CaptureFixture[str]) -> None:
    many(30, minutes_ago=90)
    attack(NOW - timedelta(minutes=30), address="198.51.100.9")
    output = run(
        capsys, "backtest", "--detector", "flood", "--detector", "signatures",
        "--set", "flood.requests=20", "--set", "flood.block_requests=25",
    )  # fmt: skip
    assert "HOUR (UTC)" in output
    assert f"{CLIENT}  " in output
    assert "would be blocked" in output
    assert output.splitlines()[-1].endswith(
        "2 targets would have been flagged and 2 blocked, and 0 signed-in users refused."
    )
    assert not SuspiciousIP.objects.exists()


def test_a_backtest_tells_programs_each_fact(capsys: pytest.CaptureFixture[str]) -> None:
    attack(NOW - timedelta(hours=3))
    answer = told(capsys, "backtest", "--since", "4h", "--until", "1h")
    (target,) = answer["targets"]
    assert (target["target"], target["would_block"]) == (CLIENT, True)
    assert sum(hour["flagged"] for hour in answer["hours"]) == 1
    assert sum(hour["blocked"] for hour in answer["hours"]) == 1


def test_a_backtest_is_about_the_last_day(capsys: pytest.CaptureFixture[str]) -> None:
    attack(NOW - timedelta(hours=23))
    attack(NOW - timedelta(hours=25), address="198.51.100.9")
    assert [one["target"] for one in told(capsys, "backtest")["targets"]] == [CLIENT]


def test_a_backtest_shows_its_progress_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    call_command("backtest")
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        call_command("backtest")
    assert re.search(r"\d/2[45] \[", terminal.getvalue())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--detector", "floods"], "There is no detector 'floods'"),
        (["--set", "flood.requests"], "write it like flood.requests=200"),
        (["--set", "flood.requests=-1"], "write it like flood.requests=200"),
        (["--set", "flood.request=5"], "'request' is none of mode, requests"),
        (["--set", "flood.requests=many"], "'many' is not a number above 0"),
        (["--set", "flood.mode=BLOCK"], "'BLOCK' is none of OFF"),
        (["--set", "flood.requests=99999999999"], "is not a number above 0"),
        (["--detector", "flood", "--set", "burst.requests=9"], "burst is changed, but not among"),
        (["--since", "2026-01-01"], "31 days at most"),
        (["--since", "1h", "--until", "2h"], "must end after it begins"),
    ],
)
def test_a_backtest_that_cannot_be_done_is_one_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words) as refused:
        call_command("backtest", *arguments)
    assert refused.value.returncode == 1


def test_a_backtest_says_that_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("no route")

    monkeypatch.setattr(backtest, "simulate", away)
    with pytest.raises(CommandError, match="The database is away"):
        call_command("backtest")
