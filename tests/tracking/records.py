"""Records for tests."""

from tracking.engine.visit import Record

HARMLESS = Record(
    at="2026-11-22 10:00:00.000001",
    address="192.0.2.1",
    method="GET",
    host="example.org",
    path="/",
    query="",
    status=200,
    duration_ms=1.5,
    user_pk="",
    username="",
    user_agent="tests",
    referer="",
    request_id="0" * 32,
    operations="",
    tags="",
    verdict="ALLOWED",
    source="live",
)


def numbered(number: int) -> Record:
    """Return a record whose request id tells it from the others."""
    return HARMLESS._replace(request_id=f"{number:032x}")
