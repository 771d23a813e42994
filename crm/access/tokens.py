"""Makes tokens, and finds the viewer of a token."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import jwt

from crm.access.revocation import token_id
from crm.core import errors
from crm.core.bounded import BoundedDict
from crm.core.identity import Role, Viewer
from crm.core.language import Phrase
from crm.db.database import Database
from crm.db.statement import Statement, encode

ISSUER: Final = "crm"
AUDIENCE: Final = "crm-api"
_RECHECK_SECONDS: Final = 5.0
_REMEMBERED: Final = 10_000
_END_OF_TIME: Final = 253_402_300_800.0  # the year 10,000
_USER: Final = Statement(
    """
    SELECT role, disabled_at IS NULL AS active, EXISTS (SELECT FROM revoked_tokens WHERE id = $2::uuid) AS revoked
    FROM users WHERE id = $1::uuid
    """
)
_EXPIRED: Final = Phrase("The token has expired; get a new one.", "Inloggningen har gått ut; logga in igen.")
_NO_USER: Final = Phrase("The token's user does not exist or is disabled.", "Användaren finns inte eller är avstängd.")
_REVOKED: Final = Phrase("The token was revoked; get a new one.", "Inloggningen är återkallad; logga in igen.")


class Tokens:
    """Finds the viewer of a token."""

    def __init__(self, secret: str, database: Database) -> None:
        self._secret = secret
        self._database = database
        self._known: BoundedDict[str, tuple[Viewer, float]] = BoundedDict(_REMEMBERED)
        self._looks: dict[str, asyncio.Task[Viewer]] = {}

    async def viewer(self, token: str) -> Viewer:
        """The viewer of a token. The signature is checked once; the user again every few seconds."""
        now = time.time()
        known = self._known.get(token)
        if known is not None:
            viewer, checked = known
            if now >= (viewer.expires_at or 0):
                del self._known[token]
                message = _EXPIRED
                raise errors.Unauthenticated(message)
            if now - checked < _RECHECK_SECONDS:
                return viewer
        return await asyncio.shield(self._looking_for(token))

    def _looking_for(self, token: str) -> asyncio.Task[Viewer]:
        """The look at a token's user: one for all requests that wait for it, which may be hundreds each few seconds."""
        look = self._looks.get(token)
        if look is None:
            claims = claims_of(token, self._secret)
            look = self._looks[token] = asyncio.create_task(self._look(token, claims))
            look.add_done_callback(lambda ended: self._over(token, ended))
        return look

    def _over(self, token: str, look: asyncio.Task[Viewer]) -> None:
        del self._looks[token]
        if not look.cancelled():
            look.exception()  # for asyncio it has been seen, even if nobody waits any more

    async def _look(self, token: str, claims: Mapping[str, Any]) -> Viewer:
        """Look at a token's user, and remember what the token grants."""
        began = time.time()
        user, role = claims["sub"], Role(claims["role"])
        result = await self._database.read(_USER, [encode(user), encode(claims["jti"])])
        if not result.ntuples or result.get_value(0, 1) != b"t":
            message = _NO_USER
            raise errors.Unauthenticated(message)
        if result.get_value(0, 2) == b"t":
            message = _REVOKED
            raise errors.Unauthenticated(message)
        granted = Role((result.get_value(0, 0) or b"").decode())
        viewer = Viewer(
            user, role if granted.includes(role) else granted, float(claims["exp"]), partial(self.viewer, token)
        )
        self._known[token] = (viewer, began)
        return viewer


def claims_of(token: str, secret: str) -> dict[str, Any]:
    """The claims of a token, if it is one of ours and still valid."""
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iat", "aud", "iss", "sub", "role"]},
        )
        _check_moment(claims["exp"])
        return {**claims, "sub": UUID(claims["sub"]), "role": Role(claims["role"]), "jti": token_id(token, claims)}
    except jwt.ExpiredSignatureError:
        message = _EXPIRED
        raise errors.Unauthenticated(message) from None
    except (jwt.InvalidTokenError, ValueError, TypeError):
        raise errors.Unauthenticated from None


def _check_moment(seconds: object) -> None:
    """Refuse a time of expiry that is no number, or after the year 9999."""
    if not isinstance(seconds, int | float) or not 0 < seconds < _END_OF_TIME:
        raise ValueError


def make_token(secret: str, user: UUID, role: Role, lifetime: timedelta) -> str:
    """Make a token for this user; it grants this role, or the user's own if that is less."""
    now = datetime.now(UTC)
    claims = {
        "sub": str(user),
        "role": role.value,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "jti": str(uuid4()),
        "iat": now,
        "exp": now + lifetime,
    }
    return jwt.encode(claims, secret, algorithm="HS256")
