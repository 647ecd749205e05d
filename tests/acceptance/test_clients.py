"""A front end's client library signs in, refreshes in time, and goes on: in node and Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.acceptance.deployment import ROOT, Service, environment, manage, serve

CLIENT = Path(__file__).with_name("client.mjs")
CHROMIUM = shutil.which("chromium")
NODE = shutil.which("node")
# Any other name than the machine's own address is unknown to this browser.
OFFLINE = ("--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
RIGHT = "correct horse battery staple"
ADA = {"username": "ada", "password": RIGHT}
PATIENCE = 30_000  # milliseconds; the token ends after one second and five more for slow clocks
STORY = ["logged in", "ada", "TOKEN_EXPIRED", "refreshed", "ada"]
MODULES = {
    "@urql/core": "@urql/core/dist/urql-core.mjs",
    "@urql/exchange-auth": "@urql/exchange-auth/dist/urql-exchange-auth.mjs",
    "@0no-co/graphql.web": "@0no-co/graphql.web/dist/graphql.web.mjs",
    "wonka": "wonka/dist/wonka.mjs",
}
IMPORTS = json.dumps({"imports": {name: f"/{path}" for name, path in MODULES.items()}})
# A bundler would put what is missing in a browser into the files: which build this is.
BUILD = "var process = {env: {NODE_ENV: 'production'}}"
PAGE = f"""<!doctype html><title>A front end</title><script>{BUILD}</script>
<script type="importmap">{IMPORTS}</script>"""

# CI=true turns a skip into a failure (tests/environment.py).
pytestmark = [
    pytest.mark.xdist_group("clients"),
    pytest.mark.skipif(
        not (ROOT / "node_modules" / "@urql" / "core").is_dir(),
        reason="the npm package @urql/core is not installed: npm ci",
    ),
]


class FrontEnd(SimpleHTTPRequestHandler):
    """Serves a page, the client and the packages it imports."""

    def do_GET(self) -> None:
        if self.path not in {"/", "/client.mjs"}:
            return super().do_GET()
        content = PAGE.encode() if self.path == "/" else CLIENT.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/" else "text/javascript")
        self.end_headers()
        self.wfile.write(content)
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def front_end() -> Iterator[str]:
    """Yield the origin of a page that is not the service's."""
    handler = partial(FrontEnd, directory=str(ROOT / "node_modules"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with front_end() as origin:
        yield origin


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, origin: str) -> Iterator[Service]:
    state = tmp_path_factory.mktemp("clients")
    env = environment(state, JWT_ACCESS_TTL="1s", CORS_ALLOWED_ORIGINS=origin)
    manage(env, "migrate", "-v0")
    make = f"from users.models import User; User.objects.create_user('ada', password={RIGHT!r})"
    manage(env, "shell", "-v0", "-c", make)
    with serve(env, state / "server.log") as service:
        yield service


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OFFLINE)
        yield browser
        browser.close()


def test_a_client_in_node_refreshes_when_its_token_has_expired(service: Service) -> None:
    if NODE is None:
        pytest.skip("node is not installed")
    given = ", ".join(map(json.dumps, (service.url, ADA, PATIENCE)))
    script = (
        f"import {{ stay }} from './client.mjs'; console.log(JSON.stringify(await stay({given})));"
    )
    ran = subprocess.run(
        [NODE, "--input-type=module", "--eval", script],
        cwd=CLIENT.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == STORY


FETCH = """url => fetch(url, {
    method: "POST",
    headers: {"Content-Type": "application/json", "Authorization": "Bearer x"},
    body: JSON.stringify({query: "{ __typename }"}),
}).then(answer => answer.json()).catch(error => error.message)"""
STAY = "async (given) => (await import('/client.mjs')).stay(...given)"


def test_a_page_of_another_origin_does_so_and_gets_no_cookie(
    browser: Browser, service: Service, origin: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(origin)
    assert page.evaluate(STAY, [service.url, ADA, PATIENCE]) == STORY
    assert context.cookies() == []
    assert complaints == []
    context.close()


def test_a_page_of_an_origin_that_is_not_listed_reads_nothing(
    browser: Browser, service: Service, origin: str
) -> None:
    page = browser.new_page()
    with front_end() as stranger:
        page.goto(stranger)
        assert page.evaluate(FETCH, service.url) == "Failed to fetch"
    page.goto(origin)
    assert page.evaluate(FETCH, service.url) == {"data": {"__typename": "Query"}}
    page.close()
