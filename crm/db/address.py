"""PostgreSQL's address: one host or several (`postgresql://h1:5432,h2:5432/crm`), each with a time limit to answer.

A host that is down refuses at once. A frozen host accepts a connection and never answers: without a limit of its own it
uses up all the time for connecting, and the next host is never tried.
"""

from itertools import zip_longest
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import Engine, create_engine, pool

_SHORTEST: Final = 2  # libpq takes no less
_PLACE: Final = ("host", "hostaddr", "port")
# With these, a connection that is cut silently (a cable, a firewall) breaks within seconds. The URL's values win.
_NOTICE: Final = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}

Host = dict[str, str]


class PostgresAddress:
    """libpq's options for a URL; of several hosts, the one that answered last is tried first."""

    def __init__(self, url: str, *, timeout: float = 5, writes: bool = True) -> None:
        self._options = _parsed(url)
        self.hosts = _hosts(self._options)
        self._timeout = timeout
        several = len(self.hosts) > 1
        seconds_each = max(_SHORTEST, round(timeout / (len(self.hosts) + 1) if several else timeout))
        # Of several hosts, writes need the primary, unless the URL says otherwise.
        wanted = {"target_session_attrs": "read-write"} if several and writes else {}
        self._options = {**_NOTICE, "connect_timeout": seconds_each, **wanted, **self._options}

    @property
    def seconds(self) -> float:
        """The seconds that connecting may take, for all hosts together."""
        if len(self.hosts) == 1:
            return self._timeout
        return max(self._timeout, float(self._options["connect_timeout"]) * len(self.hosts) + 1)

    @property
    def conninfo(self) -> str:
        """The conninfo string for libpq and psycopg."""
        place = {
            name: ",".join(host.get(name, "") for host in self.hosts)
            for name in _PLACE
            if any(host.get(name) for host in self.hosts)
        }
        return make_conninfo(**{name: value for name, value in self._options.items() if name not in _PLACE}, **place)

    def answered(self, host: str, port: int) -> None:
        """Try this host first from now on."""
        if len(self.hosts) > 1:
            self.hosts.sort(key=lambda other: (other.get("host"), other.get("port") or str(port)) != (host, str(port)))

    def skip(self) -> None:
        """Try the first host last from now on."""
        self.hosts.append(self.hosts.pop(0))


def conninfo(url: str, *, timeout: float = 10) -> str:
    """The primary's conninfo, for code that connects by psycopg itself."""
    return PostgresAddress(url, timeout=timeout).conninfo


def sqlalchemy_engine(url: str) -> Engine:
    """An engine for migrations. SQLAlchemy's URLs have only one host, so psycopg makes the connection."""
    libpq_conninfo = conninfo(url)

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(libpq_conninfo)

    return create_engine("postgresql+psycopg://", creator=connect, poolclass=pool.NullPool)


def _parsed(url: str) -> dict[str, Any]:
    for scheme in ("postgresql+psycopg://", "postgres://"):
        if url.startswith(scheme):
            url = "postgresql://" + url.removeprefix(scheme)
    return dict(conninfo_to_dict(url))


def _hosts(options: dict[str, Any]) -> list[Host]:
    """The hosts, in order. A single port is for all hosts, as with libpq."""
    lists = {name: str(options[name]).split(",") for name in _PLACE if options.get(name)}
    if "port" in lists and len(lists["port"]) == 1:
        count = max(len(values) for values in lists.values())
        lists["port"] *= count
    rows = zip_longest(*lists.values(), fillvalue="")
    return [dict(zip(lists, row, strict=True)) for row in rows] or [{}]
