#!/bin/sh
# Run a script with the first Python that can set this service up: `sh deploy/python.sh SCRIPT …`.
# PYTHON names one; otherwise the usual names are tried.
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        exec "$python" "$@"
    fi
done
echo "error: this needs Python 3.11 or newer with its venv module (looked for: ${PYTHON:-python3, python3.13, python3.12, python3.11}): install it (Debian, Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3; macOS: brew install python) or name it with PYTHON=/path/to/python3" >&2
exit 1
