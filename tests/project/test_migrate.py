"""`manage.py migrate` may be killed at its worst moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATE = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
# Between what a migration does and the note that it is done.
DIE_BEFORE_THE_NOTE = f"""
import os, signal
from django.db.migrations.recorder import MigrationRecorder
note = MigrationRecorder.record_applied
def die(self, app, name):
    os.kill(os.getpid(), signal.SIGKILL) if app == "auth" else note(self, app, name)
MigrationRecorder.record_applied = die
{MIGRATE}
"""


def run(state: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, "migrate", "-v0", "auth", "0001"],
        cwd=ROOT,
        env=os.environ
        | {
            "STATE_DIR": str(state),
            "DATABASE_URL": "",
            "DJANGO_SETTINGS_MODULE": "project.settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.one_store
def test_a_migration_that_was_killed_before_it_was_noted_is_applied_again(tmp_path: Path) -> None:
    assert run(tmp_path, DIE_BEFORE_THE_NOTE).returncode == -9
    again = run(tmp_path, MIGRATE)
    assert again.returncode == 0, again.stderr[-500:]
