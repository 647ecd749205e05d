"""Code and serialised objects of PHP, Java, JavaScript on the server, Python, Lua."""

from __future__ import annotations

from tracking.engine.families import CODE_INJECTION
from tracking.engine.payloads.payload import NAMED, START, Payload

_PHP = (
    r"(?:eval|assert|system|passthru|shell_exec|exec|popen|proc_open|phpinfo|base64_decode"
    r"|gzinflate|str_rot13|file_get_contents|file_put_contents|fsockopen|create_function"
    r"|call_user_func(?:_array)?|var_dump|print_r|curl_init|preg_replace|md5|print)"
)

CODE = (
    Payload(
        CODE_INJECTION,
        "/?x=<?php phpinfo();",
        ("<?",),
        rf"(?:{START}|[^\s\w])<\? ?php|<\? ?php [^&]{{0,64}}[($`]|<\?=",
    ),
    Payload(
        CODE_INJECTION,
        "/?page=php://filter/convert.base64-encode/resource=index",
        ("php:/", "data:", "expect:/", "phar:/", "zip://", "glob://", "zlib:", "ssh2."),
        rf"{NAMED}[^&]{{0,16}}(?:php|expect|phar|zip|glob|zlib|compress\.\w{{1,8}})://"
        r"|php://filter/|data:(?://)?(?:text|application)/[\w+.-]{1,32}(?:;[\w=-]{1,24})?;base64,"
        r"|ssh2\.(?:s?ftp|scp|exec|shell|tunnel)://",
    ),
    Payload(
        CODE_INJECTION,
        "/cgi-bin/php?-d+allow_url_include%3d1",
        (
            "allow_url_include",
            "prepend_file",
            "disable_functions",
            "call_user_func",
            "invokefunction",
        ),
        r"(?:[?&]|d )(?:allow_url_include|auto_prepend_file|disable_functions) ?="
        r"|call_user_func(?:_array)?&|invokefunction&",
    ),
    Payload(
        CODE_INJECTION,
        "/?x=system('id')",
        ("(",),
        rf"{START}@?{_PHP} ?\( ?(?:['\"$@`]|\w{{1,32}} ?\(|\d\)|\)|ls|id|whoami|uname)"
        rf"|[;{{}}@'\"`!|\]] ?{_PHP} ?\( ?(?:[^) ]|\) ?[;&'\"])",
    ),
    # (system)(ls), [system][0](ls), ("sys"."tem")("ls")
    Payload(
        CODE_INJECTION,
        "/?x=(system)(ls);",
        ("(system", "[system", "(exec", "(passthru", "[ system", "( system", "'sy", '"sy', "(sy"),
        r"[(\['\"] {0,2}(?:system|exec|passthru|shell_exec) {0,2}[)\]'\"]"
        r"(?: {0,2}\[ {0,2}0 {0,2}\])?[ )}]{0,3}\(|['\"(.]sys?['\")]{1,2} ?\. ?['\"(]{1,2}",
    ),
    Payload(
        CODE_INJECTION,
        "/?x=eval($_POST[1])",
        ("$_", "globals["),
        rf"(?:eval|assert|system|exec|passthru|include|require|`|\.|\[) ?\(? ?@?\$\{{?_"
        r"(?:get|post|request|server|cookie|files)\b|\$\{_(?:get|post)"
        rf"|{START}@?\$_(?:get|post|request|server|cookie)\[|[?&]globals\[",
    ),
    Payload(
        CODE_INJECTION,
        '/?x=O:8:"stdClass":1:{s:1:"a";i:2;}',
        (":{", ':"', "=ro0ab"),
        r"(?:^|[^a-z])[oc]:\d{1,4}:\"[^\"]{1,64}\":\d{1,6}:\{|a:\d{1,4}:\{[is]:\d"
        r"|=ro0ab[\w+/=-]{8}",
    ),
    Payload(
        CODE_INJECTION,
        "/?x=(@java.lang.Runtime@getRuntime().exec('id'))",
        (
            "runtime",
            "java.",
            "processbuilder",
            "_memberaccess",
            "ognl",
            "classloader",
            "opensymphony",
        ),
        r"[@({\"'](?:java\.lang\.)?(?:runtime|processbuilder)\b[@.(]|@java\.|[\"'=(] ?new java\."
        r"|t\(java\.|:java\.lang\.|#_memberaccess|[#@]ognl|class\.module\.classloader"
        r"|@com\.opensymphony",
    ),
    Payload(
        CODE_INJECTION,
        "/?m=new javax.script.ScriptEngineManager()",
        ("scriptenginemanager", "apache.commons", "xwork", "classloader"),
        r"scriptenginemanager ?[(\[]|@org\.apache\.commons|xwork2?\.\w{1,40}@|class\[.?.?module",
    ),
    Payload(
        CODE_INJECTION,
        "/?__proto__[x]=1",
        ("__proto__", "constructor", "child_process", "mainmodule", "process.env", "console."),
        r"__proto__ ?[\[.:=]|__proto__[\"'\]]"
        r"|constructor(?:\[.?.?prototype|\.constructor|\]\[prototype)|[?&]constructor\.prototype"
        r"|child_process['\"].{0,8}[).]|process\.mainmodule|=process\.env$"
        r"|=console\.\w{1,8}(?:\.call)?\(",
    ),
    Payload(
        CODE_INJECTION,
        "/?x=__import__('os').system('id')",
        ("__import__", "os.system", "os.popen", "subprocess", "!!python", "pyimport", "io.popen"),
        r"__import__ ?\(|['\";.()=]os\.(?:system|popen) ?\(['\"]|[\"'.;\])]subprocess\.\w{1,16}\("
        r"|!!python/|pyimport |[\"'.;\])=]io\.popen ?\(",
    ),
    Payload(
        CODE_INJECTION,
        "/?x=while(true);",
        ("while(", "while ("),
        r"[=;}] ?while ?\((?:[!+-]{0,3}(?:true|false|1|0|infinity|\[)|new date|curdate)",
    ),
    Payload(CODE_INJECTION, "/?x=<%= 7 %>", ("<%",), r"<%[=@! ]"),
)
