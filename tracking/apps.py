"""How Django finds the record."""

from django.apps import AppConfig


class TrackingConfig(AppConfig):
    name = "tracking"
    verbose_name = "Security record"
    default_auto_field = "django.db.models.BigAutoField"
