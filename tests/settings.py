"""Settings for the tests: the same file as everywhere, told that it is tested.

``DATABASE_URL`` and ``BROKER_URL`` of the shell are used when they are set; otherwise tests/conftest.py starts private
servers on first use. The placeholders below keep a test away from the servers of a demo in the same checkout.
"""

import os

os.environ["CANOPY_TESTING"] = "1"
OWN_DATABASE = "DATABASE_URL" not in os.environ
OWN_BROKER = "BROKER_URL" not in os.environ
os.environ.setdefault("DATABASE_URL", "postgresql:///started-by-conftest")
os.environ.setdefault("BROKER_URL", "redis+socket:///started-by-conftest")
os.environ.setdefault("SECRET_KEY", "only-for-tests")

from config.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["tests.hashers.QuickArgon2"]
