"""How Django finds the GraphiQL page; the roles are made when all permissions are there."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SchemaConfig(AppConfig):
    name = "schema"

    def ready(self) -> None:
        from schema.permissions import make_roles  # noqa: PLC0415 - models are ready only now

        # Permissions are made after each app's migration, in the order of INSTALLED_APPS; ours
        # is not the last, so the last one's signal is the one to wait for.
        post_migrate.connect(make_roles, dispatch_uid="schema.roles")
