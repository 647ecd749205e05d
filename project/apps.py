"""How Django finds the service's own commands."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "project"
