"""The page of the documentation that lists the environment variables, made from .env_template.

A hook of MkDocs: the page is never written beside the others, and so never out of date.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference-environment.md"
TEMPLATE = Path(__file__).resolve().parent.parent / ".env_template"
INTRODUCTION = """# Environment variables

Made from `.env_template`. The service reads them from its environment, and from the file `.env`
beside `manage.py` where it exists; a variable of the shell comes before one of the file. A project
that embeds `tracking` has [settings](settings.md) instead.
"""
VARIABLE = re.compile(r"#([A-Z_]+)=(.*)")
SECTION = "# -- "


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to those that MkDocs has found."""
    files.append(File.generated(config, PAGE, content=page(TEMPLATE.read_text())))
    return files


def page(template: str) -> str:
    """Return the page for a template: its sections, with a table of the variables of each."""
    return "\n".join([INTRODUCTION, *sections(template.splitlines())])


def sections(lines: list[str]) -> Iterator[str]:
    """Yield a heading at each section, and a row for comments and the variables below them."""
    comments: list[str] = []
    variables: list[str] = []
    for line in [*lines, SECTION]:
        variable = VARIABLE.fullmatch(line)
        if variables and variable is None:
            yield row(variables, comments)
            comments, variables = [], []
        if variable is not None:
            variables.append(f"`{variable[0].removeprefix('#')}`")
        elif line.startswith(SECTION) and line != SECTION:
            title, _, more = line.removeprefix(SECTION).partition(": ")
            comments = [more[0].upper() + more[1:]] if more else []
            yield f"\n## {title.rstrip('.')}\n\n| variable and default | meaning |\n|---|---|"
        elif line.startswith("# "):
            comments.append(line.removeprefix("# "))
        else:
            comments = []


def row(variables: list[str], comments: list[str]) -> str:
    meaning = html.escape(" ".join(comments), quote=False).replace("|", "\\|")
    return f"| {'<br>'.join(variables)} | {meaning} |"
