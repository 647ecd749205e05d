"""The service's settings, and the only reader of its environment.

.env_template lists every variable with its meaning. A value that cannot be used ends the start
with one sentence that names the variable.
"""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from environs import Env, EnvValidationError, validate

from project.environment import (
    BASE_DIR,
    SHORTEST_KEY,
    by_detector,
    content,
    detector_changes,
    development_key,
    event_types,
    frontends,
    hosts,
    lifetime,
    limit_changes,
    mailboxes,
    networks,
    origins,
    private_folder,
    rates,
    redis_url,
    refuse,
    signing_keys,
    span,
    token,
    token_keys,
    webhooks,
    words,
    zone,
)
from project.stores import database, huey_storage
from tracking.engine.endpoints import read_endpoints

os.umask(0o077)  # databases, journals and keys are for this user alone

LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "::1"]
LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"]
COUNT = validate.Range(1, 256)

env = Env()
env.add_parser("span", span)
env.add_parser("lifetime", lifetime)
env.add_parser("words", words)
env.add_parser("rates", rates)
env.add_parser("token", token)
ENV_FILE = BASE_DIR / (env.str("ENV_FILE", "") or ".env")
if env.str("ENV_FILE", "") and not ENV_FILE.exists():
    refuse(f"ENV_FILE={ENV_FILE} does not exist: name a file such as .env, or none.")
env.read_env(ENV_FILE, recurse=False)
try:
    HOST = env.str("HOST", "") or "127.0.0.1"
    PORT = env.int("PORT", 8000, validate=validate.Range(1, 65535))
    WEB_WORKERS = env.int("WEB_WORKERS", 1, validate=COUNT)
    WEB_THREADS = env.int("WEB_THREADS", 8, validate=COUNT)
    # `make run` sets LOCAL_RUN: nobody else can reach a service that listens on loopback.
    DEBUG = env.bool("DEBUG", env.bool("LOCAL_RUN", False) and HOST in LOOPBACK_HOSTS)
    STATE_DIR = private_folder(BASE_DIR / Path(env.str("STATE_DIR", "") or "var").expanduser())
    SECRET_KEY = env.str("SECRET_KEY", "") or development_key(STATE_DIR / "secret-key", DEBUG)
    ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "", check=hosts) or LOOPBACK_NAMES
    JWT_KEYS_FILE = STATE_DIR / "jwt-keys"
    JWT_SIGNING_KEYS = env.words("JWT_SIGNING_KEYS", "", check=signing_keys)
    JWT_ALGORITHM = env.str("JWT_ALGORITHM", "HS256", validate=validate.OneOf(["HS256", "EdDSA"]))
    JWT_ACCESS_TTL = env.span("JWT_ACCESS_TTL", "10m", longest="15m")
    JWT_REFRESH_TTL = env.span("JWT_REFRESH_TTL", "14d", longest="90d")
    SIGNUP_OPEN = env.str("SIGNUP", "open", validate=validate.OneOf(["open", "closed"])) == "open"
    CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", "", check=origins)
    CORS_ALLOWED_ORIGINS = env.words("CORS_ALLOWED_ORIGINS", "", check=frontends)
    TIME_ZONE = env.str("TIME_ZONE", "UTC", validate=zone)
    SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", False)
    SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", 0, validate=validate.Range(0))
    GRAPHIQL = env.bool("GRAPHIQL", DEBUG)
    METRICS_TOKEN = env.token("METRICS_TOKEN", "")
    LOG_FORMAT = env.str("LOG_FORMAT", "text", validate=validate.OneOf(["text", "json"]))
    DATABASES = {
        "default": database(
            env.str("DATABASE_URL", "") or f"sqlite:///{quote(str(STATE_DIR / 'db.sqlite3'))}"
        )
    }
    HUEY = huey_storage(env.str("HUEY_URL", "") or "sqlite:", SECRET_KEY, STATE_DIR)
    SUPERUSER = {
        "username": env.str("DJANGO_SUPERUSER_USERNAME", "") or "admin",
        "password": env.str("DJANGO_SUPERUSER_PASSWORD", ""),
        "email": env.str("DJANGO_SUPERUSER_EMAIL", ""),
    }
    TRACKING_GEOIP_ACCOUNTS = {
        "maxmind_account": env.str("GEOIPUPDATE_ACCOUNT_ID", ""),
        "maxmind_key": env.str("GEOIPUPDATE_LICENSE_KEY", "")
        or content(env.str("GEOIPUPDATE_LICENSE_KEY_FILE", "")),
        "maxmind_editions": env.str("GEOIPUPDATE_EDITION_IDS", ""),
        "maxmind_host": env.str("GEOIPUPDATE_HOST", ""),
        "ipinfo_token": env.str("IPINFO_TOKEN", ""),
    }
    TRACKING_STATE_DIR = STATE_DIR
    TRACKING_TRUSTED_PROXIES = env.words("TRUSTED_PROXIES", "", check=networks)
    TRACKING_TRUSTED_PROXY_HEADER = env.str(
        "TRUSTED_PROXY_HEADER",
        "X-Forwarded-For",
        validate=validate.Regexp("[A-Za-z][A-Za-z0-9-]*$", error="not the name of a header"),
    )
    TRACKING_GEOIP_PATH = BASE_DIR / (env.str("GEOIP_PATH", "") or STATE_DIR / "geoip")
    TRACKING_CACHE_TTL_PLACES = env.lifetime("CACHE_TTL_PLACES", "1h", longest="24h")
    TRACKING_CACHE_TTL_STATISTICS = env.lifetime("CACHE_TTL_STATISTICS", "10s", longest="1h")
    TRACKING_BACKGROUND_THREAD = env.bool("BACKGROUND_THREAD", True)
    TRACKING_TRUSTED_UNIX_SOCKET = env.bool("TRUSTED_UNIX_SOCKET", False)
    TRACKING_LOG_RETENTION_DAYS = env.int(
        "LOG_RETENTION_DAYS", 30, validate=validate.Range(0, 36500)
    )
    TRACKING_LOG_MAX_ROWS = env.int("LOG_MAX_ROWS", 0, validate=validate.Range(0, 10**12))
    TRACKING_LOG_QUERY_STRING = env.bool("LOG_QUERY_STRING", False)
    TRACKING_IP_STORAGE = env.str(
        "IP_STORAGE", "full", validate=validate.OneOf(["full", "truncated", "hashed"])
    )
    TRACKING_ANONYMIZE_DAYS = env.int("ANONYMIZE_DAYS", 0, validate=validate.Range(0, 36500))
    TRACKING_ENFORCEMENT = env.str(
        "ENFORCEMENT", "enforce", validate=validate.OneOf(["enforce", "observe"])
    )
    TRACKING_UNKNOWN_COUNTRY = env.str(
        "UNKNOWN_COUNTRY", "exempt", validate=validate.OneOf(["exempt", "any"])
    )
    TRACKING_SIGNATURES = env.bool("SIGNATURES", True)
    TRACKING_DETECTORS = by_detector(env.words("DETECTORS", "", check=detector_changes))
    TRACKING_REDIS_URL = env.str("REDIS_URL", "", validate=redis_url)
    TRACKING_LIMITS = limit_changes(env)
    TRACKING_ALERT_EMAILS = env.words("ALERT_EMAILS", "", check=mailboxes)
    TRACKING_ALERT_WEBHOOKS = read_endpoints(env.words("ALERT_WEBHOOKS", "", check=webhooks))
    TRACKING_ALERT_INTERVAL = env.span("ALERT_INTERVAL", "15m", longest="7d")
    TRACKING_ALERT_MUTE = env.words("ALERT_MUTE", "", check=event_types)
    TRACKING_ALERT_NETWORKS = env.words(
        "ALERT_NETWORKS", "127.0.0.0/8,::1" if DEBUG else "", check=networks
    )
    EMAIL_HOST = env.str("EMAIL_HOST", "") or "localhost"
    EMAIL_PORT = env.int("EMAIL_PORT", 25, validate=validate.Range(1, 65535))
    EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", "")
    EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", "")
    EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", False)
    EMAIL_USE_SSL = env.bool("EMAIL_USE_SSL", False)
    DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DEFAULT_FROM_EMAIL", "") or "security@localhost"
except EnvValidationError as error:
    name = str(error).split('"')[1]
    reasons = " ".join(str(message).rstrip(".") for message in error.error_messages)
    refuse(f"{name} cannot be used: {reasons}.")

if not DEBUG and (
    len(set(SECRET_KEY)) < 5
    or len(SECRET_KEY) < SHORTEST_KEY
    or SECRET_KEY.startswith("django-insecure-")
):
    refuse(
        f"SECRET_KEY must be {SHORTEST_KEY} or more random characters of your own with DEBUG off."
    )
if EMAIL_USE_TLS and EMAIL_USE_SSL:
    refuse("EMAIL_USE_TLS and EMAIL_USE_SSL exclude each other: take TLS on port 587, SSL on 465.")
if not DEBUG and "*" in ALLOWED_HOSTS:
    refuse(
        "ALLOWED_HOSTS may not hold * when DEBUG is off: name the hosts this service answers for."
    )

if not JWT_SIGNING_KEYS:
    token_keys(JWT_KEYS_FILE, DEBUG)

INSTALLED_APPS = [
    "project",
    "schema",
    "users",
    "tracking",
    "huey.contrib.djhuey",
    "corsheaders",
    "strawberry_django",  # the command export_schema
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "project.health.HealthMiddleware",
    "project.metrics.MetricsMiddleware",
    "project.cors.RefusalCorsMiddleware",
    "tracking.middleware.VisitMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "users.middleware.BearerMiddleware",
    "tracking.middleware.LimitMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if find_spec("prometheus_client") is None:
    MIDDLEWARE.remove("project.metrics.MetricsMiddleware")
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
AUTHENTICATION_BACKENDS = [
    "tracking.backends.AttemptLimitBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": name}
    for name in (
        "django.contrib.auth.password_validation.MinimumLengthValidator",
        "users.passwords.MaximumLengthValidator",
        "django.contrib.auth.password_validation.CommonPasswordValidator",
        "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
    )
]
LOGIN_URL = "admin:login"
GRAPHQL_JWT = {
    "JWT_PAYLOAD_HANDLER": "users.tokens.no_payload",
    "JWT_ENCODE_HANDLER": "users.tokens.encode",
    "JWT_DECODE_HANDLER": "users.tokens.decode",
}

# Front ends of other origins send a bearer token; a browser never sends them our cookies.
CORS_URLS_REGEX = r"^/(graphql|api)/"
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_METHODS = ["GET", "POST"]
CORS_ALLOW_HEADERS = ["accept", "authorization", "content-type", "x-requested-with"]
CORS_EXPOSE_HEADERS = ["Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID"]

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
# Safe because the guard takes this header away unless a trusted proxy sent it.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
EMAIL_TIMEOUT = 15  # seconds; the worker that sends has other work too
EMAIL_SUBJECT_PREFIX = "[security] "
# Whether all subdomains speak HTTPS, and for how long, is for their owner to say, not for us.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / (env.str("STATIC_ROOT", "") or private_folder(STATE_DIR / "static"))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "json": {"()": "project.logs.JsonFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # Without an entry here both would print each line twice, by a handler of their own.
        "django": {"handlers": [], "level": "INFO"},
        "gunicorn.error": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # Views answer HEAD as they answer GET, and gunicorn would tell of each body it drops.
        "gunicorn.http.wsgi": {"level": "ERROR"},
        # Anybody can ask for a host that is not ours; it is on record as 400, without a traceback.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "huey": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}
logging.captureWarnings(LOG_FORMAT == "json")  # else they would write lines of their own
