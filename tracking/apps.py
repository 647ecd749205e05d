"""How Django finds the record."""

from importlib import import_module

from django.apps import AppConfig, apps


class TrackingConfig(AppConfig):
    name = "tracking"
    verbose_name = "Security record"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from tracking import alerts, checks, receivers  # noqa: F401, PLC0415 - Django is ready only now

        if apps.is_installed("huey.contrib.djhuey"):
            import_module("tracking.tasks")  # whoever moves rows must be able to wake the worker
