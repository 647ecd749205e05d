"""The accounts of the service."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """An account: Django's own fields, in a model of ours so that it can grow."""
