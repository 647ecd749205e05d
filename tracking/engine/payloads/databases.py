"""SQL, MongoDB and LDAP where a value belongs.

Query languages of ordinary applications (OData, JQL) also join comparisons with "and"; they name
a field on the left, where an injection has a constant.
"""

from __future__ import annotations

from tracking.engine.families import LDAP_INJECTION, NOSQL_INJECTION, SQL_FRAGMENT, SQL_INJECTION
from tracking.engine.payloads.payload import NAMED, START, Payload

_UNION = r"union(?: all| distinct(?:row)?)?[ (]{0,4}select\b"
_JOIN = r"(?:x?or|and|\|\||&&|having|rlike)"
_COMPARED = r"(?:<=>|<>|!=|=|<|>|like\b|rlike\b|glob\b|between \d|is (?:not )?null)"
_CONSTANT = r"(?:-?\d{1,10}|'[^']{0,32}'?|\"[^\"]{0,32}\"?|null|true|false|@@\w{1,32})"

DATABASES = (
    Payload(
        SQL_INJECTION,
        "/?id=1' union select user, password from users",
        ("union",),
        rf"(?:['\")]|\d|null|{START}) {{0,3}}{_UNION} {{0,3}}"
        r"(?:[\d'\"(*@]|null|char|concat|user|[a-z_,]{1,64} from)"
        rf"|{_UNION}[ (]{{0,4}}(?:null|\d|'|@@|char\(|concat|group_concat|load_file|\*)",
    ),
    Payload(
        SQL_INJECTION,
        "/?user=admin' or 'a'='a",
        ("or ", "and ", "or(", "and(", "||", "&&", "having ", "or'", 'or"', "rlike"),
        rf"['\"\d)] {{0,3}}{_JOIN}[ (]{{1,6}}(?:not )?{_CONSTANT}[) ]{{0,4}}{_COMPARED}"
        rf"|['\")] {{0,3}}{_JOIN}['\"][^'\"]{{0,32}}['\"] {{0,2}}{_COMPARED}",
    ),
    Payload(
        SQL_INJECTION,
        "/?name=x' and ascii(substr(user(),1,1))>64",
        ("and ", "or ", "or(", "and("),
        r"(?:['\"\d)]|^=) {0,3}(?:x?or|and)[ (]{1,4}(?:not )?[( ]{0,2}"
        r"(?:if|select|case|exists|ascii|ord|mid|sleep|benchmark|extractvalue|updatexml|now"
        r"|json_\w{1,24}|starts_with|lo_import|pg_\w{1,24}|make_set|elt|randomblob|database"
        r"|row_count|char_length) {0,2}[( ]",
    ),
    Payload(
        SQL_INJECTION,
        "/?user=admin'-- -",
        ("--", "#"),
        r"'[) ]{0,4}; {0,2}(?:--|#)|'[)]{0,3}--(?: |-|$|&)|'[)]{0,3} ?#(?:$|&)"
        r"|['\")\d] {0,2}(?:or|and)\b[^#&]{1,80}[\w'\")](?:--|#)(?: ?-?$|&)",
    ),
    Payload(
        SQL_INJECTION,
        "/?id=1; drop table users",
        (";",),
        r"; {0,3}(?:insert into \w|drop (?:table|database|view|schema|user) \w{1,64}(?:$|[;&-])"
        r"|delete from \w{1,64}(?:$|[;&]| where)|update \w{1,64} set |declare @|waitfor delay"
        r"|truncate table \w|alter table \w|exec(?:ute)? (?:master|xp_|sp_|@|\()"
        r"|shutdown(?: with nowait| ?--|;)|select[ (]{1,3}(?:[\d*'(@]|\w{1,32}\()"
        r"|create (?:table|user|function) \w{1,64} ?[(i]|replace ?\()",
    ),
    Payload(
        SQL_INJECTION,
        "/?id=(select*from(select(sleep(10)))a)",
        ("(select",),
        r"\(select(?: ?[*(@'\"\d]| (?:distinct|count|concat|group_concat|char|null|case|version"
        r"|extractvalue|load_file|table_name|column_name|user|password)\b)",
    ),
    Payload(
        SQL_INJECTION,
        "/?id=1 and sleep(5)",
        ("sleep", "benchmark"),
        r"(?:['\"();,|&]|\b(?:and|or|xor|select|if|union|then)|=[- ]{0,2}\d{1,8}) {0,3}"
        r"\(?(?:pg_)?(?:sleep|benchmark) ?\( ?['\d(]|/if\(now",
    ),
    # Functions that only databases have, as a value or in one.
    Payload(
        SQL_INJECTION,
        "/?id=extractvalue(1,concat(0x7e,version()))",
        (
            *("pg_sleep(", "load_file(", "extractvalue(", "updatexml(", "utl_http.", "utl_inaddr."),
            *("dbms_", "sysdate()", "row_count()", "xmltype(", "xp_dirtree", "fn_varbintohexstr"),
            *("json_depth(", "json_extract(", "lo_get(", "lo_import("),
        ),
        rf"(?:{START}|['\"();,|]|\b(?:and|or|select|from|exec|not|encode) ).{{0,24}}"
        r"(?:pg_sleep ?\(|load_file ?\(|extractvalue ?\( ?[\w'\"]|updatexml ?\( ?[\w'\"]"
        r"|utl_(?:http|inaddr)\.|dbms_\w{1,24}\.|=sysdate\(\)|row_count\(\)|xmltype ?\("
        r"|xp_dirtree|fn_varbintohexstr|json_(?:depth|extract)\(|lo_(?:get|import)\()",
    ),
    Payload(
        SQL_INJECTION,
        "/?id=1;waitfor delay '0:0:5'",
        ("waitfor delay", "xp_cmdshell"),
        r"waitfor delay ?['\"]"
        r"|(?:exec(?:ute)?|master\.\.) ?(?:master\.{1,2}\w{0,8}\.?)?xp_cmdshell",
    ),
    Payload(
        SQL_INJECTION,
        "/?id=1' order by 3--",
        ("order by", "group by"),
        r"(?:['\")]|=-?\d{1,10}) {0,3}(?:order|group) by \d{1,3}(?:--| ?#|,|$|&| --)",
    ),
    Payload(
        SQL_INJECTION,
        "/?id=1/*!50000union*/",
        ("/*!",),
        r"/\*!\d{0,6} ?(?:union|select|and|or|from|where|insert|if)\b",
    ),
    Payload(
        SQL_INJECTION,
        "/?id=x||chr(65)",
        ("||ch", "0x"),
        r"\|\|chr\(|(?:concat|char|unhex)\(0x[0-9a-f]{2}",
    ),
    Payload(
        SQL_FRAGMENT,
        "/?a=information_schema.tables",
        (
            *("information_schema.", "@@version", "xp_cmdshell", "sqlite_master", "pg_catalog"),
            *("sysobjects", "mysql.user", "all_tables"),
        ),
        rf"{NAMED}[^&]{{0,256}}(?:information_schema\.|@@version|xp_cmdshell|sqlite_master"
        r"|pg_catalog|sysobjects|mysql\.user|\ball_tables)",
    ),
    Payload(
        SQL_FRAGMENT,
        "/?a=benchmark(",
        (
            "union",
            "char(",
            "sleep(",
            "mark(",
            "distinct(",
            "substr",
            "concat",
            "hex(",
            "md5(",
            "if(",
        ),
        rf"{NAMED} ?(?:{_UNION} ?(?:$|&)|(?:selectchar|sleep|benchmark|distinct|substr(?:ing)?"
        r"|concat(?:_ws)?|group_concat|if|hex|unhex|md5|char)\([^)&]{0,64}\)?(?:$|&))",
    ),
    Payload(
        SQL_FRAGMENT,
        "/?sql=select * from users",
        ("select",),
        rf"{NAMED} ?select (?:\*|[\w.]{{1,32}}(?: ?, ?[\w.]{{1,32}}){{1,16}}"  # noqa: S608
        r"|\w{1,32}\([^)]{0,32}\)) from \w|[=/] ?select if\(",
    ),
    Payload(
        NOSQL_INJECTION,
        "/?user[$ne]=x",
        ("[$",),
        r"\[\$(?:n?eq?|[gl]te?|regex|where|exists|n?in|n?or|and|not)\]",
    ),
    Payload(
        NOSQL_INJECTION,
        "/?f=true, $where: '1 == 1'",
        ("$",),
        r"[{,] {0,2}['\"`]?\$(?:where|ne|gte?|lte?|regex|n?or|n?in|and|exists|expr|function)"
        r"['\"`]? {0,2}:",
    ),
    Payload(
        NOSQL_INJECTION,
        "/?u=' && this.password.match(/.*/)//",
        ("this.pass", "db.", "new date"),
        rf"(?:[;'\"|&]|{START}) {{0,2}}this\.pass(?:word|wd)?\b|[;,] ?var \w{{1,16}} ?= ?new date"
        rf"|(?:[;'\"(]|{START})db\.\w{{1,32}}\.(?:find|insert|drop|remove|update|count)\(",
    ),
    Payload(
        LDAP_INJECTION,
        "/?user=*)(uid=*))(|(uid=*",
        ("(",),
        r"\*\) ?\( ?(?:[|&(]|\w{1,24} ?=)|\*\(\||\(\|\(\w{1,24}=|\(&\(\w{1,24}=|\(objectclass="
        r"|\*\(\)\||\)\(cn=|\(\|\w{1,24}=\*\)",
    ),
    Payload(
        LDAP_INJECTION,
        "/?f=admin*)((|userpassword=*)",
        ("userpassword",),
        r"userpassword(?:=\*|:\d)",
    ),
)
