"""Find out whether alerts arrive."""

from __future__ import annotations

from smtplib import SMTPException
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tracking import alerts, conf, digest
from tracking.engine.endpoints import Endpoint
from tracking.engine.text import printable


class Command(BaseCommand):
    help = (
        "Send a test to every webhook and mailbox of the settings, at once, and show what each"
        " answers. A webhook that answered 410 before, and takes this, is told of alerts again."
    )

    def handle(self, **_: Any) -> None:
        configuration = conf.current()
        if not configuration.alert_webhooks and not configuration.alert_emails:
            raise CommandError(
                "Nobody is told of alerts: set TRACKING_ALERT_WEBHOOKS or TRACKING_ALERT_EMAILS"
                " (in the service ALERT_WEBHOOKS, ALERT_EMAILS)."
            )
        went_well = [self._ask(endpoint) for endpoint in configuration.alert_webhooks]
        if configuration.alert_emails:
            went_well.append(self._mail())
        if not all(went_well):
            raise CommandError("Not everybody could be told.")

    def _ask(self, endpoint: Endpoint) -> bool:
        answer = alerts.try_out(endpoint, timezone.now())
        self.stdout.write(f"{endpoint.name}: {answer.text}")
        return answer.is_success

    def _mail(self) -> bool:
        names = ", ".join(conf.current().alert_emails)
        try:
            digest.mail("test of alerts", "This is a test: nothing has happened.\n")
        except (OSError, SMTPException, ValueError) as error:
            self.stdout.write(printable(f"{names}: {type(error).__name__}: {error}", 300))
            return False
        self.stdout.write(f"{names}: the mail server has taken it")
        return True
