"""A project as startproject makes it, and what `tracking` adds."""

import os
from pathlib import Path

BASE_DIR = Path(os.environ["SHOP_DIR"])  # an empty folder for each test

SECRET_KEY = "only-for-tests-" + "0123456789" * 5
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES: list[dict[str, object]] = []
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL;", "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# What `tracking` adds.
INSTALLED_APPS += ["tracking"]
MIDDLEWARE = [
    "tracking.middleware.VisitMiddleware",
    *MIDDLEWARE,
    "tracking.middleware.LimitMiddleware",
]
AUTHENTICATION_BACKENDS = [
    "tracking.backends.AttemptLimitBackend",
    "django.contrib.auth.backends.ModelBackend",
]
TRACKING_STATE_DIR = BASE_DIR / "tracking"
TRACKING_TRUSTED_PROXIES = ["127.0.0.1"]
TRACKING_LIMITS = {"orders": "2/h", "graphql": "5/h", "login_address": "5/h"}
