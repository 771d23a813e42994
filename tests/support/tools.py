"""Programs that tests need besides Python's packages; `make tools` installs them.

Without its program a test fails, with the reason; with `CRM_TEST_WITHOUT_TOOLS=1` (`make test-fast`) it is skipped.
"""

import os
from pathlib import Path
from typing import Never

import pytest


def postgres_15() -> Path:
    """The folder of PostgreSQL 15's programs, for `throw_away_postgres(tools.postgres_15())`."""
    return _program("/usr/lib/postgresql/15/bin/initdb", "PostgreSQL 15", "postgresql-15").parent


def pgbouncer() -> Path:
    """The pooler PgBouncer; as root it takes `-u USER`."""
    return _program("/usr/sbin/pgbouncer", "PgBouncer", "pgbouncer")


def chromium() -> Path:
    """A browser; CHROMIUM names another one."""
    return _program(os.environ.get("CHROMIUM", "/usr/bin/chromium"), "Chromium", "chromium")


def _program(path: str, name: str, package: str) -> Path:
    if not os.access(path, os.X_OK):
        _missing(f"{name} is not at {path}: run `make tools` (Debian's package {package})")
    return Path(path)


def _missing(reason: str) -> Never:
    if os.environ.get("CRM_TEST_WITHOUT_TOOLS"):
        pytest.skip(reason)
    pytest.fail(reason, pytrace=False)
