"""What is wrong with this installation, and what to do about it (`manage.py doctor`)."""

from __future__ import annotations

from collections.abc import Iterator

from project.doctor import configuration, node, record, stores
from project.doctor.findings import Finding, Level, Section, looked_at

PATIENCE = 10.0  # seconds for one section
DATABASE = "Start the database, or correct DATABASE_URL; then ask the doctor again."

SECTIONS = (
    Section("checks", configuration.look_at_checks),
    Section("files", node.look_at_files),
    Section("disk", node.look_at_disk),
    Section("database", stores.look_at_database, remedy=DATABASE),
    Section("migrations", stores.look_at_migrations, needs_database=True),
    Section("redis", stores.look_at_redis),
    Section("queue", stores.look_at_queue, remedy="Start what HUEY_URL names, or correct it."),
    Section("journal", node.look_at_backlog, needs_database=True),
    Section("worker", record.look_at_worker, needs_database=True),
    Section("detection", record.look_at_detection, needs_database=True),
    Section("losses", record.look_at_losses, needs_database=True),
    Section("proxies", record.look_at_proxies, needs_database=True),
    Section("places", node.look_at_places),
    Section("web", node.look_at_web),
    Section("rules", node.look_at_rules, needs_database=True),
)


def examine(patience: float = PATIENCE) -> Iterator[tuple[str, Finding]]:
    """Yield the findings of every section, with its name.

    While the database does not answer, what needs it is left out, which the last finding says.
    """
    away, left_out = False, []
    for section in SECTIONS:
        if away and section.needs_database:
            left_out.append(section.name)
            continue
        found = looked_at(section, patience)
        yield from ((section.name, finding) for finding in found)
        if section.name == "database":
            away = any(finding.level is Level.ERROR for finding in found)
    if left_out:
        told = f"Left out, since the database does not answer: {', '.join(left_out)}."
        yield "database", Finding(Level.ERROR, told, DATABASE)
