"""What fuzzing feeds: texts near to good ones, and texts far from any. `make fuzz` tries ten times
as many as `make test`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = 10 if os.environ.get("FUZZ") == "true" else 1

NASTY = (
    *("", " ", "\x00", "\n", "\r\n", "\t", "%", "%00", "%ff", "\ud800", "\u2028", "é", "０", "٣"),
    *("'", '"', "\\", "/", "//", "/../", "..", ":", "::", "::ffff:", "[", "]", "%eth0", "@", "#"),
    *("-", "-1", "0", "00", "0x7f", "1e309", "NaN", "Infinity", "9" * 400, "a" * 5000, ",", ";"),
    *("{", "}", "[[", "null", "true", "${jndi:", "<script>", "=cmd|", "\ufeff", "Z", "+25:00"),
)

anything = st.text(max_size=80) | st.text(st.characters(max_codepoint=127), max_size=80)


def fuzzed(examples: int) -> settings:
    """Return the settings for so many inputs, ten times as many in `make fuzz`."""
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def near(*good: str) -> st.SearchStrategy[str]:
    """Return texts that differ from good ones here and there, and texts that never were good."""
    return st.one_of(changed(good), changed(good), st.sampled_from(NASTY), anything)


@st.composite
def changed(draw: st.DrawFn, good: tuple[str, ...]) -> str:
    text = draw(st.sampled_from(good))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + draw(st.sampled_from(NASTY) | anything) + text[end:]
    return text
