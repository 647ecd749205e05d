"""Families of attacks: what a tag on a visit means, and how sure it is."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class FamilySeverity(enum.StrEnum):
    """How sure one visit of a family is that somebody attacks.

    SEVERE: nobody sends it by accident. MILD: a person may, rarely; worth a look, not a block.
    """

    SEVERE = "SEVERE"
    MILD = "MILD"


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of attack; `name` is the tag."""

    name: str
    description: str
    severity: FamilySeverity = FamilySeverity.SEVERE


PATH_TRAVERSAL = Family(
    "path_traversal", "Climbs out of a folder with dots, or names a file of the system."
)
LEAKED_FILE = Family(
    "leaked_file", "Asks for files nobody publishes: keys, .env, .git, dumps of databases."
)
BACKDOOR = Family("backdoor", "Asks for a web shell that somebody else may have left behind.")
KNOWN_EXPLOIT = Family("known_exploit", "Asks for the weak place of a well-known product.")
SQL_INJECTION = Family("sql_injection", "Breaks out of a value into SQL.")
NOSQL_INJECTION = Family("nosql_injection", "Puts operators of MongoDB where a value belongs.")
LDAP_INJECTION = Family("ldap_injection", "Breaks out of a value into an LDAP filter.")
COMMAND_INJECTION = Family("command_injection", "Breaks out of a value into a shell.")
CODE_INJECTION = Family("code_injection", "Carries code or objects of PHP, Java, Python, Node.")
TEMPLATE_INJECTION = Family("template_injection", "Carries an expression for a template engine.")
LOOKUP_INJECTION = Family("lookup_injection", "Carries a lookup such as ${jndi:...} (Log4Shell).")
CROSS_SITE_SCRIPTING = Family("cross_site_scripting", "Carries script for other people's browsers.")
HEADER_INJECTION = Family("header_injection", "Breaks a line to add a header or a mail command.")
XML_INJECTION = Family("xml_injection", "Declares XML entities or directives for the server.")
REQUEST_FORGERY = Family(
    "request_forgery", "Makes the server fetch: metadata services, odd schemes, remote scripts."
)
OPEN_PROXY = Family("open_proxy", "Wants to reach other sites through this server.")
SCANNER_AGENT = Family("scanner_agent", "Names itself as a tool for finding weak places.")
ABSENT_SOFTWARE = Family(
    "absent_software",
    "Asks for the administration of software that is not here, and gets 404 or 410.",
    FamilySeverity.MILD,
)
MARKUP = Family(
    "markup", "A value that is a tag or a call, and does no harm yet.", FamilySeverity.MILD
)
SQL_FRAGMENT = Family(
    "sql_fragment", "SQL that people also look up, such as information_schema.", FamilySeverity.MILD
)
NOT_HTTP = Family(
    "not_http", "Speaks another protocol, or none, on this port.", FamilySeverity.MILD
)

# In the order in which tags are given.
FAMILIES = (
    PATH_TRAVERSAL, LEAKED_FILE, BACKDOOR, KNOWN_EXPLOIT, SQL_INJECTION, NOSQL_INJECTION,
    LDAP_INJECTION, COMMAND_INJECTION, CODE_INJECTION, TEMPLATE_INJECTION, LOOKUP_INJECTION,
    CROSS_SITE_SCRIPTING, HEADER_INJECTION, XML_INJECTION, REQUEST_FORGERY, OPEN_PROXY,
    SCANNER_AGENT, ABSENT_SOFTWARE, MARKUP, SQL_FRAGMENT, NOT_HTTP,
)  # fmt: skip

# The names of the families whose single visit is proof.
SEVERE = frozenset(family.name for family in FAMILIES if family.severity is FamilySeverity.SEVERE)
