"""A person at a real browser, which reaches nothing but this service."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
ASSETS = ROOT / "schema" / "static" / "schema" / "vendor" / "installed.txt"
PASSWORD = "only for this test: 8f1c"
# Any other name than the service's own address is unknown to this browser.
OFFLINE = ("--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
PATIENCE = 20_000  # milliseconds; the first start of a browser is slow on a busy machine

# CI=true turns a skip into a failure (tests/environment.py).
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on this machine"),
    pytest.mark.skipif(not ASSETS.is_file(), reason="run python3 deploy/assets.py first"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "DEBUG": "true",
        "STATE_DIR": str(tmp_path_factory.mktemp("browser")),
        "ENV_FILE": os.devnull,
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        # Every test logs in, within a minute; staff has the default.
        "LIMIT_LOGIN_ADDRESS": "off",
        "LIMIT_GRAPHQL_ANONYMOUS": "off",
        "TRUSTED_PROXIES": "127.0.0.1",  # whom a test sends for says so in X-Forwarded-For
    }


def manage(environment: dict[str, str], *command: str) -> None:
    run = [sys.executable, "manage.py", *command]
    subprocess.run(run, cwd=ROOT, env=environment, check=True, timeout=120)


@pytest.fixture(scope="module")
def service(environment: dict[str, str]) -> Iterator[str]:
    """The service as gunicorn serves it in development, with one administrator."""
    state = Path(environment["STATE_DIR"])
    manage(environment, "migrate", "-v0")
    manage(environment, "createsuperuser", "--noinput", "--username=admin", "--email=a@example.org")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gunicorn = [sys.executable, "-m", "gunicorn", "--threads=4", f"--bind=127.0.0.1:{port}"]
    with (state / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*gunicorn, "--no-control-socket", "project.wsgi"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/admin/login/", server, state / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the service did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OFFLINE)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, service: str) -> Iterator[BrowserContext]:
    """A fresh visit; at its end nothing may have left the service or been refused by the page."""
    context = browser.new_context(base_url=service, viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    left: list[str] = []
    complaints: list[str] = []

    def note_failure(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the person went on to another page
            complaints.append(f"{request.failure}: {request.url}")

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda line: (
                complaints.append(line.text) if line.type in {"error", "warning"} else None
            ),
        )
        page.on("requestfailed", note_failure)

    context.on("page", watch)
    context.on("request", lambda request: left.append(request.url))
    # Browsers ask for it by themselves; the admin has none.
    context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    yield context
    context.close()
    assert [url for url in left if not url.startswith((service, "data:", "blob:"))] == []
    assert complaints == []


def log_in(page: Page) -> None:
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Signed in as admin")).to_be_visible()


def run_query(page: Page) -> None:
    page.get_by_role("button", name="Execute query").click()


def answer(page: Page) -> dict[str, Any]:
    """Return GraphiQL's result once there is one; the pane itself shows only the lines in view."""
    expect(page.locator(".result-window .CodeMirror-code")).to_contain_text("{", timeout=PATIENCE)
    text = page.locator(".result-window .CodeMirror").evaluate("pane => pane.CodeMirror.getValue()")
    result: dict[str, Any] = json.loads(text)
    return result


def error_code(result: dict[str, Any]) -> str:
    return str(result["errors"][0]["extensions"]["code"])


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page for a person to look at, where one asked for it."""
    if "SCREENSHOTS" in os.environ:
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}.png")


def test_a_person_logs_in_asks_for_the_newest_requests_and_sees_his_own(
    visit: BrowserContext,
) -> None:
    page = visit.new_page()
    page.goto("/graphql/")
    expect(page.get_by_text("Not signed in")).to_be_visible()
    run_query(page)
    assert error_code(answer(page)) == "UNAUTHENTICATED"
    log_in(page)
    time.sleep(1)  # what is on record is readable one second after its response
    run_query(page)
    nodes = answer(page)["data"]["requestLogs"]["nodes"]
    assert {"GET /graphql/", "POST /graphql/"} <= {f"{n['method']} {n['path']}" for n in nodes}
    assert {node["address"] for node in nodes} == {"127.0.0.1"}
    picture(page, "graphiql")


def test_the_pages_own_tools_work_under_its_policy(visit: BrowserContext) -> None:
    page = visit.new_page()
    page.goto("/graphql/")
    for tool in ("Show Documentation Explorer", "Show History", "Show GraphiQL Explorer"):
        page.get_by_label(tool).click()
    expect(page.get_by_text("requestLogs").first).to_be_visible()
    picture(page, "graphiql-explorer")
    for dialog in ("Open short keys dialog", "Open settings dialog"):
        page.get_by_label(dialog).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
    page.locator(".graphiql-query-editor .CodeMirror").click()
    page.keyboard.press("Control+a")
    page.keyboard.type("{ serv", delay=50)
    expect(page.locator(".CodeMirror-hints")).to_contain_text("serverInfo")


def test_a_query_pasted_over_the_first_one_runs_at_once(visit: BrowserContext) -> None:
    page = visit.new_page()
    page.goto("/graphql/")
    page.locator(".graphiql-query-editor .CodeMirror").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("{ serverInfo { __typename } }")
    page.keyboard.press("Control+Enter")
    assert answer(page) == {"data": {"serverInfo": {"__typename": "ServerInfo"}}}


def test_logging_in_elsewhere_does_not_make_an_open_page_useless(visit: BrowserContext) -> None:
    page = visit.new_page()
    page.goto("/graphql/")
    other = visit.new_page()
    other.goto("/graphql/")
    log_in(other)  # changes the session's token
    run_query(page)
    assert answer(page)["data"]["requestLogs"]["nodes"]


def test_logging_out_ends_what_the_page_may_see(visit: BrowserContext) -> None:
    page = visit.new_page()
    page.goto("/graphql/")
    log_in(page)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("Not signed in")).to_be_visible()
    run_query(page)
    assert error_code(answer(page)) == "UNAUTHENTICATED"


def test_on_a_phone_question_and_answer_stand_below_each_other(visit: BrowserContext) -> None:
    page = visit.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/graphql/")
    log_in(page)
    run_query(page)
    assert answer(page)["data"]["requestLogs"]["nodes"]
    question = page.locator(".graphiql-query-editor").bounding_box()
    result = page.locator(".result-window").bounding_box()
    assert question is not None
    assert result is not None
    assert result["y"] >= question["y"] + question["height"]
    assert min(question["width"], result["width"]) > 300
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "graphiql-phone")


@pytest.mark.parametrize("width", [1400, 390])
def test_the_log_is_filtered_and_read_in_the_admin(visit: BrowserContext, width: int) -> None:
    page = visit.new_page()
    page.set_viewport_size({"width": width, "height": 844})
    visit.request.get("/nowhere/%3Cscript%3E?x=1")
    page.goto("/graphql/")
    log_in(page)
    time.sleep(1)
    page.goto("/admin/tracking/requestlog/")
    picture(page, f"log-{width}")
    page.get_by_label("Address or network").fill("127.0.0.0/33")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("this prefix length is outside the address")).to_be_visible()
    page.get_by_label("Address or network").fill("127.0.0.0/8")
    page.get_by_label("Path starts with").fill("/nowhere/")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**path=%2Fnowhere%2F**")
    page.locator("#result_list th a").first.click()
    expect(page.locator(".field-path")).to_contain_text("/nowhere/%3Cscript%3E")
    picture(page, f"request-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("link", name="All requests of this address").click()
    expect(page.locator("#result_list tbody tr").first).to_be_visible()


ATTACKER = "67.43.156.9"


def drawn(page: Page) -> list[str]:
    """Return both charts as pictures, once there is something on them."""
    script = """() => {
        const pictures = [...document.querySelectorAll("canvas")].map(chart => {
            const empty = document.createElement("canvas");
            [empty.width, empty.height] = [chart.width, chart.height];
            return [chart.toDataURL(), empty.toDataURL()];
        });
        const shown = pictures.filter(([chart, empty]) => chart !== empty);
        return shown.length === 2 && shown.map(([chart]) => chart);
    }"""
    pictures: list[str] = page.wait_for_function(script, timeout=PATIENCE).json_value()
    return pictures


def test_the_overview_shows_an_attack_which_is_blocked_without_a_mouse(
    visit: BrowserContext, environment: dict[str, str]
) -> None:
    page = visit.new_page()
    page.goto("/graphql/")
    log_in(page)
    visit.request.get("/wp-login.php", headers={"X-Forwarded-For": ATTACKER})
    manage(environment, "detect")
    page.clock.install()
    page.goto("/admin/")
    page.get_by_role("link", name="Security overview").click()
    light = drawn(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "was => document.querySelector('canvas').toDataURL() !== was", arg=light[0]
    )
    picture(page, "overview-dark")

    page.get_by_role("link", name="Hour", exact=True).click()
    expect(page.get_by_role("link", name="Hour", exact=True)).to_have_attribute(
        "aria-current", "true"
    )
    drawn(page)
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_text("The same numbers as a table").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "overview-phone")

    suspicion = page.get_by_role("article", name=ATTACKER)
    expect(suspicion).to_contain_text("GET /wp-login.php 404")
    page.locator("body").focus()
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.ariaLabel") == f"Block: {ATTACKER}":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text(ATTACKER)).to_be_visible()
    page.get_by_label("Duration").press("Enter")
    expect(page.get_by_text("Confirm and block: 1 done.")).to_be_visible()

    page.goto("/admin/tracking/requestlog/overview/?period=hour")
    expect(suspicion).to_have_count(0)
    blocks = page.get_by_role("region", name="Active blocks")
    expect(blocks).to_contain_text(ATTACKER)
    other = visit.new_page()
    other.goto("/admin/tracking/requestlog/overview/")
    other.get_by_role("link", name=f"Unblock {ATTACKER}").click()
    other.get_by_role("button", name="Unblock").click()
    expect(other.get_by_text("Unblock: 1 done.")).to_be_visible()
    page.clock.fast_forward(31_000)
    expect(blocks).to_contain_text("No address and no network is blocked.")
    drawn(page)
