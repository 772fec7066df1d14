"""Settings for the tests: the same file as everywhere, told that it is tested.

``DATABASE_URL`` and ``BROKER_URL`` of the shell are used when they are set; otherwise tests/conftest.py starts private
servers on first use. What is set below keeps a test away from the servers and files of a demo in the same checkout.
"""

import os
import tempfile
from pathlib import Path

# Removed at the end of the run; that of a killed run is removed by the next (tests/conftest.py).
FILES = Path(tempfile.gettempdir()) / f"canopy-test-{os.getpid()}-files"
NO_DATABASE = "postgresql:///started-by-conftest"
NO_BROKER = "redis+socket:///started-by-conftest"

os.environ["CANOPY_TESTING"] = "1"
os.environ["DEMO"] = "0"
os.environ["EXPORT_DIR"] = str(FILES / "exports")
os.environ["AUDIT_ANCHOR_FILE"] = str(FILES / "audit-anchors.jsonl")
# Compared rather than looked for: the processes of a parallel run inherit the placeholders of their parent.
OWN_DATABASE = os.environ.setdefault("DATABASE_URL", NO_DATABASE) == NO_DATABASE
OWN_BROKER = os.environ.setdefault("BROKER_URL", NO_BROKER) == NO_BROKER
os.environ.setdefault("SECRET_KEY", "only-for-tests")

from config.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["tests.hashers.QuickArgon2"]
