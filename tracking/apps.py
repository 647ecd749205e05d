"""How Django finds the record."""

from django.apps import AppConfig


class TrackingConfig(AppConfig):
    name = "tracking"
    verbose_name = "Security record"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tracking import alerts, checks, receivers  # noqa: F401, PLC0415 - Django is ready only now
