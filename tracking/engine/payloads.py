# ruff: noqa: E501
"""What injected text looks like, whichever field carries it.

A payload is looked for in decoded, lower-case text, in which white space and SQL comments are one
space: first a literal by a plain search, then an expression. The expressions take linear time:
every repetition has an end, and none stands within another that repeats without one.

`START` is where a value begins. It tells an injected value from a question in plain words: "how
to read /etc/passwd" is a question, "file=/etc/passwd" is not.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tracking.engine.families import (
    CODE_INJECTION,
    COMMAND_INJECTION,
    CROSS_SITE_SCRIPTING,
    HEADER_INJECTION,
    KNOWN_EXPLOIT,
    LDAP_INJECTION,
    LOOKUP_INJECTION,
    MARKUP,
    NOSQL_INJECTION,
    PATH_TRAVERSAL,
    REQUEST_FORGERY,
    SQL_FRAGMENT,
    SQL_INJECTION,
    TEMPLATE_INJECTION,
    XML_INJECTION,
    Family,
)

START = r"(?:^|[=?/&])[ '\"(]{0,4}"
# A value under any name but those of a search box, where people type what they read about.
_ASSIGNED = r"[?&/](?!(?:q|s|query|search|term|text|keywords?|wd)=)[^=&/? ]{1,64}="
_QUOTE = r"['\"`]"


class Payload(NamedTuple):
    """An expression of a family, and literals of which one is in every text it matches."""

    family: Family
    literals: tuple[str, ...]
    expression: str


_FILES = (
    r"(?:etc/+(?:passwd|shadow|group|hosts|issue|hostname|crontab|sudoers|master\.passwd|mysql/my\.cnf"
    r"|apache2|httpd|nginx|ssh|motd|fstab|subuid|environment)"
    r"|proc/+(?:self|version|\d+|cpuinfo|net)|boot\.ini|win\.ini|php\.ini|system\.ini|windows/+system32"
    r"|winnt/|web-inf|meta-inf|\.ssh/|id_rsa|\.bash_history|wp-config\.php|web\.config"
    r"|httpd\.conf|access[._]log|sys/class|var/log/|ntuser\.dat)"
)
_SHELL = (
    r"(?:cat|tac|nl|head|tail|more|less|strings|od|xxd|rev|cp|mv|rm|chmod|chown|touch|mkdir|ls|dir|cd"
    r"|grep|find|sed|awk|tar|sh|bash|zsh|ksh|dash|python[23]?|perl|php|ruby|node|nc|ncat|netcat|socat"
    r"|telnet|ssh|nohup|sudo|echo|printf|env|set|type|copy|del|cmd|expr|base64|ps|kill|busybox|exec)"
)
# Nobody writes these by accident behind a semicolon or a bar.
_TELLING = (
    r"(?:whoami|ifconfig|ipconfig|uname|netstat|printenv|nslookup|systeminfo|getent|powershell"
    r"|cmd\.exe|wget|certutil|ping|sleep|curl|lynx|tftp)"
)
_HANDLER = r"on[a-z]{3,28}"
_CALL = r"(?:alert|prompt|confirm|print|eval|settimeout|setinterval|import|fetch|atob|btoa)"
_UNION = r"union(?: all| distinct(?:row)?)?[ (]{0,4}select\b"

PAYLOADS = (
    # Browsers resolve dots before they send a path: an encoded dot, or one behind a parameter
    # (`..;`), was made by hand.
    Payload(PATH_TRAVERSAL, ("../", "..\\", "..;"), rf"(?:\.\.[/\\;]{{1,8}}){{1,64}}[^&=?]{{0,64}}{_FILES}"),
    Payload(PATH_TRAVERSAL, ("../", "..\\"), r"(?:[=:&?/'\"\\]|^)(?:\.{0,2}[/\\]{1,3}){0,4}(?:\.\.[/\\]{1,4}){2}"),
    Payload(PATH_TRAVERSAL, ("..;/", ";/web-inf", ";/meta-inf"), r"/\.\.;[^/]{0,16}/|/;/(?:web|meta)-inf"),
    Payload(PATH_TRAVERSAL, ("passwd", "shadow", "boot.ini", "win.ini", "/self/", "system32", "php.ini", "ntuser", ".ssh/", "sys/class", "etc/subuid"),
            rf"{_ASSIGNED}(?:[a-z]:|file:)?[/\\]{{0,8}}{_FILES}|^=(?:[a-z]:|file:)?[/\\]{{0,3}}(?:windows/)?{_FILES}"),
    Payload(PATH_TRAVERSAL, ("/etc/", "/proc/"), r"^[^?]{0,256}/(?:etc/+(?:passwd|shadow|master\.passwd)|proc/+self/)"),
    Payload(PATH_TRAVERSAL, ("\\\\",), r"\\\\[\w.:-]{1,64}\\[a-z]\$\\"),

    Payload(SQL_INJECTION, ("union",), rf"(?:['\")]|\d|null|{START}) {{0,3}}{_UNION} {{0,3}}(?:[\d'\"(*@]|null|char|concat|user|[a-z_,]{{1,64}} from)"),
    Payload(SQL_INJECTION, ("union",), rf"{_UNION}[ (]{{0,4}}(?:null|\d|'|@@|char\(|concat|group_concat|load_file|\*|user )"),
    Payload(SQL_INJECTION, (" or", " and", "'or", "'and", "\"or", "\"and", ")or", ")and", "xor", "||", "&&"),
            r"['\")] {0,3}(?:x?or|and|\|\||&&|having|rlike)[ ('\"]{1,6}(?:not )?[\w.]{1,32}['\") ]{0,4}(?:=|<>|!=|<|>|like ?['\"(]|between \d|is null)"),
    Payload(SQL_INJECTION, (" or ", " and ", " xor ", "||", "&&", " having ", ")or", ")and"),
            r"\d['\")]{0,3} {0,3}(?:x?or|and|\|\||&&|having) {0,3}[('\"]{0,4}\d{1,10}[)'\"]{0,3} {0,3}(?:=|<|>|like|!=|<>)"),
    Payload(SQL_INJECTION, ("xor(", "or(", "and(", "or (", "and ("), r"(?:['\"\d)]|^=) {0,3}(?:x?or|and) {0,2}\( {0,2}(?:if|select|case|exists|ascii|substr|ord|length|now|sleep)\b"),
    Payload(SQL_INJECTION, ("--", "'#", "' #"), r"(?:'[) ]{0,4}; {0,2}--|'[)]{0,3}--(?: |-|$|&)|'[)]{0,3} ?#(?:$|&)|['\")\d] {0,2}(?:or|and) .{1,80}(?:--|#)(?: |-|$))"),
    Payload(SQL_INJECTION, (";",), r"; {0,3}(?:insert into \w|drop (?:table|database|view|schema|user)\b|delete from \w|update \w{1,64} set |declare @|waitfor delay|truncate table|alter table \w|exec(?:ute)? (?:master|xp_|sp_|@|\()|shutdown(?: with nowait| ?--|;)|select[ (]{1,3}(?:[\d*'(@]|\w{1,32}[(]|sleep|pg_)|create (?:table|user|function) )"),
    Payload(SQL_INJECTION, ("(select",), r"\(select(?: ?[*(@'\"\d]| (?:distinct|count|concat|group_concat|char|null|case|extractvalue|version|table_name|column_name|user|password)\b)"),
    Payload(SQL_INJECTION, ("sleep", "benchmark"), r"(?:['\"();,|&]|\b(?:and|or|xor|select|if|union|then)|=[- ]{0,2}\d{1,8}|/if) {0,3}\(?(?:pg_)?(?:sleep|benchmark) ?\( ?['\d(]"),
    Payload(SQL_INJECTION, ("pg_sleep(", "load_file(", "extractvalue(", "updatexml(", "utl_http.", "utl_inaddr.", "dbms_", "sysdate()", "row_count()", "xmltype(", "xp_dirtree", "fn_varbintohexstr", "json_depth(", "json_extract("),
            rf"(?:{START}|['\"();,|]|\b(?:and|or|select|from|exec|not) ).{{0,24}}(?:pg_sleep ?\(|load_file ?\(|extractvalue ?\( ?[\w'\"]|updatexml ?\( ?[\w'\"]|utl_(?:http|inaddr)\.|dbms_\w{{1,24}}\.|=sysdate\(\)|row_count\(\)|xmltype ?\(|xp_dirtree|fn_varbintohexstr|json_(?:depth|extract)\()"),
    Payload(SQL_INJECTION, ("waitfor delay", "xp_cmdshell"), r"waitfor delay ?['\"]|(?:exec(?:ute)?|master\.\.) ?(?:master\.{1,2}\w{0,8}\.?)?xp_cmdshell"),
    Payload(SQL_INJECTION, ("order by", "group by"), r"(?:['\")]|=-?\d{1,10}) {0,3}(?:order|group) by \d{1,3}(?:--| ?#|,|$|&| --)"),
    Payload(SQL_INJECTION, (",null", "||ch", "0x"), r",null,null|\|\|chr\(|(?:concat|char|unhex)\(0x[0-9a-f]{2}"),
    Payload(SQL_INJECTION, ("/*!",), r"/\*!\d{0,6} ?(?:union|select|and|or|from|where|insert|if)\b"),
    Payload(SQL_INJECTION, ("' like '", "'='", "\"=\"", "'<'", "' is "), r"['\")] {0,2}(?:or|and|\|\|) {0,2}\(?(?:'[^']{0,24}'? {0,2}(?:=|like|<|>|is)|\"[^\"]{0,24}\" {0,2}=)|^[^ ]{0,80}'='"),
    Payload(SQL_INJECTION, ("' and ", "' or ", "') or", "') and", "\" or ", "\" and "), r"[\w%]['\")]{1,3} (?:and|or) (?:not )?\(?\w{3,32} ?\("),
    Payload(SQL_FRAGMENT, ("information_schema.", "@@version", "xp_cmdshell", "sqlite_master", "pg_catalog", "sysobjects", "mysql.user", "all_tables"),
            rf"{_ASSIGNED}[^&]{{0,256}}(?:information_schema\.|@@version|xp_cmdshell|sqlite_master|pg_catalog|sysobjects|mysql\.user|\ball_tables)"),
    Payload(SQL_FRAGMENT, ("union", "select", "sleep(", "benchmark(", "distinct(", "substr", "concat("),
            rf"{_ASSIGNED} ?(?:{_UNION} ?(?:$|&)|(?:selectchar|sleep|benchmark|distinct|substr(?:ing)?|concat(?:_ws)?|ascii|hex|unhex|md5|char|chr)\([^)&]{{0,64}}\)?(?:$|&))"),
    Payload(SQL_FRAGMENT, ("select",), r"[=?/] ?select (?:\*|[\w,. ()]{1,64}) from [\w.]{1,64}(?: where |;|--|$|&)"),

    Payload(NOSQL_INJECTION, ("[$",), r"\[\$(?:n?eq?|[gl]te?|regex|where|exists|n?in|n?or|and|not)\]"),
    Payload(NOSQL_INJECTION, ("$",), rf"[{{,] {{0,2}}{_QUOTE}?\$(?:where|ne|gte?|lte?|regex|n?or|n?in|and|exists|expr|function){_QUOTE}? {{0,2}}:"),
    Payload(NOSQL_INJECTION, ("this.", "db.", "new date"), r"this\.(?:password|passwd|pass|constructor)\b|\bdb\.\w{1,32}\.(?:find|insert|drop|remove|update|count)\(|[;,] ?var \w{1,16} ?= ?new date"),
    Payload(LDAP_INJECTION, ("(",), r"\*\) ?\( ?(?:[|&(]|\w{1,24} ?=)|\*\(\||\(\|\(\w{1,24}=|\(&\(\w{1,24}=|\(objectclass=|\*\(\)\||\)\(cn=|\(\|\w{1,24}=\*\)"),
    Payload(LDAP_INJECTION, ("userpassword",), r"userpassword(?:=\*|:\d)"),

    Payload(COMMAND_INJECTION, (";", "|", "`", "$(", "\n", "&&"), rf"(?:[;|`\n]|\$\(|&&|<\() {{0,3}}(?:/(?:usr/)?s?bin/)?{_TELLING}\b(?: {{0,2}}(?:$|[;|&`)\n'\"#<>])| {{1,3}}[-/'\"$%\w:])"),
    Payload(COMMAND_INJECTION, (";", "|", "`", "$(", "\n", "&&"), rf"(?:[;|`\n]|\$\(|&&|<\() {{0,3}}(?:/(?:usr/)?s?bin/)?{_SHELL} {{1,3}}(?:-{{1,2}}[a-z]|/[a-z*?.]|\.{{1,2}}/|[$*~]|'|[a-z]:\\|/$)"),
    Payload(COMMAND_INJECTION, ("$(", "`"), r"(?:\$\(|=`|;`|\|`|/`) {0,2}(?:id|ls|cat|env|pwd|echo|dir|whoami|hostname|ps|uname|curl|wget|ping|sleep|nslookup|printf|expr|te|br|u)\b[^)`]{0,64}[)`]"),
    Payload(COMMAND_INJECTION, (";id", "; id", "|id", "| id", "`id", ";ls", "; ls", "| ls", ";env", ";pwd", "|ls", "| dir", "|dir"), r"(?:^=|[^a-z]|=[\w.]{0,32})(?:[;`]|\|{1,2}| \|) ?(?:id|ls|env|pwd|dir)(?:[;|`#]| \||$(?<=[;|] id)|$(?<=[; ]ls))|=[\d.]{1,16};(?:id|ls|env|pwd)(?:$|&)"),
    Payload(COMMAND_INJECTION, ("ifs",), r"\$\{?ifs\b"),
    Payload(COMMAND_INJECTION, ("/dev/tcp/", "bash -i", "mkfifo", "nc -", "/bin/"), r"/dev/tcp/\S|\bbash -i\b|mkfifo /tmp|\bnc(?:\.traditional)? -[a-z]{0,3}e|(?:\.\./|\.\.%2f)[^&]{0,64}bin/(?:ba|z|k|c|da)?sh|/bin/(?:ba|z|k|c|da)?sh -[ci]|[;|`=] ?/bin/\w"),
    Payload(COMMAND_INJECTION, ("cmd.exe", "cmd /c", "powershell", "iex", "syscmd"), rf"cmd\.exe\?/c|(?:{START}|[;|&\"]) ?cmd(?:\.exe)? ?/[ck] |powershell(?:\.exe)? -(?:e|enc|nop|w|c|ep)\b|\biex ?\(|todo=syscmd"),
    Payload(COMMAND_INJECTION, ("() {", "(){"), r"\(\) ?\{ ?(?::|_) ?[;}]|(?:^|[=?&/])\(\) ?\{|:\(\) ?\{ ?:"),
    Payload(COMMAND_INJECTION, ("?",), r"/[a-z]{0,2}\?{1,3}[a-z]{0,2}/[a-z?*]{0,2}\?{1,3}[a-z?*]{0,4}|/[a-z]{1,2}\?/pa"),
    Payload(COMMAND_INJECTION, ("/etc/", "/proc/", "/root/", "/home/"), rf"{START}(?:cat|tac|nl|less|more|head|tail|dd|cp|grep|rev|strings) [^&]{{0,32}}/(?:etc/(?:passwd|shadow)|proc/[a-z]|root/|home/)|/etc/[a-z]{{0,6}}[\[?*]"),
    Payload(COMMAND_INJECTION, (" in (", " in("), r"for (?:/[dflr] )?.{0,48}%{1,2}\w{1,16} in ?\("),
    # A value that begins with the end of a command.
    Payload(COMMAND_INJECTION, ("=;", "=|", "=`", "='"), r"=(?:'?;|\|{1,2}|`) ?(?:set|who|env|id|ls|ps|w|pwd|dir|date|htop|top|sh|cmd|arch|df)(?:$|&| [-/])"),
    Payload(COMMAND_INJECTION, ("/shell?", "cd /tmp"), r"/shell\?[^=]{0,8}(?:cd|wget|curl|busybox|ls|cat) |[;|`=?] ?cd /tmp ?[;&|]"),

    Payload(CODE_INJECTION, ("<?",), r"<\? ?php|<\?="),
    Payload(CODE_INJECTION, ("php:/", "data:", "expect:/", "phar:/", "zip://", "glob://", "zlib:", "ssh2."), r"php://(?:input|filter|memory|stdin|fd)|data:(?://)?(?:text|image|application)/[\w+.-]{1,32}(?:;charset=[\w-]{1,16})?;base64,[a-z0-9+/]{0,128}|expect://|phar://|[=:]zip://|[=:]glob://|zlib://|ssh2\.(?:s?ftp|scp|exec|shell|tunnel)://"),
    Payload(CODE_INJECTION, ("allow_url_include", "auto_prepend_file", "disable_functions", "call_user_func", "invokefunction"), r"(?:allow_url_include|auto_prepend_file|disable_functions)[ =]|call_user_func(?:_array)?\b[&(=]|invokefunction&"),
    Payload(CODE_INJECTION, ("(",), rf"(?:{START}|[;{{}}@'\"`(!|,]|\]) {{0,2}}(?:eval|assert|system|passthru|shell_exec|exec|popen|proc_open|phpinfo|base64_decode|gzinflate|str_rot13|file_get_contents|file_put_contents|fsockopen|create_function|call_user_func(?:_array)?|var_dump|print_r|curl_init|preg_replace|chr) {{0,4}}\((?:[^)]|\)$|\)[;&'\"])"),
    Payload(CODE_INJECTION, ("(system", "[system", "(exec", "(passthru"), r"[(\[] {0,2}(?:system|exec|passthru|shell_exec) {0,2}[)\]](?: ?\[ ?0 ?\])?[ )]{0,3}\("),
    Payload(CODE_INJECTION, ("$_", "globals["), r"\$\{?_(?:get|post|request|server|cookie|files|session|env)\b|[?&]globals\["),
    Payload(CODE_INJECTION, (":{", ":\""), r"(?:^|[^a-z])[oc]:\d{1,4}:\"[^\"]{1,64}\":\d{1,6}:\{|a:\d{1,4}:\{[is]:\d"),
    Payload(CODE_INJECTION, ("getruntime", "java.lang", "processbuilder", "#_memberaccess", "ognl", "class.module", "classloader", "opensymphony", "xwork", "scriptenginemanager", "commons.io"),
            r"getruntime\(|@java\.lang|new java\.|t\(java\.|java\.lang\.(?:runtime|processbuilder|class|system|thread)[.@(]|#_memberaccess|#?ognl[.@]|@ognl|class\.module\.classloader|class\[.?.?module|com\.opensymphony\.(?:xwork|webwork)|new processbuilder|scriptenginemanager|org\.apache\.commons\.(?:io|collections|fileupload|beanutils)\.\w{1,40}[@(.]"),
    Payload(CODE_INJECTION, ("__proto__", "constructor", "child_process", "mainmodule"), r"__proto__ ?[\[.:=]|__proto__[\"'\]]|constructor[\[.](?:\[?.?prototype|.?constructor)|child_process['\"].{0,8}[).]|process\.mainmodule"),
    Payload(CODE_INJECTION, ("__import__", "os.system", "os.popen", "subprocess", "!!python", "pyimport", "io.popen", "%00"), r"__import__ ?\(|\bos\.(?:system|popen) ?\(['\"]|subprocess\.\w{1,16}\(|!!python/|pyimport |io\.popen ?\("),
    Payload(CODE_INJECTION, ("while(", "while ("), r"[=;}] ?while ?\((?:[!+-]{0,3}(?:true|false|1|0|infinity|\[)|new date|curdate)"),
    Payload(CODE_INJECTION, ("<%",), r"<%[=@! ]"),

    Payload(TEMPLATE_INJECTION, ("{{", "${", "#{", "%{", "*{", "@(", "<%="), r"(?:\{\{|[$#%*]\{|@\(|<%=) {0,3}[(\"']{0,2}-?\d{1,12} {0,2}[-*+/] {0,2}['\"]?\d"),
    Payload(TEMPLATE_INJECTION, ("{{",), r"\{\{[^}]{0,96}(?:__|config\b|self\.|request\.|cycler|joiner|lipsum|namespace|_self|constructor|\['|'\.|\.to(?:upper|lower)case|\|(?:attr|join|map|filter|sort|passthru)|dump\(|system|exec|popen)"),
    Payload(TEMPLATE_INJECTION, ("${", "%{", "#{", "*{", "~{"), r"[$%#*~]\{ {0,2}(?:[#@'\"(~]|t ?\(|java\.|class\b|new |\w{1,40}\?new|pagecontext|facescontext|applicationscope|sessionscope|requestscope|\"|system\(|exec\(|ex\(|this\.|self\b|global\.|process\.)"),
    Payload(TEMPLATE_INJECTION, ("freemarker", "<#", "?new"), r"freemarker\.template\.utility|<#(?:assign|list|include|import) |\?new\(\)"),
    Payload(TEMPLATE_INJECTION, ("__class__", "__mro__", "__subclasses__", "__globals__", "__builtins__", "__init__"), r"__(?:class|mro|subclasses|globals|builtins|init)__"),
    Payload(TEMPLATE_INJECTION, ("smarty", "{php}", "[php]", "{%", "#set", "$class."), r"\{\$smarty\.|[{\[]php[}\]]|\{% ?(?:import|include|extends|for \w{1,24} in|set |if |debug|raw|macro|from |with )|#set ?\(\$|\$class\.inspect"),

    # Log4j and Commons Text look up and nest; no other text does.
    Payload(LOOKUP_INJECTION, ("${", "$ {", "$\\{", "{jndi"), r"\$ ?\\?\{ ?(?:jndi|lower|upper|env|sys|java|date|main|ctx|script|dns|url|base64\w{0,8}|::-|web|docker|k8s|spring|bundle|const|file|properties|resourcebundle|urlencoder|xml)\\?:|\$ ?\\?\{[^}]{0,64}:-|\$\\?\{::|\{jndi:|\bjndi:(?:ldaps?|rmi|dns|iiop|nis)"),

    Payload(CROSS_SITE_SCRIPTING, ("script",), rf"(?:{START}|[\"'`>;)}}\]] {{0,3}}|\w)<[\s/]{{0,4}}(?:[\w-]{{1,16}}:)?script[\s/>]|<[/ ]{{0,3}}script[^<>]{{0,64}}(?:src ?=|>[^< ]{{0,64}}[(=`])|{START}<script$|</script"),
    Payload(CROSS_SITE_SCRIPTING, ("<",), rf"<[a-z!/?:][^>]{{0,256}}[\s/\"'`]{_HANDLER} {{0,3}}="),
    Payload(CROSS_SITE_SCRIPTING, ("on",), rf"(?:{_QUOTE}|{START}|\\)[\s/+)>]{{0,6}}(?:(?:autofocus|style|id|tabindex|contenteditable|accesskey)(?:=[\w'\"-]{{0,32}})?[\s/+]{{1,4}}){{0,3}}on(?:error|load|click|focus|blur|mouse|key|pointer|wheel|toggle|change|input|select|submit|animation|transition|drag|drop|copy|paste|cut|scroll|resize|show|hash|page|popstate|message|touch|begin|end|start|finish|bounce|canplay|aux|context|dbl|before|after|un|cue|x)[a-z]{{0,16}}\s{{0,3}}=\s{{0,3}}[^&\s]"),
    Payload(CROSS_SITE_SCRIPTING, ("script",), r"(?:java|vb|live) {0,2}script {0,2}: {0,3}(?://|[\w.\[\]'\"/*%+$@]{0,64}[(`=[])|javascript&colon;"),
    Payload(CROSS_SITE_SCRIPTING, ("javascript:", "vbscript:"), r"(?:href|src|action|data|url|location|background|content|to|from|values)\)? {0,2}[=(] {0,2}.{0,3}(?:java|vb)script:"),
    Payload(CROSS_SITE_SCRIPTING, ("(", "`"), rf"(?:[\"'`;>{{}}()\-+*/!~^|,\[\\]|=[\"']|void ){{1}}\s{{0,3}}(?:self\.|window\.|top\.|this\.|\[)?{_CALL}\)?(?:\?\.)? {{0,2}}[(`]"),
    Payload(CROSS_SITE_SCRIPTING, ("alert", "prompt", "confirm", "eval(", "write(", "atob"), r"(?:alert|prompt|confirm|write) {0,2}[(`] {0,2}(?:\d|document\b|/|['\"`]?xss|string\.fromcharcode|location|origin|window)|(?:alert|prompt|confirm)\.(?:call|apply|bind)|eval\(atob|(?:=|\()(?:alert|prompt|confirm)\b ?[,;)&]"),
    Payload(CROSS_SITE_SCRIPTING, ("document", "window", "self", "top[", "fromcharcode", "location"), r"[(+`{.\[,;] ?document\.(?:cookie|domain|location|write|body)\b|document(?:\.|\[.)cookie ?[)}+`;'\"\]]|string\.fromcharcode ?\(|(?:window|self|top|parent|frames|globalthis|this) ?\[ ?[\"'`/]|document\)? ?\[ ?[\"'`]|(?:window|document|top|self)\.location ?=|[;'\"`>] ?location(?:\.href)? ?= ?[\"'`]"),
    Payload(CROSS_SITE_SCRIPTING, (".call", ".apply", "constructor(", "constructor`", ".map(", ".find(", ".some(", ".sort", ".with(", "setattribute"), rf"(?:reflect|array\.prototype|\[\]?)\.?[\w.,\]]{{0,24}}\.(?:call|apply|map|find|some|sort|filter|foreach|every|with)\b ?[`(]|constructor[(`][\"'`]?{_CALL}|\]\.(?:map|find|some|sort|filter|with|foreach)\([\w,]{{0,8}}{_CALL}|setattribute\("),
    Payload(CROSS_SITE_SCRIPTING, ("<svg", "<iframe", "<object", "<embed", "<math", "<base", "<meta", "<applet", "<frame", "<style", "<link", "<isindex", "<template", "<xss", "<form", "<img", "<image", "<video", "<audio", "<body", "<input", "<a", "<marquee", "<x"),
            r"<[ /]{0,2}(?:svg[/ ]|math[> ]|xss|isindex |iframe[ /][^>]{0,64}(?:src|srcdoc)|object[ /][^>]{0,64}(?:data|type)|embed[ /][^>]{0,64}src|base [^>]{0,64}href|meta [^>]{0,64}http-equiv|applet |frameset[ >]|style[^>]{0,32}>[^<]{0,64}(?:@import|expression|-moz-binding|@keyframes|javascript)|link [^>]{0,64}(?:stylesheet|import)|form[ /][^>]{0,96}action|input [^>]{0,96}formaction|body[ /][^>]{0,64}background|template>|image[ /])"),
    Payload(CROSS_SITE_SCRIPTING, ("expression(", "-moz-binding", "xlink:href", "srcdoc", "fscommand", "@import"), r"style ?=[^>&]{0,96}(?:expression ?\(|-moz-binding|javascript|behavior ?:|@import)|-moz-binding ?:|xlink:href ?=|srcdoc ?=|@import ['\"(u]"),
    Payload(CROSS_SITE_SCRIPTING, ("+adw-",), r"\+adw-.{0,32}\+ad4-"),
    Payload(MARKUP, ("<", "alert(", "prompt(", "javascript:"), rf"{_ASSIGNED} ?(?:</?(?:a|b|br|p|i|u|h1|div|img|table|body|input|meta|object|embed|style|script|iframe|frameset|svg|form|link|base|font|marquee|details|video|audio|textarea)(?:[ />=]|$|&)|(?:alert|prompt|confirm)\(|javascript:(?:[^ ]|$))"),

    Payload(HEADER_INJECTION, ("\n",), r"\n {0,4}\d?(?:set-cookie2?|content-(?:type|length|disposition)|transfer-encoding|x-xss-protection) ?: ?\S|\n {0,4}\d?(?:location|refresh) ?: ?(?:https?:|//|\d;)|\n {0,2}http/1\.[01] \d"),
    Payload(HEADER_INJECTION, ("\n", "\u560a", "\u560d"), r"\n {0,2}(?:rcpt to|mail from|bcc|cc) ?:|\n(?:quit|data|helo \w{1,64}|stats)\n|\nv\d{2,4} (?:capability|fetch|noop)|[\u560a\u560d]{1,2}[\w-]{2,32}:|^=?[^\n]{0,128}\n(?:quit|data)$"),
    Payload(XML_INJECTION, ("<!", "!entity"), r"<!entity|!entity %|<!doctype [^>]{1,64}(?:\[|system|public)|<!\[cdata\[|<!-{0,2} ?# ?(?:exec|include|echo|printenv|config|set|fsize|flastmod)\b"),
    Payload(XML_INJECTION, ("<esi:", "<xsl:", "xinclude"), r"<esi:(?:include|inline|debug|vars)|<xsl:|<xi:include|xmlns:xi="),
    # Two extensions: one for whoever checks the name, one for whoever runs the file.
    Payload(KNOWN_EXPLOIT, (";.", "\n.", "\u560a"), r"\.(?:php\d?|phtml|aspx?|jspx?)[;\n\u560a\u560d]{1,2}\.(?:png|jpe?g|gif|pdf|txt|css|js|svg|ico)"),
    Payload(KNOWN_EXPLOIT, ("powershell",), r"autodiscover\.json\?.{0,128}powershell"),
    Payload(KNOWN_EXPLOIT, ("think",), r"[?&]s=.{0,32}(?:\\|/)think\\|/index/\\think"),
    Payload(KNOWN_EXPLOIT, ("polldata", "poller_id", "syscmd"), r"poller_id=[^&]{0,16}[;|`$]|todo=syscmd"),
    Payload(REQUEST_FORGERY, ("gopher:", "dict:", "ldap:", "ldaps:", "sftp:", "tftp:", "jar:", "netdoc:", "file:", "rmi:", "ftp:"), rf"(?:{_ASSIGNED}|^=|[=/])(?:gopher|dict|ldaps?|sftp|tftp|netdoc|rmi)://|[=/]jar:(?:https?|file|ftp)|(?:{_ASSIGNED}|^=)file:/{{1,3}}[\w?/]"),
    Payload(REQUEST_FORGERY, ("169.254.", "metadata.", "100.100.100.200"), r"169\.254\.169\.254|metadata\.google\.internal|100\.100\.100\.200/|169\.254\.170\.2/"),
    # A script elsewhere that the application is to include, by address or cut off with a mark.
    Payload(REQUEST_FORGERY, ("http://", "https://", "ftp://", "ftps://"), r"=(?:https?|ftps?)://(?:\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?/[^&]{0,96}\.(?:php\d?|txt|sh|exe|jsp|aspx?|bin|elf|jar|ps1)\b|[^&? /]{1,64}/[^&? ]{0,96}\.(?:php\d?|phtml|txt|sh|ps1)\?{1,2}(?:$|&|\x00))"),
    Payload(REQUEST_FORGERY, ("mosconfig", "_conf[", "_server[", "abspath=", "absolute_path"), r"(?:mosconfig_\w{1,32}|_(?:conf|server|config)\[[\w-]{1,32}\]|\w{0,32}abs(?:olute_?)?path)=(?:https?|ftp)://"),
    Payload(REQUEST_FORGERY, ("oast.", "burpcollaborator", "interact.sh", "interactsh", "dnslog.cn", "requestbin"), r"\.oast\.(?:me|pro|live|site|online|fun)|burpcollaborator\.net|\.interact\.sh|interactsh|\.dnslog\.cn"),
)  # fmt: skip

# Each literal with the search it leads to.
CHECKS = tuple(
    (literal, payload.family.name, re.compile(payload.expression, re.DOTALL).search)
    for payload in PAYLOADS
    for literal in payload.literals
)
