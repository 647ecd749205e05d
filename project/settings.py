"""The service's settings, and the only reader of its environment.

.env_template lists every variable with its meaning. A value that cannot be used ends the start
with one sentence that names the variable.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from environs import Env, EnvError, validate
from huey.serializer import SignedSerializer

os.umask(0o077)  # databases, journals and keys are for this user alone

BASE_DIR = Path(__file__).resolve().parent.parent
LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"]
SHORTEST_KEY = 50


def refuse(sentence: str) -> None:
    """End the start with a sentence instead of a traceback."""
    sys.exit(f"error: {sentence}")


def private_folder(path: Path) -> Path:
    """Return `path` as an existing folder that only its owner can read (0700)."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, "no permission to write")
    except OSError as error:
        refuse(
            f"STATE_DIR={path} cannot be used: {error.strerror}. Name a folder this user can write."
        )
    return path


def development_key(path: Path, debug: bool) -> str:
    """Return the key that set-up made for this machine; in production a key must be given."""
    if not debug:
        refuse(
            "SECRET_KEY is not set, and with DEBUG off the service does not invent one. Set it to at"
            f" least {SHORTEST_KEY} random characters, or set DEBUG=true on your own machine."
        )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(os.urandom(48).hex())
    return path.read_text().strip()


def huey_storage(url: str, secret: str, state_dir: Path) -> dict[str, Any]:
    """Return djhuey's settings for HUEY_URL: sqlite:, redis: or postgres:."""
    common: dict[str, Any] = {
        "name": "tracking",
        "immediate": False,
        "results": False,
        # Whoever can write the queue could otherwise run code here: messages are pickles.
        "serializer": SignedSerializer(secret=secret, salt="huey"),
        "consumer": {"workers": 2, "periodic": True},
    }
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        file = urlsplit(url).path or str(state_dir / "huey.sqlite3")
        return common | {"huey_class": "huey.SqliteHuey", "connection": {"filename": file}}
    if scheme in {"redis", "rediss", "unix"}:
        return common | {"huey_class": "huey.PriorityRedisHuey", "connection": {"url": url}}
    if scheme in {"postgres", "postgresql"}:
        return common | {"huey_class": "huey.PostgresHuey", "connection": {"dsn": url}}
    refuse(f"HUEY_URL={url!r} is not of the form sqlite:, redis://… or postgres://…")
    raise AssertionError


env = Env()
env.read_env(BASE_DIR / ".env", recurse=False)
try:
    DEBUG = env.bool("DEBUG", False)
    STATE_DIR = private_folder(env.path("STATE_DIR", BASE_DIR / "var").absolute())
    SECRET_KEY = env.str("SECRET_KEY", "") or development_key(STATE_DIR / "secret-key", DEBUG)
    HOST = env.str("HOST", "127.0.0.1")
    PORT = env.int("PORT", 8000, validate=validate.Range(1, 65535))
    WEB_WORKERS = env.int("WEB_WORKERS", 1, validate=validate.Range(1, 256))
    WEB_THREADS = env.int("WEB_THREADS", 8, validate=validate.Range(1, 256))
    ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", LOOPBACK_NAMES)
    CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
    TIME_ZONE = env.str("TIME_ZONE", "UTC")
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", False)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 0, validate=validate.Range(0))
    GRAPHIQL = env.bool("GRAPHIQL", DEBUG)
    database_url = env.str("DATABASE_URL", "") or f"sqlite:///{STATE_DIR / 'db.sqlite3'}"
    HUEY = huey_storage(env.str("HUEY_URL", "") or "sqlite:", SECRET_KEY, STATE_DIR)
    SUPERUSER = {
        "username": env.str("DJANGO_SUPERUSER_USERNAME", "admin"),
        "password": env.str("DJANGO_SUPERUSER_PASSWORD", ""),
        "email": env.str("DJANGO_SUPERUSER_EMAIL", ""),
    }
    TRACKING_STATE_DIR = STATE_DIR
    TRACKING_TRUSTED_PROXIES: list[str] = env.list("TRUSTED_PROXIES", [])
    TRACKING_TRUSTED_PROXY_HEADER = env.str("TRUSTED_PROXY_HEADER", "X-Forwarded-For")
    TRACKING_GEOIP_PATH = env.path("GEOIP_PATH", STATE_DIR / "geoip")
    TRACKING_LOG_RETENTION_DAYS = env.int(
        "LOG_RETENTION_DAYS", 30, validate=validate.Range(0, 36500)
    )
    TRACKING_LOG_QUERY_STRING = env.bool("LOG_QUERY_STRING", False)
except EnvError as error:
    refuse(str(error))

if not DEBUG and (len(SECRET_KEY) < SHORTEST_KEY or SECRET_KEY.startswith("django-insecure-")):
    refuse(
        f"SECRET_KEY must be {SHORTEST_KEY} or more random characters of your own when DEBUG is off."
    )
if not DEBUG and "*" in ALLOWED_HOSTS:
    refuse(
        "ALLOWED_HOSTS may not hold * when DEBUG is off: name the hosts this service answers for."
    )

try:
    DATABASES: dict[str, Any] = {"default": dj_database_url.parse(database_url, conn_max_age=600)}
except ValueError:
    refuse("DATABASE_URL is not of the form sqlite:///path or postgres://user:password@host/name.")
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

INSTALLED_APPS = [
    "project",
    "schema",
    "users",
    "tracking",
    "huey.contrib.djhuey",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "tracking.middleware.VisitMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
USE_TZ = True

AUTH_USER_MODEL = "users.User"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

STATIC_URL = "static/"
STATIC_ROOT = STATE_DIR / "static"
STATICFILES_DIRS = (
    [BASE_DIR / "node_modules" / ".served"]
    if (BASE_DIR / "node_modules" / ".served").is_dir()
    else []
)
WHITENOISE_USE_FINDERS = DEBUG

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
