"""The environment of the tests, set before Django reads its settings (a pytest plugin)."""

from __future__ import annotations

import os
import tempfile

os.environ.update(
    STATE_DIR=tempfile.mkdtemp(prefix="tests-"),
    SECRET_KEY="only-for-tests-" + "0123456789" * 5,
    DEBUG="false",
    ALLOWED_HOSTS="testserver,localhost,127.0.0.1",
)
