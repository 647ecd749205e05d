"""Ways out of a folder, and files of the system."""

from __future__ import annotations

from tracking.engine.families import PATH_TRAVERSAL
from tracking.engine.payloads.payload import NAMED, Payload

_SYSTEM_FILE = (
    r"(?:etc/{1,16}(?:passwd|shadow|group|hosts|issue|hostname|crontab|sudoers|master\.passwd|motd"
    r"|mysql|apache2|httpd|nginx|ssh|fstab|subuid|environment)"
    r"|proc/{1,16}(?:self|version|\d|cpuinfo|net)|boot\.ini|win\.ini|php\.ini|system\.ini"
    r"|windows[/\\]{1,4}system32|winnt/|web-inf|meta-inf|\.ssh/|id_rsa|\.bash_history|\.history"
    r"|wp-config\.php|web\.config|httpd\.conf|access[._]log|sys/class|var/log/|ntuser\.dat)"
)

FILES = (
    Payload(
        PATH_TRAVERSAL,
        "/dana-na/../dana/html5acc/../../../etc/passwd",
        ("../", "..\\", "..;"),
        rf"\.\.[/\\;](?:[^&=?.]|\.(?!\.)){{0,64}}{_SYSTEM_FILE}",
    ),
    # Sloppy crawlers send one or two steps in a path; nobody sends three.
    Payload(
        PATH_TRAVERSAL,
        "/static/%2e%2e/%2e%2e/%2e%2e/secret",
        ("../", "..\\"),
        r"(?:\.\.[/\\]{1,4}){3}|[=:'\"\\](?:\.{0,2}[/\\]{1,3}){0,4}(?:\.\.[/\\]{1,4}){2}"
        r"|\.\.(?:;|\\)\.?\\",
    ),
    # Java servers cut parameters off a segment after they have resolved dots.
    Payload(
        PATH_TRAVERSAL,
        "/tmui/login.jsp/..;/tmui/",
        ("..;/", ";/web-inf", ";/meta-inf"),
        r"/\.\.;[^/]{0,16}/|/;/(?:web|meta)-inf",
    ),
    Payload(
        PATH_TRAVERSAL,
        "/?page=/etc/passwd",
        ("passwd", "shadow", ".ini", "/self/", "system32", "ntuser", ".ssh/", "sys/class", "/etc/"),
        rf"{NAMED}(?:[a-z]:|file:)?[/\\]{{0,8}}(?:windows[/\\])?{_SYSTEM_FILE}"
        r"[^& ]{0,64}(?:$|&| ?[|;])|[?&]/?sys/class=",
    ),
    Payload(
        PATH_TRAVERSAL,
        "/@fs/etc/passwd",
        ("/etc/", "/proc/"),
        r"^[^?=]{0,256}/(?:etc/{1,16}(?:passwd|shadow|master\.passwd)|proc/{1,16}self/)",
    ),
    Payload(
        PATH_TRAVERSAL,
        r"/?f=\\::1\c$\users\default",
        ("$\\",),
        r"\\\\[\w.:-]{1,64}\\[a-z]\$\\",
    ),
)
