"""Cells of CSV that every spreadsheet takes for text, whatever strangers wrote into them.

Text that begins with =, +, - or @ (wide letters, too; behind spaces or quotes, too) is run as a
formula, and so may be what stands behind a tab or an end of line. Where the comma is the decimal
sign, spreadsheets also split lines at semicolons: then a cell begins in the middle of a text. What
begins so gets an apostrophe, which they take for "this is text".
https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import re

_PASSED_OVER = r"(?:[^\S\t\r\n]|['\"])*"
_SIGN = r"=+\-@＝＋－＠"
_FIRST = re.compile(rf"{_PASSED_OVER}[{_SIGN}\t\r\n]")
_BEHIND = re.compile(rf"([;\t\r\n])(?={_PASSED_OVER}[{_SIGN}])")
_MARKED = re.compile(rf"([;\t\r\n])'(?={_PASSED_OVER}[{_SIGN}])")


def guarded(text: str) -> str:
    """Return the text with an apostrophe before all that a spreadsheet would take for a formula."""
    marked = _BEHIND.sub(r"\1'", text)
    return f"'{marked}" if _FIRST.match(text) else marked


def unguarded(text: str) -> str:
    """Return the text that `guarded` made this of."""
    if text.startswith("'") and _FIRST.match(text):
        text = text[1:]
    return _MARKED.sub(r"\1", text)
