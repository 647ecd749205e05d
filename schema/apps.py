"""How Django finds the GraphiQL page."""

from django.apps import AppConfig


class SchemaConfig(AppConfig):
    name = "schema"
