"""What an operator types to block, unblock, allow, see, import and export."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tracking import blocklist, policy, tasks
from tracking.audit import COMMAND_LINE
from tracking.engine.rules import RuleAction
from tracking.engine.ruletext import read_target
from tracking.management.commands import import_rules
from tracking.models import AccessRule, AuditEntry
from tracking.proposals import Proposal

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.django_db

Captured = pytest.CaptureFixture[str]


def run(*command: str) -> str:
    """Run a command that succeeds, and return what it prints."""
    out = io.StringIO()
    call_command(*command, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def fails(*command: str) -> tuple[str, str, CommandError]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as refusal:
        call_command(*command, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue(), refusal.value


def live() -> set[str]:
    return set(AccessRule.objects.live(timezone.now()).values_list("target", flat=True))


# block, allow, unblock


def test_targets_of_every_kind_are_blocked_for_a_while() -> None:
    said = run("block", "192.0.2.1", "192.0.2.0/24", "de", "as64496", "--for=4h", "--reason=scans")
    assert said.splitlines()[2].startswith("DE blocked until 2")
    assert live() == {"192.0.2.1", "192.0.2.0/24", "DE", "AS64496"}
    rule = AccessRule.objects.get(target="DE")
    assert rule.expires_at is not None
    assert rule.expires_at - rule.created_at == pytest.approx(
        timedelta(hours=4), abs=timedelta(seconds=5)
    )
    assert (rule.reason, rule.created_by, rule.origin) == ("scans", "command line", "MANUAL")
    assert AuditEntry.objects.filter(action="block", actor="command line").count() == 4


def test_a_flag_says_what_bare_targets_are() -> None:
    run("block", "--asn", "64496", "64497")
    run("block", "--country", "FR")
    assert live() == {"AS64496", "AS64497", "FR"}
    assert "is not a country" in fails("block", "--country", "192.0.2.1")[1]


def test_a_rule_may_only_observe_and_be_about_some_requests() -> None:
    said = run("block", "192.0.2.1", "--observe", "--path=/shop/", "--method=put", "--method=POST")
    assert said == "192.0.2.1 would be blocked until lifted\n"
    rule = AccessRule.objects.get()
    assert (rule.observed, rule.path, rule.methods) == (True, "/shop/", ("POST", "PUT"))


def test_what_cannot_be_blocked_is_told_and_the_rest_is_blocked(settings: Settings) -> None:
    settings.TRACKING_TRUSTED_PROXIES = ["10.0.0.0/8"]
    run("allow", "198.51.100.0/24")
    dangerous = {
        "127.0.0.1": "may never be blocked",
        "::1": "may never be blocked",
        "::ffff:127.0.0.1": "may never be blocked",
        "10.1.2.3": "may never be blocked",
        "198.51.100.7": "is allowed",
        "0.0.0.0/0": "wider than /8",
        "0.0.0.0/1": "wider than /8",
        "::/0": "wider than /32",
        "::ffff:0.0.0.0/96": "wider than /8",
        "192.0.2.1/24": "write 192.0.2.0/24",
        "192.0.2.0/255.255.255.0": "prefix length",
        "*": "this would refuse all",
        "1." * 2500: "longer than any address",
        "x" * 5000: "is no target",
    }
    out, err, error = fails("block", "192.0.2.1", *dangerous, "192.0.2.2")
    assert out.splitlines() == [f"192.0.2.{n} blocked until lifted" for n in (1, 2)]
    told = err.splitlines()
    assert len(told) == len(dangerous)
    for line, said in zip(told, dangerous.values(), strict=True):
        assert said in line
    assert "14 of 16 left as they were" in str(error)
    assert error.returncode == 1


def test_force_widens_but_never_over_what_is_protected() -> None:
    assert "may never be blocked" in fails("block", "0.0.0.0/0", "--force")[1]
    run("allow", "127.0.0.0/8")
    run("allow", "0.0.0.0")
    run("block", "0.0.0.0/0", "--force")
    assert "0.0.0.0/0" in live()


@pytest.mark.parametrize("duration", ["soon", "-4h", "0h", "4", "nan", "4h30m", "", "99999999999h"])
def test_a_wrong_duration_is_a_wrong_usage(duration: str) -> None:
    with pytest.raises(CommandError, match="duration"):
        call_command("block", "192.0.2.1", f"--for={duration}")
    assert not live()


@pytest.mark.parametrize("duration", ["999999999w", "9999w"])
def test_a_duration_without_end_in_sight_is_refused(duration: str) -> None:
    with pytest.raises(CommandError):
        call_command("block", "192.0.2.1", f"--for={duration}", stderr=io.StringIO())
    assert not live()


def test_what_is_blocked_is_blocked_once() -> None:
    run("block", "192.0.2.0/24")
    assert "blocked already, until lifted" in fails("block", "192.0.2.0/24")[1]
    assert "blocked already, until lifted" in fails("block", "192.0.2.7")[1]


def test_unblock_ends_what_it_names_and_tells_of_the_rest() -> None:
    run("block", "192.0.2.0/24", "198.51.100.1")
    out, err, error = fails("unblock", "198.51.100.1", "192.0.2.7", "203.0.113.1", "x")
    assert out == "198.51.100.1 unblocked\n"
    assert "192.0.2.7 is not blocked by itself, but by 192.0.2.0/24" in err
    assert "203.0.113.1 is not blocked" in err
    assert "3 of 4 left as they were" in str(error)
    assert live() == {"192.0.2.0/24"}
    assert AccessRule.objects.count() == 2


def test_allow_lets_in_tells_of_blocks_inside_and_is_taken_back() -> None:
    run("block", "192.0.2.7")
    err = io.StringIO()
    call_command("allow", "192.0.2.0/24", stdout=io.StringIO(), stderr=err)
    assert "192.0.2.7 inside it stays blocked" in err.getvalue()
    assert run("allow", "192.0.2.0/24", "--remove") == "192.0.2.0/24 no longer allowed\n"
    assert live() == {"192.0.2.7"}


@pytest.mark.parametrize("arguments", [(), ("192.0.2.1", "--all")])
def test_unblock_takes_either_targets_or_all(arguments: tuple[str, ...]) -> None:
    assert fails("unblock", *arguments)[2].returncode == 2


# The way back in


@pytest.mark.django_db(transaction=True)
def test_who_locked_himself_out_is_let_in_by_unblock_all() -> None:
    policy.refresh()
    client = Client(REMOTE_ADDR="192.0.2.1")
    run("block", "192.0.2.1", "192.0.2.0/24", "DE")
    assert client.get("/livez").status_code == 200  # answered before anything is decided
    assert client.get("/admin/login/").status_code == 403
    assert run("unblock", "--all", "--reason=help") == "3 blocks ended\n"
    assert client.get("/admin/login/").status_code == 200
    entry = AuditEntry.objects.get(action="unblock_all")
    assert (entry.actor, entry.reason) == ("command line", "help")
    assert run("unblock", "--all") == "0 blocks ended\n"


def test_unblock_all_leaves_what_is_allowed() -> None:
    run("allow", "192.0.2.1")
    run("block", "198.51.100.1")
    assert run("unblock", "--all") == "1 block ended\n"
    assert live() == {"192.0.2.1"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRACKING_LIMITS", {"graphql": "often"}),
        ("TRACKING_TRUSTED_PROXIES", ["nginx"]),
        ("TRACKING_STATE_DIR", None),
        ("TRACKING_REDIS_URL", "nonsense"),
    ],
)
def test_unblock_all_works_whatever_is_set_wrongly(
    settings: Settings, name: str, value: Any
) -> None:
    run("block", "192.0.2.1")
    setattr(settings, name, value)
    assert run("unblock", "--all") == "1 block ended\n"
    assert not live()


# rules


def test_rules_are_a_table_for_people() -> None:
    assert run("rules") == ""
    run("block", "192.0.2.0/24", "--for=4h", "--reason=scans")
    run("block", "DE", "--observe", "--path=/shop/")
    head, first, second = run("rules").splitlines()
    assert head.split("  ")[0] == "TARGET"
    assert first.startswith("192.0.2.0/24 ")
    assert first.endswith("command line  scans")
    assert "DE /shop/" in second
    assert "BLOCK (observed)" in second
    run("unblock", "192.0.2.0/24")
    assert len(run("rules").splitlines()) == 2
    assert "ended 2" in run("rules", "--all")


def test_rules_about_an_address_are_those_that_cover_it() -> None:
    run("block", "192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32")
    lines = run("rules", "::ffff:192.0.2.9").splitlines()
    assert [line.split()[0] for line in lines] == ["TARGET", "192.0.2.0/24"]
    assert "is not an address" in str(fails("rules", "nonsense")[2])


def test_rules_are_json_for_programs() -> None:
    assert json.loads(run("rules", "--json")) == []
    run("block", "192.0.2.1", "--method=POST", "--reason=\u202e=1")
    (rule,) = json.loads(run("rules", "--json"))
    assert (rule["target"], rule["methods"], rule["hits"]) == ("192.0.2.1", ["POST"], 0)
    assert (rule["reason"], rule["ended_at"]) == (r"\u202e=1", None)


# Files


def test_a_file_is_imported_and_its_bad_lines_are_told(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"\xef\xbb\xbf192.0.2.1\n# x\n127.0.0.1\n\xff\n0.0.0.0/0\nDE\n" + b"x" * 5000)
    out, err, error = fails("import_rules", str(file), "--for=7d", "--reason=feed")
    assert out == "rules made: 2; there already: 0\n"
    assert [line.partition(":")[0] for line in err.splitlines()] == [
        f"line {number}" for number in (3, 4, 5, 7)
    ]
    assert "Bad lines: 4" in str(error)
    assert error.returncode == 1
    for rule in AccessRule.objects.all():
        assert (rule.origin, rule.reason) == ("IMPORT", "feed")
        assert rule.expires_at is not None


def test_a_list_of_nonsense_is_told_in_few_lines(tmp_path: Path) -> None:
    file = tmp_path / "list"
    file.write_text("nonsense\n" * 1000)
    err = fails("import_rules", str(file))[1].splitlines()
    assert len(err) == import_rules.MOST_TOLD + 1
    assert err[-1] == "and 900 more bad lines"


@pytest.mark.parametrize("how", ["--strict", "--dry-run"])
def test_an_import_can_be_all_or_nothing_and_only_tried(tmp_path: Path, how: str) -> None:
    file = tmp_path / "list"
    file.write_text("192.0.2.1\nx\n")
    assert "though nothing is changed: 1" in fails("import_rules", str(file), how)[0]
    assert not live()


@pytest.mark.parametrize(("name", "said"), [("missing", "No such file"), (".", "directory")])
def test_a_file_that_cannot_be_opened_is_said_in_words(
    tmp_path: Path, name: str, said: str
) -> None:
    assert said in str(fails("import_rules", str(tmp_path / name))[2])


@pytest.mark.parametrize("name", ["rules.csv", "rules.json", "rules.txt"])
def test_what_is_exported_is_imported_by_its_name(tmp_path: Path, name: str) -> None:
    run("block", "192.0.2.0/24", "DE", "AS64496")
    file_format = name.replace("txt", "plain").partition(".")[2]
    file = tmp_path / name
    file.write_text(run("export_rules", f"--format={file_format}"))
    run("unblock", "--all")
    assert run("import_rules", str(file)) == "rules made: 3; there already: 0\n"
    assert live() == {"192.0.2.0/24", "DE", "AS64496"}


def test_an_export_holds_what_is_in_force_and_tells_what_it_leaves_out() -> None:
    run("block", "192.0.2.9", "192.0.2.0/24", "DE", "198.51.100.1")
    run("allow", "192.0.2.77")
    run("block", "203.0.113.1", "--observe")
    run("unblock", "198.51.100.1")
    out, err = io.StringIO(), io.StringIO()
    call_command("export_rules", "--format=nginx", stdout=out, stderr=err)
    assert out.getvalue().splitlines()[1:] == [
        "deny 192.0.2.9/32;",
        "allow 192.0.2.77/32;",
        "deny 192.0.2.0/24;",
    ]
    assert "Left out, since nginx cannot hold them: 2" in err.getvalue()
    assert "192.0.2.77" not in run("export_rules", "--format=nginx", "--action=BLOCK")
    assert run("export_rules", "--action=ALLOW") == "192.0.2.77\n"
    rows = list(csv.DictReader(io.StringIO(run("export_rules", "--format=csv"))))
    assert len(rows) == 5
    only = csv.DictReader(io.StringIO(run("export_rules", "--format=csv", "--action=ALLOW")))
    assert [row["target"] for row in only] == ["192.0.2.77"]


def test_a_set_has_a_hole_where_somebody_is_let_in() -> None:
    run("block", "192.0.2.0/30")
    run("allow", "192.0.2.1")
    assert "{ 192.0.2.0/32, 192.0.2.2/31 }" in run("export_rules", "--format=nftables")
    run("block", "198.51.100.0/25", "198.51.100.128/25")
    assert "add blocked4 198.51.100.0/24\n" in run("export_rules", "--format=ipset")


# At a shell


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    environment = os.environ | {
        "STATE_DIR": str(tmp_path / "state"),
        "DEBUG": "true",
        "DATABASE_URL": "",
        "ENV_FILE": os.devnull,
    }

    def manage(command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        line = f"{sys.executable} manage.py {command}"
        return subprocess.run(
            ["/bin/sh", "-c", line],
            check=False,
            cwd=ROOT,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert manage("migrate -v0").returncode == 0
    return manage


def test_a_shell_gets_results_on_stdout_complaints_on_stderr_and_codes(shell: Any) -> None:
    done = shell("import_rules - --for 4h", stdin="192.0.2.1\nnonsense\n")
    assert (done.stdout, done.returncode) == ("rules made: 1; there already: 0\n", 1)
    assert "line 2: 'nonsense' is no target" in done.stderr
    assert "Traceback" not in done.stderr
    assert shell("block 192.0.2.2 --for soon").returncode == 2
    assert shell("unblock").returncode == 2
    cut = shell("export_rules --format csv | head -c 1")
    assert (cut.stdout, cut.stderr) == ("t", "")
    assert shell("unblock --all").stdout == "1 block ended\n"


def test_an_export_can_be_read_again_whatever_came_first_in_the_book(tmp_path: Path) -> None:
    for command in (("allow", "GB"), ("block", "*"), ("allow", "SE"), ("allow", "GB", "--remove")):
        run(*command)
    file = tmp_path / "rules.csv"
    file.write_text(run("export_rules", "--format", "csv"))
    AccessRule.objects.all().delete()
    run("import_rules", str(file))
    assert live() == {"SE", "*"}


# Speed


def test_ten_thousand_lines_cost_few_queries(
    tmp_path: Path, django_assert_max_num_queries: Any
) -> None:
    file = tmp_path / "list"
    file.write_text("".join(f"64.{n >> 8}.{n & 255}.0/24\n" for n in range(10_000)))
    with django_assert_max_num_queries(400):
        run("import_rules", str(file))
    assert AccessRule.objects.count() == AuditEntry.objects.count() == 10_000


def test_the_worker_notes_the_end_of_rules_that_have_expired() -> None:
    run("block", "192.0.2.1", "192.0.2.2", "--for=4h")
    AccessRule.objects.filter(target="192.0.2.1").update(expires_at=timezone.now())
    tasks.close_expired_rules.call_local()
    tasks.close_expired_rules.call_local()
    rule = AccessRule.objects.get(target="192.0.2.1")
    assert rule.ended_at == rule.expires_at
    assert live() == {"192.0.2.2"}


def test_a_rule_that_has_expired_makes_room_for_the_same_again() -> None:
    proposal = Proposal(target=read_target("192.0.2.1"), action=RuleAction.BLOCK)
    blocklist.block(COMMAND_LINE, proposal)
    AccessRule.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    blocklist.block_many(COMMAND_LINE, [proposal])
    ended, again = AccessRule.objects.order_by("pk")
    assert ended.ended_at == ended.expires_at
    assert again.ended_at is None


@pytest.mark.parametrize("name", ["block", "unblock", "allow"])
def test_the_help_names_what_targets_may_be(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command(name, "--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "targets are countries" in told
    assert "targets are numbers of autonomous systems" in told


def test_a_plain_list_leaves_out_no_rule_that_it_was_not_asked_for() -> None:
    run("allow", "192.0.2.1", "--observe")
    told = []
    for action in ("BLOCK", "ALLOW"):
        err = io.StringIO()
        call_command("export_rules", "--action", action, stdout=io.StringIO(), stderr=err)
        told.append("cannot hold them: 1" in err.getvalue())
    assert told == [False, True]
    err = io.StringIO()
    call_command("export_rules", stdout=io.StringIO(), stderr=err)
    assert err.getvalue() == ""
