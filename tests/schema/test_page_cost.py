"""A page costs a fraction of a stock one, and a deep page what the first one costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_goals_of_the_benchmark_hold_on_a_small_record() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.graphql_pages", "--rows=5000", "--rounds=7"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
