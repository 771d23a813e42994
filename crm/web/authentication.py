"""Authenticators: of `crm serve` (tokens), and of `crm dev` (the local admin, on loopback only)."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from crm.access.tokens import Tokens
from crm.core import errors
from crm.core.identity import Viewer

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_BEARER: Final = b"bearer "


class TokenAuthenticator:
    """Identifies users by bearer tokens; a request without one is refused."""

    def __init__(self, tokens: Tokens, origins: frozenset[str]) -> None:
        self._tokens = tokens
        self._origins = origins

    async def viewer(self, headers: Mapping[bytes, bytes]) -> Viewer:
        """The user of the request's token."""
        header = headers.get(b"authorization")
        if header is None:
            return self.without_token()
        if header[:7].lower() != _BEARER:
            raise errors.Unauthenticated
        try:
            token = header[7:].decode("ascii").strip()
        except UnicodeDecodeError:
            raise errors.Unauthenticated from None
        return await self._tokens.viewer(token)

    def without_token(self) -> Viewer:
        """The viewer of a request without a token: none."""
        raise errors.Unauthenticated

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a page of another origin that is not on the list."""
        origin = headers.get(b"origin")
        if origin is None:
            return
        page, host = origin.decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
        if page in self._origins or (host and _place(page) == host):
            return
        message = f"Pages of {page[:100]} may not use this API; CRM_CORS_ORIGINS lists those that may."
        raise errors.Forbidden(message)


class LocalAuthenticator(TokenAuthenticator):
    """Identifies requests without a token as the local admin; they must come from this machine, to a name of it.

    A page elsewhere can make a browser call 127.0.0.1 (DNS rebinding, WebSockets); Host and Origin show that.
    """

    def __init__(self, tokens: Tokens, origins: frozenset[str], admin: Viewer) -> None:
        super().__init__(tokens, origins)
        self._admin = admin

    def without_token(self) -> Viewer:
        """The viewer of a request without a token: the local admin."""
        return self._admin

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse requests to a name that is not this machine's, and pages of other sites."""
        host = headers.get(b"host", b"").decode("latin-1")
        if _name(host) not in _LOOPBACK:
            message = f"This development server answers on localhost only, not as {host[:100]!r}."
            raise errors.Forbidden(message)
        if headers.get(b"sec-fetch-site") == b"cross-site" and b"origin" not in headers:
            message = "Another site's page made this request."
            raise errors.Forbidden(message)
        super().check_origin(headers)


def _place(origin: str) -> str:
    """Host and port of an origin; empty if it has none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()
