"""`make run`: one command starts all, what dies comes back, one key stops all."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds; a start takes about four on an idle machine

pytestmark = pytest.mark.xdist_group("run")


class Service:
    """`make run` with a folder and a port of its own."""

    def __init__(
        self, folder: Path, command: tuple[str, ...] = ("make", "run"), **variables: str
    ) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}"
        self.state = folder / "state"
        self.port = free_port()
        with self.log.open("w") as log:
            self.make = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(folder, PORT=str(self.port), **variables),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def output(self) -> str:
        return self.log.read_text()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self.url(path), timeout=5) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def pid(self, program: str) -> int:
        """The process that supervisor started last under this name."""
        found = re.findall(rf"spawned: '{program}' with pid (\d+)", self.output())
        return int(found[-1]) if found else 0

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.make.pid).children(recursive=True)

    def end(self) -> None:
        if self.make.poll() is None:
            os.killpg(self.make.pid, signal.SIGTERM)
            self.make.wait(PATIENCE)


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """What a newcomer's shell has, and nothing of the tests' own settings."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "ENV_FILE": os.devnull}
    # The tests of places fetch files; here nothing may leave the machine.
    places = folder / "places"
    places.mkdir(exist_ok=True)
    (places / "none.mmdb").touch()
    settings = {"STATE_DIR": str(folder / "state"), "GEOIP_PATH": str(places)}
    return kept | settings | variables


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], bool], what: str, service: Service) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what} took too long:\n{service.output()[-3000:]}")
        time.sleep(0.1)


def sentence(folder: Path, **variables: str) -> str:
    """What `make run` says when it cannot start; it must fail at once."""
    answer = subprocess.run(
        ["make", "run"],
        cwd=ROOT,
        env=environment(folder, **variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert answer.returncode != 0
    told = [line for line in answer.stderr.splitlines() if not line.startswith("make")]
    assert len(told) == 1, answer.stderr
    assert "spawned" not in answer.stdout
    return told[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    service = Service(folder)
    try:
        wait_until(lambda: service.status("/readyz") == 200, "the start", service)
        yield service
    finally:
        service.end()


def test_it_says_where_everything_is(service: Service) -> None:
    output = service.output()

    assert service.url("/graphql/") in output
    assert service.url("/admin/") in output
    assert service.url("/readyz") in output
    assert str(service.state / "initial-password") in output


def test_what_it_keeps_is_for_its_owner_alone(service: Service) -> None:
    modes = {path: path.stat().st_mode for path in [service.state, *service.state.rglob("*")]}

    assert {stat.S_IMODE(mode) for mode in modes.values() if stat.S_ISDIR(mode)} == {0o700}
    assert {stat.S_IMODE(mode) for mode in modes.values() if stat.S_ISREG(mode)} == {0o600}


def log_in(service: Service) -> str:
    """Log the first administrator in to the admin; return the page that follows."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    page = browser.open(service.url("/admin/login/?next=/admin/"), timeout=20).read().decode()
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    password = (service.state / "initial-password").read_text().strip()
    form = {"csrfmiddlewaretoken": token, "username": "admin", "password": password}
    posted = urlencode(form).encode()
    return browser.open(service.url("/admin/login/?next=/admin/"), posted, 20).read().decode()


def test_the_first_password_opens_the_admin(service: Service) -> None:
    assert "Log out" in log_in(service)


def test_a_head_request_leaves_no_line_in_the_log(service: Service) -> None:
    request = urllib.request.Request(service.url("/admin/login/"), method="HEAD")

    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.read() == b""

    assert "HEAD" not in service.output()


def test_a_foreign_host_leaves_no_traceback_in_the_log(service: Service) -> None:
    request = urllib.request.Request(service.url("/admin/login/"), headers={"Host": "evil.example"})

    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=20)

    assert "Traceback" not in service.output()


@pytest.mark.parametrize("program", ["web", "worker"])
def test_what_is_killed_comes_back(service: Service, program: str) -> None:
    before = service.pid(program)

    os.kill(before, signal.SIGKILL)

    wait_until(lambda: service.pid(program) != before, "the restart", service)
    wait_until(lambda: service.status("/readyz") == 200, "getting ready", service)
    assert psutil.pid_exists(service.pid(program))


def test_a_killed_web_process_is_replaced(service: Service) -> None:
    wait_until(lambda: bool(psutil.Process(service.pid("web")).children()), "a worker", service)
    victim = psutil.Process(service.pid("web")).children()[0]

    victim.kill()

    wait_until(lambda: not psutil.pid_exists(victim.pid), "the end", service)
    wait_until(lambda: service.status("/livez") == 200, "the restart", service)


def test_a_busy_port_is_one_sentence(service: Service, folder: Path) -> None:
    told = sentence(folder, PORT=str(service.port))

    assert f"Port {service.port}" in told
    assert "PORT=" in told
    assert service.status("/livez") == 200


def test_ctrl_c_stops_everything_within_seconds(service: Service) -> None:
    processes = service.processes()
    assert len(processes) >= 4

    os.killpg(service.make.pid, signal.SIGINT)  # what a terminal does

    _, alive = psutil.wait_procs(processes, timeout=15)
    assert alive == []
    service.make.wait(5)
    assert service.status("/livez") == 0


def test_a_second_run_keeps_the_data_and_sigterm_stops_it(service: Service, folder: Path) -> None:
    password = (service.state / "initial-password").read_text()
    again = Service(folder)
    try:
        wait_until(lambda: again.status("/readyz") == 200, "the second start", again)
        assert "Installing" not in again.output()
        assert (again.state / "initial-password").read_text() == password
        assert "Log out" in log_in(again)
        processes = again.processes()

        again.make.terminate()

        _, alive = psutil.wait_procs(processes, timeout=15)
        assert alive == []
    finally:
        again.end()


def test_a_log_file_loses_no_line(folder: Path) -> None:
    service = Service(folder, (sys.executable, "manage.py", "serve"), LOCAL_RUN="true")
    try:
        wait_until(lambda: service.status("/nowhere") == 404, "the start", service)
        wait_until(lambda: "Not Found: /nowhere" in service.output(), "the line of it", service)
        told = service.output()
    finally:
        service.end()

    assert service.output().startswith(told)


def test_its_output_may_be_a_socket(folder: Path) -> None:
    """Service managers and some shells connect standard output to one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        make = subprocess.Popen(
            ["make", "run"],
            cwd=ROOT,
            env=environment(folder, PORT=str(free_port())),
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        theirs.close()
        ours.settimeout(PATIENCE)
        read = b""
        while b"Booting worker" not in read:
            read += ours.recv(65536) or pytest.fail(f"it ended: {read.decode()}")
        processes = psutil.Process(make.pid).children(recursive=True)
        make.terminate()
        _, alive = psutil.wait_procs(processes, timeout=15)
        make.wait(5)
    assert alive == []


def test_an_unusable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "STATE_DIR" in sentence(tmp_path, STATE_DIR=str(tmp_path / "file"))


def test_other_addresses_than_loopback_need_a_key(tmp_path: Path) -> None:
    assert "SECRET_KEY" in sentence(tmp_path, HOST="0.0.0.0", PORT=str(free_port()))


def test_a_foreign_host_is_one_sentence(tmp_path: Path) -> None:
    assert "HOST=192.0.2.1" in sentence(
        tmp_path, HOST="192.0.2.1", DEBUG="true", PORT=str(free_port())
    )


def pretend_python(folder: Path, program: str) -> dict[str, str]:
    """A PATH on which every Python is this program, beside what `make` needs."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        (bin_folder / name).write_text(f"#!/bin/sh\n{program}\n")
        (bin_folder / name).chmod(0o755)
    for name in ("make", "sh"):
        (bin_folder / name).symlink_to(shutil.which(name) or name)
    return {"PATH": str(bin_folder)}


def test_an_old_python_is_one_sentence(tmp_path: Path) -> None:
    told = sentence(tmp_path, **pretend_python(tmp_path, "exit 1"))

    assert "Python 3.11" in told
    assert "python3-venv" in told


def test_a_python_that_is_named_but_missing_is_one_sentence(tmp_path: Path) -> None:
    assert "/nowhere/python" in sentence(tmp_path, PYTHON="/nowhere/python")


def test_no_python_at_all_is_one_sentence(tmp_path: Path) -> None:
    variables = pretend_python(tmp_path, "exit 127")
    for name in tmp_path.glob("bin/python*"):
        name.unlink()

    assert "Python 3.11" in sentence(tmp_path, **variables)
