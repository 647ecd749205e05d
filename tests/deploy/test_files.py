"""What deploy/ ships is valid where a tool can say so, and its parts fit together."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.deployment import ROOT
from tests.deploy.site import NAME, find_nginx, make_certificate, render

DEPLOY = ROOT / "deploy"
UNITS = DEPLOY / "systemd"
PYTHON = "/opt/alx-backend-security/.venv/bin/python"
SOCKET = "/run/alx-backend-security/web.sock"
SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|KEY", re.IGNORECASE)


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


@pytest.fixture
def instructions() -> list[tuple[str, str]]:
    """The lines of the Containerfile, each a word and the rest."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], " ".join(line.split()[1:])) for line in lines]


def test_nginx_finds_no_fault(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    main = render(tmp_path, 80, 443, tmp_path)

    command = [find_nginx(), "-t", "-e", "stderr", "-p", tmp_path, "-c", main]
    told = subprocess.run(command, capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stderr
    assert "[warn]" not in told.stderr


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here: apt install systemd")
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    for unit in tmp_path.glob("*.service"):  # it looks whether programs are there
        unit.write_text(unit.read_text().replace(PYTHON, sys.executable))

    command = [analyze, "verify", *tmp_path.glob("*.s*t"), *tmp_path.glob("*.service")]
    env = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}  # and then where systemd itself looks
    told = subprocess.run(command, capture_output=True, text=True, env=env, check=False)

    assert told.returncode == 0, told.stderr
    assert "alx-backend-security" not in told.stderr


def test_units_stop_no_sooner_than_what_they_run() -> None:
    gunicorn = (DEPLOY / "gunicorn.conf.py").read_text()
    graceful = int(re.findall(r"^graceful_timeout = (\d+)", gunicorn, re.MULTILINE)[0])

    for unit, least in (("web", graceful), ("worker", 30)):
        text = (UNITS / f"alx-backend-security-{unit}.service").read_text()
        assert int(re.findall(r"TimeoutStopSec=(\d+)", text)[0]) > least


def test_one_socket_is_meant_everywhere(compose: dict[str, Any]) -> None:
    assert f"server unix:{SOCKET} " in (DEPLOY / "nginx" / "https.conf").read_text()
    unit = (UNITS / "alx-backend-security-web.socket").read_text()
    assert f"ListenStream={SOCKET}\n" in unit
    assert f"--bind=unix:{SOCKET}" in compose["services"]["web"]["command"][-1]


def test_every_variable_of_compose_is_one_of_the_service(compose: dict[str, Any]) -> None:
    known = set(
        re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env_template").read_text(), re.MULTILINE)
    )

    for name in ("web", "worker"):
        assert set(compose["services"][name]["environment"]) <= known


def test_compose_waits_for_what_is_ready(compose: dict[str, Any]) -> None:
    services = compose["services"]

    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                checked = "healthcheck" in services[other] or other == "web"  # by its image
                assert checked, f"{name} waits for the health of {other}"


def test_compose_writes_no_secret_down(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name):
                assert str(value).startswith("${"), name
            assert not re.search(r"://\w+:(?!\$\{)[^/]*@", str(value)), name


def test_dockers_own_check_of_the_compose_file(tmp_path: Path) -> None:
    docker = shutil.which("docker") or "false"
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("Docker's compose plugin is not on this machine")
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "deploy" / ".env").write_text(f"SERVER_NAME={NAME}\nPOSTGRES_PASSWORD=x\n")
    file = tmp_path / "deploy" / "compose.yaml"
    command = [docker, "compose", "--file", file, "config", "--quiet"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_all_that_the_image_needs_goes_in(instructions: list[tuple[str, str]]) -> None:
    copied = [
        source
        for word, rest in instructions
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}

    assert packages | {"manage.py", "deploy/gunicorn.conf.py"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in allowed, source


def test_nothing_else_can_go_into_the_image() -> None:
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert lines[0] == "*"
    assert not [line for line in lines if line.startswith("!.") or line in {"!deploy", "!var"}]


def test_the_image_runs_as_nobody_special_and_holds_no_secret(
    instructions: list[tuple[str, str]],
) -> None:
    last_stage = max(at for at, (word, _) in enumerate(instructions) if word == "FROM")
    users = [rest for word, rest in instructions[last_stage:] if word == "USER"]

    assert users[-1] not in {"root", "0"}
    assert not [
        rest for word, rest in instructions if word in {"ENV", "ARG"} if SECRET.search(rest)
    ]
    # The host of a registry is the business of whoever builds.
    for word, rest in instructions:
        assert word != "FROM" or "/" not in rest


def start(tmp_path: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Run the start of nginx's container with a program that tells how it was called."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "nginx").write_text('#!/bin/sh\necho "nginx:$#:$1:$2"\n')
    (programs / "nginx").chmod(0o755)
    env = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SERVER_NAME": name,
        "SITES": str(tmp_path),
        "CERTIFICATES": str(tmp_path / "live"),
    }
    command = ["sh", DEPLOY / "nginx" / "start.sh"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_nginx_in_its_container_begins_without_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "https.conf").write_text("of an earlier start")

    told = start(tmp_path, "my.example.net")

    assert "nginx:2:-g:daemon off;" in told.stdout
    assert "There is no certificate for my.example.net yet" in told.stdout
    assert "server_name my.example.net;" in (tmp_path / "http.conf").read_text()
    assert not (tmp_path / "https.conf").exists()


def test_nginx_in_its_container_serves_https_with_one(tmp_path: Path) -> None:
    certificate = tmp_path / "live" / "my.example.net" / "fullchain.pem"
    certificate.parent.mkdir(parents=True)
    certificate.touch()

    start(tmp_path, "my.example.net")

    text = (tmp_path / "https.conf").read_text()
    assert "ssl_certificate /etc/letsencrypt/live/my.example.net/fullchain.pem;" in text
    assert NAME not in text


@pytest.mark.parametrize("name", ["", "a b", "x/y", "x;reboot"])
def test_nginx_in_its_container_does_not_start_without_a_name(tmp_path: Path, name: str) -> None:
    told = start(tmp_path, name)

    assert told.returncode != 0
    assert "SERVER_NAME" in told.stderr
    assert "nginx:" not in told.stdout


def test_the_files_that_the_guide_names_are_there() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text()

    for name in set(re.findall(r"\bdeploy/[\w./-]+\w", guide)) - {"deploy/.env"}:
        assert (ROOT / name).exists(), name
