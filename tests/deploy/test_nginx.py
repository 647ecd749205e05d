"""The service behind the shipped nginx files, by TLS: who is on record, and what comes through."""

from __future__ import annotations

import pytest

from tests.deploy.site import CLIENT, NAME, Site

# The service has a SQLite file of its own, copied from the tests' database.
pytestmark = [pytest.mark.xdist_group("nginx"), pytest.mark.django_db, pytest.mark.one_store]

FORGED = (
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-For", "6.6.6.7, 127.0.0.1"),
    ("x-forwarded-for", "6.6.6.8"),
    ("X_Forwarded_For", "6.6.6.9"),
    ("Forwarded", "for=6.6.6.6;proto=http"),
    ("X-Real-IP", "6.6.6.6"),
    ("CF-Connecting-IP", "6.6.6.6"),
    ("True-Client-IP", "6.6.6.6"),
    ("Client-IP", "6.6.6.6"),
)


def test_the_client_is_on_record(site: Site) -> None:
    answer = site.ask("/nowhere")

    assert answer.status == 404
    assert site.address_on_record(answer) == CLIENT


def test_forged_headers_change_nothing(site: Site) -> None:
    answer = site.ask("/nowhere", headers=[*FORGED, ("X-Forwarded-Proto", "http")])

    assert answer.status == 404
    assert site.address_on_record(answer) == CLIENT


def test_a_client_cannot_say_where_the_application_lies(site: Site) -> None:
    answer = site.ask("/nowhere", headers=[("SCRIPT_NAME", "/nowhere"), ("Script-Name", "/x")])

    assert answer.status == 404


def test_the_service_knows_that_it_is_reached_by_https(site: Site) -> None:
    answer = site.ask("/admin/login/")

    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=3600"
    assert "Secure" in answer.headers["Set-Cookie"]


def test_http_leads_to_https(site: Site) -> None:
    answer = site.ask_plainly("/admin/?next=%2Fx")

    assert answer.status == 308
    assert answer.headers["Location"] == f"https://{NAME}/admin/?next=%2Fx"


def test_a_certificate_authority_finds_its_proof(site: Site) -> None:
    assert site.ask_plainly("/.well-known/acme-challenge/token").body == b"proof"
    assert site.ask_plainly("/.well-known/acme-challenge/other").status == 404


def test_static_files_come_from_the_disk(site: Site) -> None:
    answer = site.ask("/static/admin/base.css")

    assert answer.status == 200
    assert not answer.is_ours
    assert answer.headers["Content-Type"] == "text/css"
    assert answer.headers["Cache-Control"] == "max-age=3600"


@pytest.mark.parametrize(
    "path",
    ["/static/../state/db.sqlite3", "/static../state/db.sqlite3", "/static/%2e%2e/privkey.pem"],
)
def test_nothing_but_static_files_comes_from_the_disk(site: Site, path: str) -> None:
    assert site.ask(path).status in {400, 404}


def test_a_document_that_is_too_long_gets_the_services_own_answer(site: Site) -> None:
    answer = site.ask("/graphql/", "POST", b" " * 100_000, {"Content-Type": "application/json"})

    assert answer.status == 400
    assert b"longer than 65,536 bytes" in answer.body
    assert answer.is_ours


def test_what_is_much_too_large_does_not_reach_the_service(site: Site) -> None:
    answer = site.ask("/graphql/", "POST", b" " * 200_000, {"Content-Type": "application/json"})

    assert answer.status == 413
    assert not answer.is_ours


def test_a_list_of_rules_may_be_uploaded(site: Site) -> None:
    answer = site.ask("/admin/", "POST", b" " * 1_100_000)

    assert answer.status != 413
    assert answer.is_ours


def test_headers_that_are_too_long_do_not_reach_the_service(site: Site) -> None:
    answer = site.ask("/nowhere", headers={"X-Long": "x" * 9000})

    assert answer.status == 400
    assert not answer.is_ours


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "//metrics", "/%6detrics", "/x/../readyz"])
def test_what_operators_ask_is_not_public(site: Site, path: str) -> None:
    answer = site.ask(path)

    assert answer.status == 404
    assert not answer.is_ours
    assert b"nginx" in answer.body


def test_everybody_may_ask_whether_it_lives(site: Site) -> None:
    assert site.ask("/livez").status == 200


def test_another_name_is_on_record_as_a_bad_request(site: Site) -> None:
    answer = site.ask("/nowhere", headers={"Host": "evil.example"})

    assert answer.status == 400
    assert site.address_on_record(answer) == CLIENT


def test_behind_another_proxy_the_client_that_it_names_is_on_record(behind_a_proxy: Site) -> None:
    named = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}
    answer = behind_a_proxy.ask("/nowhere", headers=named)

    assert behind_a_proxy.address_on_record(answer) == "203.0.113.9"
