"""How Django finds the service's own commands and checks."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"

    def ready(self) -> None:
        from project import changes, checks, personaldata  # noqa: F401, PLC0415 - Django is ready for it only now
