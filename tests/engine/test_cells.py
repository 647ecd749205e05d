"""Cells of CSV, against people who write formulas into what is exported."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tracking.engine.cells import guarded, unguarded

HOSTILE = st.text("=+-@＝＋－＠ \t\r\n;,'\"\u00a0x|", max_size=12)


def cells_of(text: str) -> list[str]:
    """Return the cells that any of the usual ways to split a file may make of a text."""
    return re.split(r"[;\t\r\n]", text)


@hypothesis_settings(max_examples=300, deadline=None)
@given(HOSTILE)
def test_no_cell_begins_a_formula_however_it_is_split_and_the_text_is_not_lost(text: str) -> None:
    for cell in cells_of(guarded(text)):
        looked_at = cell.lstrip("'\" \u00a0")
        assert cell.startswith("'") or not looked_at.startswith(tuple("=+-@＝＋－＠"))
    assert guarded(text).startswith("'") or not text.startswith(("\t", "\r"))
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\rx", "'\rx"),
        ("  =1", "'  =1"),
        ('"=1', "'\"=1"),
        ("'=1", "''=1"),
        ("＝1", "'＝1"),
        ("x;=cmd|' /C calc'!A0", "x;'=cmd|' /C calc'!A0"),
        ("x\n=1", "x\n'=1"),
        ("a=b", "a=b"),
        ("x - y", "x - y"),
        ("'quoted'", "'quoted'"),
        ("", ""),
    ],
)
def test_what_becomes_of_a_cell(text: str, cell: str) -> None:
    assert guarded(text) == cell


def test_a_long_cell_takes_no_longer_than_its_length() -> None:
    for text in ("; " * 200_000, "'" * 400_000, ";'" * 200_000, " " * 400_000):
        assert unguarded(guarded(text)) == text
