"""Signatures leave alone what ordinary people, applications and crawlers send."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

import pytest

from tracking.engine import signatures

INJECTION = "' union select 1,2 from users"
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/126.0.0.0 Safari/537.36"
)


def tags(target: str, status: int = 200, **fields: str) -> tuple[str, ...]:
    path, _, query = target.partition("?")
    return signatures.tags(method="GET", path=path, query=query, status=status, **fields)


@pytest.mark.parametrize(
    "path",
    [
        "/wp-login.php",
        "/wp-admin/edit.php",
        "/phpmyadmin/",
        "/server-status",
        "/Telerik.Web.UI.WebResource.axd?_TSM_HiddenField_=x&compress=1",
        "/jenkins/descriptorByName/hudson.model.View/checkName",
        "/RPC2",
        "/.cache/app-data.json",
        "/backup.zip",
        "/powershell.php",
        "/docker-compose.yml",
        "/alice/dotfiles/src/branch/main/.bashrc",
        "/remote.php/dav/files/alice/.env",
    ],
)
def test_what_its_owner_runs_and_serves_is_left_alone(path: str) -> None:
    assert tags(path, 200) == ()


@pytest.mark.parametrize(
    "path",
    ["/.well-known/security.txt", "/wp-content/uploads/2016/10/photo.jpg", "/feed/",
     "/media/2024/backup.zip", "/data/migrations/1_payees.sql",
     "/files/logstash-1.3.2.jar", "/apple-touch-icon.png", "/app.git/info/refs", "/shell/",
     "/static/site.css.map", "/blog/how-to-sql", "/a/../style.css", "/p/%7B%7Bimage.url%7D%7D"],
)  # fmt: skip
def test_a_broken_link_is_no_attack(path: str) -> None:
    assert tags(path, 404) == ()


SEARCHES = [
    "select a table from the union",
    "O'Brien",
    "<3",
    "how to use ../ in linux",
    "rock & roll",
    "how to use ../../ in webpack",
    "C++ vector<int> a<b",
    "for(int i=0;i<n;i++){ a[i]=b; }",
    "int main() { return 0; }",
    "sql select from where tutorial",
    "European Union select committee",
    "what is /etc/passwd",
    "javascript alert() not working",
    "how to use <script> tag in html",
    "document.cookie in javascript",
    "rock 'n' roll",
    "I eat; cat is sleeping",
    "time.sleep(5)",
    "it's 5 o'clock and 1 = 1",
    "price > 10 and price < 20",
    "java.lang.Runtime exec example",
    "what does $(document).ready do",
    "{{ title }}",
    "${product.name}",
    "drop table lamp; select size",
    "who is it? id please",
    "curl https://example.com",
    "system (disambiguation)",
    "100% -- new",
    "50% off; sleep well",
    "L'été || l'hiver",
    "let x = () => { return 1 }",
    "fn(a) || fn(b)",
    '"exact phrase" OR "other phrase"',
    "(jazz OR blues) AND live",
    "#include <iostream>",
    "isset($_POST['submit']) php",
    "python subprocess.run() example",
    "Array.prototype.map() javascript",
    "bash -c vs sh -c",
    "{% for x in y %} jinja",
    "__init__ python",
    "log4j jndi vulnerability",
    "union all select",
    "information_schema.tables",
    "pg_sleep postgres",
    "x' AND y",
    "5 or more -- see",
]


@pytest.mark.parametrize("words", SEARCHES)
def test_what_people_look_up_is_no_attack(words: str) -> None:
    for escaped in (quote(words), quote_plus(words)):
        assert tags(f"/search/?q={escaped}&page=2") == ()


@pytest.mark.parametrize(
    "query",
    [
        "$filter=Price%20gt%2010%20and%20Name%20eq%20'Milk'%20and%20contains(Name,'x')&$top=5",
        "jql=(assignee%20=%20me)%20AND%20status%20=%20%22Open%22%20AND%20created%20>=%20startOfDay()",
        "redirect_uri=http%3A%2F%2F192.168.1.5%3A8123%2F%3Fauth_callback%3D1&response_type=code",
        "state=eyJoYXNzVXJsIjoiaHR0cDovLzE5Mi4xNjguMS41OjgxMjMiLCJjbGllbnRJZCI6Imh0dHA6Ly9hIn0%3D",
        "action=query&prop=info|ids|url&titles=A|B&format=json",
        "family=Open+Sans:400,700|Roboto&subset=latin,cyrillic-ext",
        "C=M;O=A",
        "fields=name;id",
        "a=1&&id=3",
        "onload=callback&render=explicit",
        "type=alert&page=2",
        "bbox=null,null,null,null",
        "u=https%3A%2F%2Fexample.com%2Fpage%3Fid%3D1&t=It%27s%20on%20%7C%20Shop",
        "text=first%20line%0D%0ALocation:%20Paris",
        "utm_campaign=Feed:+site/main+(site.example+-+J.+Doe)",
        "q=%E2%80%9Cquoted%E2%80%9D&d=%27%2724%27%27",
    ],
)
def test_the_queries_of_applications_are_no_attack(query: str) -> None:
    assert tags(f"/app/?{query}") == ()


@pytest.mark.parametrize(
    "agent",
    [BROWSER, "", "-", "curl/8.5.0", "kube-probe/1.28", "check_http/v2.3 (monitoring-plugins 2.3)",
     "Mozilla/5.0 (Linux; U; Android 2.3; id-id; GT-S5830) AppleWebKit/533.1",
     "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"],
)  # fmt: skip
def test_browsers_crawlers_and_health_checks_are_left_alone(agent: str) -> None:
    assert tags("/", user_agent=agent) == ()


def test_what_somebody_searched_for_elsewhere_is_no_attack() -> None:
    referer = "https://www.google.com/search?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E+' or 1=1"
    assert tags("/", referer=referer) == ()


def test_a_search_of_ones_own_log_is_exempt_and_its_agent_is_not() -> None:
    fields = {"method": "GET", "path": "/graphql/", "query": "query=" + quote(INJECTION)}
    assert signatures.tags(**fields)  # type: ignore[arg-type]
    assert signatures.tags(**fields, exempt=True) == ()  # type: ignore[arg-type]
    assert signatures.tags(**fields, exempt=True, user_agent="sqlmap") == ("scanner_agent",)  # type: ignore[arg-type]
