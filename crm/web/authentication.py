"""Who may come in: the gates of `crm serve` (tokens) and of `crm dev` (the local admin, on loopback only)."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from crm.access.tokens import Tokens
from crm.core import errors
from crm.core.identity import Viewer

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_BEARER: Final = b"bearer "


class TokenAuthenticator:
    """Everybody needs a token."""

    def __init__(self, tokens: Tokens, origins: frozenset[str]) -> None:
        self._tokens = tokens
        self._origins = origins

    async def viewer(self, headers: Mapping[bytes, bytes]) -> Viewer:
        """The token's user."""
        header = headers.get(b"authorization")
        if header is None:
            return self.stranger()
        if header[:7].lower() != _BEARER:
            raise errors.Unauthenticated
        try:
            token = header[7:].decode("ascii").strip()
        except UnicodeDecodeError:
            raise errors.Unauthenticated from None
        return await self._tokens.viewer(token)

    def stranger(self) -> Viewer:
        """Somebody without a token."""
        raise errors.Unauthenticated

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """A page of another origin must be on the list."""
        origin = headers.get(b"origin")
        if origin is None:
            return
        shown, host = origin.decode("latin-1"), headers.get(b"host", b"").decode("latin-1")
        if shown in self._origins or (host and _place(shown) == host):
            return
        message = f"Pages of {shown[:100]} may not use this API; CRM_CORS_ORIGINS lists those that may."
        raise errors.Forbidden(message)


class LocalAuthenticator(TokenAuthenticator):
    """A request without a token acts as the local admin; so it must come from this machine, to a name of it.

    A page elsewhere can make a browser call 127.0.0.1 (DNS rebinding, WebSockets): Host and Origin tell.
    """

    def __init__(self, tokens: Tokens, origins: frozenset[str], admin: Viewer) -> None:
        super().__init__(tokens, origins)
        self._admin = admin

    def stranger(self) -> Viewer:
        """The local admin."""
        return self._admin

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """The name that was called must be this machine's, and so must the page's."""
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
