"""Settings: one file for the demo, the tests and production. The environment decides what differs.

Every secret may also come from a file: ``SECRET_KEY_FILE=/run/secrets/key`` is read where ``SECRET_KEY`` is not set.
"""

import tomllib
from datetime import timedelta
from pathlib import Path

from csp.constants import NONE, SELF
from environs import FileAwareEnv

BASE_DIR = Path(__file__).resolve().parent.parent
RUN_DIR = BASE_DIR / ".run"

env = FileAwareEnv()
env.read_env(str(RUN_DIR / "env"), recurse=False)

DEBUG = env.bool("DEBUG", False)
DEMO = env.bool("DEMO", False)
TESTING = env.bool("CANOPY_TESTING", False)

VERSION = tomllib.loads((BASE_DIR / "pyproject.toml").read_text())["project"]["version"]

SECRET_KEY = env.str("SECRET_KEY", "only-for-tests" if TESTING else "")
if not SECRET_KEY:
    raise SystemExit("SECRET_KEY is not set. `make demo` makes one; in production give SECRET_KEY or SECRET_KEY_FILE.")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]", "testserver"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])

# Synthetic dosing tables compute doses only where this is set, and never for a trial of real participants.
ALLOW_SYNTHETIC_DOSING = env.bool("ALLOW_SYNTHETIC_DOSING", DEMO or TESTING)

INSTALLED_APPS = [
    "audit",
    "accounts",
    "trials",
    "casebook",
    "dosing",
    "adverse_events",
    "analysis",
    "exchange",
    "config",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "axes",
    "csp",
    "django_filters",
    "django_htmx",
    "template_partials",
    "rest_framework",
    "drf_spectacular",
]

MIDDLEWARE = [
    "config.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "accounts.middleware.SessionLimitMiddleware",
    "accounts.middleware.RequiredStepsMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.middleware.MembershipMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context.account",
                "config.context.canopy",
            ],
        },
    },
]

DATABASES = {
    "default": env.dj_db_url("DATABASE_URL", "postgresql:///canopy"),
}
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Accounts -----------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "account_login"

ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.forms.LoginForm",
    "reauthenticate": "accounts.forms.ReauthenticateForm",
    "change_password": "accounts.forms.ChangePasswordForm",
    "reset_password": "accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "accounts.forms.ResetPasswordKeyForm",
    "add_email": "accounts.forms.AddEmailForm",
}
MFA_FORMS = {"authenticate": "accounts.forms.SecondFactorForm"}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # addresses are entered by the trial manager, not by visitors
ACCOUNT_LOGOUT_REDIRECT_URL = LOGOUT_REDIRECT_URL
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_RATE_LIMITS = {"login_failed": False}  # django-axes counts failures: one lock, one message
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "http" if DEMO or DEBUG or TESTING else "https"
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", 0)
# A reset token is single-use: it is signed over the password hash and the last login.
PASSWORD_RESET_TIMEOUT = 3600
PASSWORD_MAX_AGE = timedelta(days=days) if (days := env.int("PASSWORD_MAX_AGE_DAYS", 0)) else None

MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Canopy"
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEMO or DEBUG or TESTING  # http://localhost has no certificate
# Who must have a second factor: "nobody" (each person's choice), "administrators" or "everyone".
SECOND_FACTOR_REQUIRED_FOR = env.str("SECOND_FACTOR_REQUIRED_FOR", "administrators")
if SECOND_FACTOR_REQUIRED_FOR not in ("nobody", "administrators", "everyone"):
    raise SystemExit("SECOND_FACTOR_REQUIRED_FOR must be nobody, administrators or everyone.")

# The same lock for a name whether it exists or not, wherever the attempts come from.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = ["username"]
SILENCED_SYSTEM_CHECKS = [
    "axes.W006",  # by name alone is stricter: another address does not start a new count
    "security.W021",  # to be listed in browsers for ever is the decision of whoever owns the domain
]
AXES_USERNAME_FORM_FIELD = "login"
AXES_USERNAME_CALLABLE = "accounts.lockout.username_for_lockout"
AXES_LOCKOUT_CALLABLE = "accounts.lockout.lockout_response"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # the time that the page states stays true
AXES_ENABLE_ACCESS_FAILURE_LOG = True
AXES_VERBOSE = False

# One organisation's own login by OpenID Connect; accounts are matched by email address, never made by it.
if OIDC_SERVER_URL := env.str("OIDC_SERVER_URL", ""):
    INSTALLED_APPS += ["allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"]
    SOCIALACCOUNT_ADAPTER = "accounts.organisation_login.OrganisationLoginAdapter"
    # A link, not a form: the policy's form-action stops a form that is redirected to another host.
    SOCIALACCOUNT_LOGIN_ON_GET = True
    SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
    SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
    SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "APPS": [
                {
                    "provider_id": "organisation",
                    "name": env.str("OIDC_NAME", "your organisation"),
                    "client_id": env.str("OIDC_CLIENT_ID"),
                    "secret": env.str("OIDC_CLIENT_SECRET"),
                    "settings": {"server_url": OIDC_SERVER_URL},
                }
            ]
        }
    }

# The practice accounts of the demo share one password, printed on the login page while DEMO is on and never otherwise.
DEMO_PASSWORD = env.str("DEMO_PASSWORD", "practice makes perfect")

# --- Sessions and cookies -----------------------------------------------------------------------------------------

SESSION_IDLE_S = 30 * 60
SESSION_TOTAL_S = 12 * 60 * 60
SESSION_COOKIE_AGE = SESSION_TOTAL_S
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
HTTPS = env.bool("HTTPS", not (DEMO or DEBUG or TESTING))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if env.bool("TRUSTED_PROXY", False):  # a proxy in front ends TLS and sets this header itself
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = HTTPS
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# --- Security -----------------------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    },
}

# --- Language and time --------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
DATE_FORMAT = "d-M-Y"

# --- Files --------------------------------------------------------------------------------------------------------

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if TESTING or DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
EXPORT_DIR = Path(env.str("EXPORT_DIR", str(RUN_DIR / "exports")))
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

# --- API ----------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "config.schema.Schema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "PAGE_SIZE": 50,
    "EXCEPTION_HANDLER": "config.api.exception_handler",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Canopy",
    "DESCRIPTION": "Clinical trial data management for stem cell transplant trials.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "ENUM_NAME_OVERRIDES": {
        "AdverseEventOutcomeEnum": "adverse_events.domain.reporting.OUTCOMES",
        "DosingTableStatusEnum": "dosing.models.TABLE_STATUSES",
        "RunStateEnum": "analysis.models.RunState",
    },
}

# --- Queue --------------------------------------------------------------------------------------------------------

BROKER_URL = env.str("BROKER_URL", "redis://127.0.0.1:6379/0")
CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True  # what a task decides is a row of our own, never a broker's result
CELERY_TASK_TIME_LIMIT = 120
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The time limit stays under the visibility timeout, or a healthy worker's task is started twice.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 180,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "health_check_interval": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
}
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 60  # a process that starts its renderer on a busy machine is not a dead one
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "config.heartbeat:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_BEAT_SCHEDULE: dict[str, dict[str, object]] = {}

AUDIT_ANCHOR_FILE = Path(env.str("AUDIT_ANCHOR_FILE", str(RUN_DIR / "audit-anchors.jsonl")))
CELERY_BEAT_SCHEDULE["anchor the audit trail"] = {"task": "audit.tasks.anchor_heads", "schedule": 60.0}
CELERY_BEAT_SCHEDULE["compute the doses that were missed"] = {"task": "dosing.tasks.sweep", "schedule": 60.0}
CELERY_BEAT_SCHEDULE["adjudicate what was missed"] = {"task": "analysis.tasks.sweep", "schedule": 60.0}
CELERY_BEAT_SCHEDULE["run the analyses that were missed"] = {"task": "analysis.tasks.sweep_runs", "schedule": 60.0}
CELERY_BEAT_SCHEDULE["make the exports that were missed"] = {"task": "exchange.tasks.sweep", "schedule": 60.0}
