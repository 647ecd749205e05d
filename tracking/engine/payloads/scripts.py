"""Script and markup for the browsers of other people."""

from __future__ import annotations

from tracking.engine.families import CROSS_SITE_SCRIPTING, MARKUP
from tracking.engine.payloads.payload import NAMED, START, Payload

_DIALOG = r"(?:alert|prompt|confirm)"
_CALL = rf"(?:{_DIALOG}|print|eval|settimeout|setinterval|import|fetch|atob|btoa)"
_EVENT = (
    r"on(?:error|load|click|focus|blur|mouse|key|pointer|wheel|toggle|change|input|select|submit"
    r"|animation|transition|drag|drop|copy|paste|cut|scroll|resize|show|hash|page|popstate"
    r"|message|touch|begin|end|start|finish|bounce|canplay|aux|context|dbl|before|after|un|cue|x)"
    r"[a-z]{0,16}"
)

SCRIPTS = (
    # In a sentence about "<script> tags" a space stands before the tag.
    Payload(
        CROSS_SITE_SCRIPTING,
        '/?x="><script>alert(1)</script>',
        ("script",),
        rf"(?:{START}|[\"'`>;)}}\]] {{0,3}}|\w)<[\s/]{{0,4}}(?:[\w-]{{1,16}}:)?script[\s/>]"
        r"|<[/ ]{0,3}script[^<>]{0,64}(?:src ?=|>[^< ]{0,64}[(=`])"
        rf"|{START}<[ \w:]{{0,8}}script$|[^\s]</script",
    ),
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?x=<svg/onload=alert(1)>",
        ("<",),
        r"<[a-z!/?:][^<>]{0,256}[\s/\"'`]on[a-z]{3,28}\s{0,3}=",
    ),
    # An attribute added to the tag that the value stands in.
    Payload(
        CROSS_SITE_SCRIPTING,
        '/?x=" autofocus onfocus=alert(1)//',
        ("on",),
        rf"(?:['\"`\\]|=['\"( ]{{0,3}})[\s/+)>]{{0,6}}"
        r"(?:(?:autofocus|style|id|tabindex|contenteditable|accesskey)"
        r"(?:=[\w'\"-]{0,32})?[\s/+]{1,4}){0,3}"
        rf"{_EVENT}\s{{0,3}}=\s{{0,3}}[^&\s]",
    ),
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?next=javascript:alert(1)",
        ("script",),
        r"(?:java|vb|live)\s{0,2}script\s{0,2}: {0,3}(?://|[\w.\[\]'\"/*%+$@]{0,64}[(`=[])"
        r"|javascript&colon;"
        r"|(?:href|src|action|data|location|background|content|values|url ?\() {0,2}[=(]? {0,2}"
        r".{0,3}(?:java|vb)script ?:",
    ),
    # A call behind what ends a value of a script.
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?x='-alert(1)-'",
        ("(", "`", "?."),
        r"(?:[\"'`;>{}(+*!~^|\[\\]\s{0,3}|[)\]}]|(?<![a-z])-|=[\"']|void )"
        rf"(?:(?:self|window|top|this)\.|\[)?{_DIALOG}\)?(?:\?\.)? {{0,2}}[(`]"
        rf"|[\"'`>;](?:(?:self|window|top|this)\.)?{_CALL}\)?(?:\?\.)?[(`]",
    ),
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?x=prompt(document.domain)",
        ("alert", "prompt", "confirm", "eval(", "document"),
        rf"{_DIALOG}(?:\?\.)?[(`] ?(?:\d|document\b|/|['\"`]?xss|string\.|location|origin|window)"
        rf"|{_DIALOG}\.(?:call|apply|bind)[(`]|eval\(atob|document\.write[(`]"
        rf"|\({_DIALOG}\)[(`.?]|\.\w{{1,12}}\({_DIALOG}\)|=\(?{_DIALOG}\)?;throw",
    ),
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?x='+document.cookie+'",
        ("document", "window", "self", "top", "fromcharcode", "location"),
        r"[(+`{.\[;] ?document\??\.(?:cookie|domain|location|write|body)\b"
        r"|document(?:\??\.|\[.)cookie ?[)}+`;'\"\]]|string\.fromcharcode ?\([\d ,]"
        r"|(?:window|self|top|parent|frames|globalthis|this) {0,2}\[ {0,2}[\"'`/]"
        r"|document\)? {0,2}\[ {0,2}[\"'`]|(?:window|document|top|self)\.location ?= ?[\"'`\w]"
        r"|[;'\"`>] ?location(?:\.href)? ?= ?[\"'`]",
    ),
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?x=[1].map(alert)",
        (".call", ".apply", "constructor(", "constructor`", ".map(", ".find(", ".some(", ".with("),
        rf"(?:reflect|\[\]) ?\.[\w. ]{{0,24}}\.? ?(?:call|apply) ?[`(]|prototype\.\w{{1,12}}\.call`"
        rf"|constructor[(`][\"'`]?{_CALL}|\]\.(?:map|find|some|sort|filter|with|foreach)\("
        rf"[\w,]{{0,8}}{_CALL}",
    ),
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?x=<iframe srcdoc=x>",
        (
            *("<iframe", "<object", "<embed", "<math", "<base", "<meta", "<applet", "<frame"),
            *("<style", "<link", "<isindex", "<xss", "<form", "<image", "<body", "<input"),
        ),
        r"<[ /]{0,2}(?:math><|xss[ />]|isindex |iframe[ /][^<>]{0,64}src(?:doc)?\s?="
        r"|object[ /][^<>]{0,64}data\s?=|embed[ /][^<>]{0,64}src\s?="
        r"|base [^<>]{0,64}href\s{0,2}/?\s?="
        r"|meta [^<>]{0,64}http-equiv|applet [^<>]{0,64}code|frameset[ >][^<>]{0,32}<frame"
        r"|style[^<>]{0,32}>[^<]{0,64}(?:@import|expression|-moz-binding|@keyframes|javascript)"
        r"|link [^<>]{0,64}href\s?=|form[ /][^<>]{0,96}action\s?=|input [^<>]{0,96}formaction"
        r"|body[ /][^<>]{0,64}background\s?=|image[ /][^<>]{0,64}src)",
    ),
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?x=x style=-moz-binding:url(x)",
        ("expression(", "-moz-binding", "xlink:href", "srcdoc", "@import"),
        r"style ?=[^>&]{0,96}(?:expression ?\(|javascript|behavior ?:|@import)|-moz-binding ?:"
        r"|xlink:href ?=|srcdoc ?=|@import ['\"(u]",
    ),
    Payload(
        CROSS_SITE_SCRIPTING,
        "/?x=%2bADw-script%2bAD4-",
        ("adw-",),
        r"[+ ]adw-.{0,32}[+ ]ad4-",  # UTF-7
    ),
    Payload(
        MARKUP,
        "/?name=<table",
        ("<", "alert(", "prompt(", "javascript:"),
        rf"{NAMED} ?(?:</?(?:a|b|br|p|i|u|h1|div|img|table|body|input|meta|object|embed|style"
        r"|script|iframe|frameset|svg|form|link|base|font|marquee|details|video|audio|textarea)"
        rf"(?:[ />=]|$|&)|{_DIALOG}\(|javascript:(?:[^ ]|$))",
    ),
)
