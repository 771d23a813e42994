"""Where PostgreSQL is: one host or several (`postgresql://h1:5432,h2:5432/crm`), and how long each may take to answer.

A host that is down refuses at once. A frozen one accepts and says nothing: without a limit of its own it takes all the
time there is for connecting, and the next host is never tried.
"""

from itertools import zip_longest
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Engine, create_engine, pool

_SHORTEST: Final = 2  # libpq takes no less
_PLACE: Final = ("host", "hostaddr", "port")
# Who is cut off without a goodbye (a cable, a firewall) is noticed in seconds. The URL's own values win.
_NOTICE: Final = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

Host = dict[str, str]


class PostgresAddress:
    """What to tell libpq; of several hosts, the one that answered last is asked first."""

    def __init__(self, url: str, *, timeout: float = 5, writes: bool = True) -> None:
        self._given = _parsed(url)
        self.hosts = _hosts(self._given)
        self._timeout = timeout
        several = len(self.hosts) > 1
        each = max(_SHORTEST, round(timeout / (len(self.hosts) + 1) if several else timeout))
        # Of several hosts, writes want the primary; who wants something else says so in the URL.
        wanted = {"target_session_attrs": "read-write"} if several and writes else {}
        self._given = {**_NOTICE, "connect_timeout": each, **wanted, **self._given}

    @property
    def seconds(self) -> float:
        """How long connecting may take, all hosts together."""
        if len(self.hosts) == 1:
            return self._timeout
        return max(self._timeout, float(self._given["connect_timeout"]) * len(self.hosts) + 1)

    @property
    def conninfo(self) -> str:
        """What libpq and psycopg take."""
        place = {
            name: ",".join(host.get(name, "") for host in self.hosts)
            for name in _PLACE
            if any(host.get(name) for host in self.hosts)
        }
        return make_conninfo(**{name: value for name, value in self._given.items() if name not in _PLACE}, **place)

    def answered(self, host: str, port: int) -> None:
        """Ask this host first from now on."""
        if len(self.hosts) > 1:
            self.hosts.sort(key=lambda one: (one.get("host"), one.get("port") or str(port)) != (host, str(port)))

    def skip(self) -> None:
        """Ask the first host last from now on."""
        self.hosts.append(self.hosts.pop(0))


def conninfo(url: str, *, timeout: float = 10) -> str:
    """The primary, for those who connect by psycopg themselves."""
    return PostgresAddress(url, timeout=timeout).conninfo


def sqlalchemy_engine(url: str) -> Engine:
    """An engine for migrations. SQLAlchemy's own URLs know no second host: psycopg reads ours."""
    told = conninfo(url)

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(told)

    return create_engine("postgresql+psycopg://", creator=connect, poolclass=pool.NullPool)


def _parsed(url: str) -> dict[str, Any]:
    for scheme in ("postgresql+psycopg://", "postgres://"):
        if url.startswith(scheme):
            url = "postgresql://" + url.removeprefix(scheme)
    return dict(conninfo_to_dict(url))


def _hosts(given: dict[str, Any]) -> list[Host]:
    """The places, in order. One port stands for all hosts, as with libpq."""
    lists = {name: str(given[name]).split(",") for name in _PLACE if given.get(name)}
    if "port" in lists and len(lists["port"]) == 1:
        count = max(len(values) for values in lists.values())
        lists["port"] *= count
    rows = zip_longest(*lists.values(), fillvalue="")
    return [dict(zip(lists, row, strict=True)) for row in rows] or [{}]
