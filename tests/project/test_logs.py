"""The log as JSON: one object a line whatever is in it, each with the id of its request."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.config
from collections.abc import Iterator

import pytest
from django.conf import settings as project_settings
from django.test import AsyncClient, Client

from tracking import guard, requestids

pytestmark = pytest.mark.one_store

HOSTILE = (
    "two\nlines", "\r\n{\"level\": \"INFO\"}", "\x1b[2Jgone", "\x00", "\u2028\u2029\x85", "\ud800",
    'quote " and \\', "%s %d", "caf\xe9 \U0001f4a3", "</script>" * 1000,
)  # fmt: skip


class Lines(logging.Handler):
    """Keeps what the service would write with LOG_FORMAT=json."""

    def __init__(self) -> None:
        super().__init__()
        written = dict(project_settings.LOGGING["formatters"]["json"])
        parts = logging.config.DictConfigurator({"version": 1})
        self.setFormatter(parts.configure_formatter(written))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def read(self) -> list[dict[str, str | None]]:
        return [json.loads(text) for text in self.texts]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_is_logged_begins_a_line_of_its_own(lines: Lines, text: str) -> None:
    logger = logging.getLogger("tests.hostile")
    logger.handlers = [lines]
    logger.propagate = False  # to pytest: xdist cannot send surrogates that it captures
    logger.warning("said %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception(text.replace("%", "%%"), stack_info=True)

    assert all(line.isascii() and line.isprintable() for line in lines.texts)
    warned, failed = lines.read()
    assert warned["message"] == f"said {text}"
    assert (warned["level"], warned["logger"]) == ("WARNING", "tests.hostile")
    assert str(failed["exception"]).startswith("Traceback")
    assert f"ValueError: {text}" in str(failed["exception"])


def test_a_message_that_cannot_be_put_together_is_not_lost(lines: Lines) -> None:
    record = logging.LogRecord("tests", logging.ERROR, __file__, 1, "%d of %s", ("many",), None)

    assert "%d of %s" in json.loads(lines.format(record))["message"]


def test_what_else_hangs_on_a_record_stays_out(lines: Lines) -> None:
    logging.getLogger("tests").warning("hello", extra={"request": "GET /?token=secret"})

    assert "secret" not in lines.texts[0]
    assert set(lines.read()[0]) == {"time", "level", "logger", "message", "request_id"}


@pytest.mark.django_db
def test_a_line_carries_the_id_of_its_request_and_none_afterwards(lines: Lines) -> None:
    answer = Client().get("/nowhere")
    logging.getLogger("tests").warning("between requests")

    told, between = lines.read()
    assert told["message"] == "Not Found: /nowhere"
    assert told["request_id"] == answer["X-Request-ID"]
    assert between["request_id"] is None


@pytest.mark.django_db(transaction=True)
def test_requests_of_one_event_loop_keep_their_ids_apart(lines: Lines) -> None:
    async def use() -> dict[str, str]:
        paths = [f"/nowhere/{number}" for number in range(5)]
        answers = await asyncio.gather(*(AsyncClient().get(path) for path in paths))
        return {
            f"Not Found: {path}": answer["X-Request-ID"]
            for path, answer in zip(paths, answers, strict=True)
        }

    expected = asyncio.run(use())

    assert {line["message"]: line["request_id"] for line in lines.read()} == expected


def test_an_embedding_project_gets_the_id_by_a_filter() -> None:
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "sold", None, None)
    requestids.enter("f" * 32)

    assert requestids.RequestIdFilter().filter(record)
    requestids.leave()

    assert logging.Formatter("%(request_id)s %(message)s").format(record) == "f" * 32 + " sold"
    assert guard.REQUEST_ID_HEADER == "X-Request-ID"
