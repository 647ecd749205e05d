"""The environment: a wrong value is one sentence, production refuses what is unsafe."""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tracking.engine.limits import LIMITS, ClientClass

ROOT = Path(__file__).resolve().parents[2]
KEY = "k" + "0123456789abcdef" * 4
PRODUCTION = {"SECRET_KEY": KEY, "JWT_SIGNING_KEYS": f"one:{KEY[::-1]}"}
READ = "import project.settings as s; print(repr(({})))"


def start(tmp_path: Path, show: str = "0", **variables: str) -> subprocess.CompletedProcess[str]:
    """Read the settings in a fresh process with nothing but these variables."""
    variables = {"STATE_DIR": str(tmp_path / "state"), **PRODUCTION, **variables}
    return subprocess.run(
        [sys.executable, "-c", READ.format(show)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("WEB_WORKERS", "0"),
        ("WEB_THREADS", "many"),
        ("DEBUG", "perhaps"),
        ("ENV_FILE", "/dev/null/env"),
        ("STATE_DIR", "/dev/null/state"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "a" * 60),
        ("SECRET_KEY", "django-insecure-" + KEY),
        ("SECRET_KEY", ""),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", "https://example.org"),
        ("CSRF_TRUSTED_ORIGINS", "example.org"),
        ("JWT_SIGNING_KEYS", ""),
        ("JWT_SIGNING_KEYS", KEY),
        ("JWT_SIGNING_KEYS", "one:short"),
        ("JWT_SIGNING_KEYS", "one:" + "a" * 64),
        ("JWT_SIGNING_KEYS", f"one:{KEY},two:short"),
        ("JWT_SIGNING_KEYS", f"one:{KEY},one:{KEY}"),
        ("JWT_ALGORITHM", "none"),
        ("JWT_ACCESS_TTL", "1d"),
        ("JWT_ACCESS_TTL", "soon"),
        ("JWT_REFRESH_TTL", "0d"),
        ("SIGNUP", "perhaps"),
        ("TIME_ZONE", "Mars/Olympus"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("SECURE_HSTS_SECONDS", "-1"),
        ("DATABASE_URL", "mysql://root:secret@localhost/requests"),
        ("DATABASE_URL", "postgres://user:secret@host/name?pool=1"),
        ("DATABASE_URL", "postgres://user:secret@host:port/name"),
        ("HUEY_URL", "amqp://secret@localhost"),
        ("ALERT_EMAILS", "secret"),
        ("ALERT_EMAILS", "ada@example.org,ada@example.org bob@example.org"),
        ("ALERT_WEBHOOKS", "https://hooks.example.org/secret"),
        ("ALERT_WEBHOOKS", "https://hooks.example.org/ whsec_secret"),
        ("ALERT_WEBHOOKS", f"http://hooks.example.org/secret whsec_{KEY}"),
        ("ALERT_INTERVAL", "0m"),
        ("CACHE_TTL_STATISTICS", "2h"),
        ("CACHE_TTL_PLACES", "-1h"),
        ("ALERT_MUTE", "block.made"),
        ("DETECTORS", "flood=200"),
        ("DETECTORS", "flood.requests=200, burst.mode: OFF"),
        ("ALERT_NETWORKS", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy.example.org"),
        ("TRUSTED_PROXY_HEADER", "X-Forwarded-For, Forwarded"),
        ("LOG_RETENTION_DAYS", "-1"),
        ("LOG_MAX_ROWS", "-1"),
        ("LOG_QUERY_STRING", "sometimes"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://:secret@localhost"),
        ("CORS_ALLOWED_ORIGINS", "app.example.org"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.org/"),
        ("CORS_ALLOWED_ORIGINS", "https://*.example.org"),
        ("CORS_ALLOWED_ORIGINS", "*"),
        ("CORS_ALLOWED_ORIGINS", "null"),
        ("CORS_ALLOWED_ORIGINS", "https://example.org?a=b"),
        ("CORS_ALLOWED_ORIGINS", "https://user:secret@example.org"),
        ("METRICS_TOKEN", "too-short-secret@"),
        ("METRICS_TOKEN", "a" * 40),
        ("LOG_FORMAT", "xml"),
        ("LIMIT_GRAPHQL_ANONYMOUS", "5"),
        ("LIMIT_GRAPHQL_STAFF", "0/m"),
        ("LIMIT_GRAPHQL", "5/m,often"),
        ("LIMIT_LOGIN_ADDRESS", "never"),
        ("LIMIT_LOGIN_ACCOUNT_OBSERVED", "perhaps"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_its_variable(
    tmp_path: Path, name: str, value: str
) -> None:
    answer = start(tmp_path, **{name: value})

    assert answer.returncode == 1
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert name in answer.stderr
    assert "secret@" not in answer.stderr


def manage(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "ENV_FILE": os.devnull,
            "STATE_DIR": str(tmp_path / "state"),
            **PRODUCTION,
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_checks_for_production_find_nothing(tmp_path: Path) -> None:
    https = {"SECURE_SSL_REDIRECT": "true", "SECURE_HSTS_SECONDS": "31536000"}
    production = {"ALLOWED_HOSTS": "example.org", "TRUSTED_PROXIES": "127.0.0.1", **https}
    arguments = ("check", "--deploy", "--fail-level", "WARNING")

    found = manage(tmp_path, *arguments, **production)
    debug = manage(tmp_path, *arguments, **production, DEBUG="true")

    assert (found.returncode, found.stderr) == (0, "")
    assert "no issues" in found.stdout
    assert debug.returncode == 1
    assert "security.W018" in debug.stderr


def test_no_command_works_with_the_key_of_django_for_tokens(tmp_path: Path) -> None:
    refused = manage(tmp_path, "migrate", "--plan", JWT_SIGNING_KEYS=f"one:{KEY}")
    assert refused.returncode == 1
    assert "users.E007" in refused.stderr


def test_detectors_are_changed_by_a_variable(tmp_path: Path) -> None:
    told = "flood.requests=200, flood.mode=SUGGEST,burst.mode=OFF"
    answer = start(tmp_path, "s.TRACKING_DETECTORS", DETECTORS=told)

    assert answer.stdout.strip() == str(
        {"flood": {"requests": 200, "mode": "SUGGEST"}, "burst": {"mode": "OFF"}}
    )


def test_a_detector_that_there_is_not_stops_every_command(tmp_path: Path) -> None:
    refused = manage(tmp_path, "migrate", "--plan", DETECTORS="floods.requests=200")
    assert refused.returncode == 1
    assert "tracking.E035" in refused.stderr


def test_an_empty_list_is_the_default_and_spaces_do_not_count(tmp_path: Path) -> None:
    show = "s.ALLOWED_HOSTS, s.TRACKING_TRUSTED_PROXIES"
    answer = start(tmp_path, show, ALLOWED_HOSTS="", TRUSTED_PROXIES=" 10.0.0.0/8 , 192.0.2.1,")

    assert answer.stdout.strip() == str(
        (["localhost", "127.0.0.1", "[::1]"], ["10.0.0.0/8", "192.0.2.1"])
    )


def test_limits_are_changed_by_class_by_name_and_by_what_happens_above_them(tmp_path: Path) -> None:
    answer = start(
        tmp_path,
        "s.TRACKING_LIMITS",
        LIMIT_GRAPHQL="7/m",
        LIMIT_GRAPHQL_ANONYMOUS="100/m, 1000/h",
        LIMIT_LOGIN_ADDRESS="off",
        LIMIT_LOGIN_ACCOUNT="",
        LIMIT_LOGIN_ACCOUNT_OBSERVED="true",
    )

    assert ast.literal_eval(re.sub(r"<ClientClass.\w+: ('\w+')>", r"\1", answer.stdout)) == {
        "graphql": {"all": "7/m", "anonymous": "100/m, 1000/h"},
        "login_address": {"all": "off"},
        "login_account": {"observed": True},
        "signup": {},
    }


@pytest.mark.parametrize(
    ("host", "debug", "expected"),
    [
        ("127.0.0.1", None, "True"),
        ("::1", None, "True"),
        ("127.0.0.1", "false", "False"),
        ("0.0.0.0", None, "False"),
        ("10.0.0.1", None, "False"),
    ],
)
def test_make_run_turns_debug_on_only_on_loopback(
    tmp_path: Path, host: str, debug: str | None, expected: str
) -> None:
    given = {} if debug is None else {"DEBUG": debug}

    answer = start(tmp_path, "s.DEBUG", LOCAL_RUN="true", HOST=host, **given)

    assert answer.stdout.strip() == expected


def test_debug_is_off_by_default_and_cookies_then_need_https(tmp_path: Path) -> None:
    show = "s.DEBUG, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE"
    answer = start(tmp_path, show)

    assert answer.stdout.strip() == "(False, True, True)"


def test_the_development_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first, second = (start(tmp_path, "s.SECRET_KEY", DEBUG="true", SECRET_KEY="") for _ in range(2))

    key = tmp_path / "state" / "secret-key"
    assert len(first.stdout.strip()) > 50
    assert first.stdout == second.stdout
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert {path.name for path in key.parent.iterdir()} == {"secret-key", "static"}


def test_sqlite_waits_for_other_writers_and_odd_folder_names_work(tmp_path: Path) -> None:
    state = tmp_path / "odd # name? 100%"
    show = "[s.DATABASES['default'][k] for k in ('NAME', 'OPTIONS')]"
    answer = start(tmp_path, show, STATE_DIR=str(state))

    name, options = ast.literal_eval(answer.stdout)
    assert name == str(state / "db.sqlite3")
    assert options["timeout"] >= 20
    assert options["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in options["init_command"]
    assert "synchronous=NORMAL" in options["init_command"]


def test_the_template_lists_exactly_the_variables_that_are_read() -> None:
    source = (ROOT / "project" / "settings.py").read_text()
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    read = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "env"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    } - {"words", "rates", "span", "lifetime", "token"}
    read |= {f"LIMIT_{limit.name.upper()}{end}" for limit in LIMITS for end in ("", "_OBSERVED")}
    read |= {f"LIMIT_GRAPHQL_{who.upper()}" for who in ClientClass}
    template = (ROOT / ".env_template").read_text()

    listed = re.findall(r"^#([A-Z_]+)=", template, re.MULTILINE)
    assert sorted(listed) == sorted(read)


def test_no_other_module_reads_the_environment() -> None:
    packages = ("project", "schema", "tracking", "users")
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]

    readers = {path.name for path in modules if re.search(r"environ\b|getenv", path.read_text())}
    # wsgi.py and asgi.py only say where the settings are, workers.py tells a package of a folder.
    assert readers <= {"settings.py", "environment.py", "wsgi.py", "asgi.py", "workers.py"}
