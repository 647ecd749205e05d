"""The thread between accounts and the export and erasure of personal data (tracking.privacy)."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from tracking import signals
from tracking.datasubject import DataSubject
from tracking.engine.redaction import is_inside
from users import privacy


@receiver(signals.data_asked, dispatch_uid="project.data_asked")
def gather(subject: DataSubject, **_: Any) -> dict[str, list[dict[str, Any]]]:
    if subject.network is None:
        return privacy.of_user(subject.pk)
    return privacy.at_addresses(lambda address: is_inside(address, subject.networks))


@receiver(signals.data_erased, dispatch_uid="project.data_erased")
def forget(subject: DataSubject, dry_run: bool, **_: Any) -> privacy.Lines:
    if subject.network is None:
        return privacy.forget_user(subject.pk, dry_run=dry_run)
    return privacy.forget_addresses(
        lambda address: is_inside(address, subject.networks), dry_run=dry_run
    )
