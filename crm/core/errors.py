"""The one tree of errors. A docstring is the default message; `code` is what clients switch on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class CrmError(Exception):
    """Something went wrong here. It has been logged; please try again."""

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500

    def __init__(self, message: str | None = None, **details: object) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.details = details
        super().__init__(self.message)

    @property
    def extensions(self) -> dict[str, object]:
        """The error's `extensions` for clients: the code and the details, in camelCase already."""
        return {"code": self.code, **self.details}


@contextmanager
def within(place: str) -> Iterator[None]:
    """Prefix the `field` of errors raised in this context with a member of the input."""
    try:
        yield
    except CrmError as error:
        if "field" in error.details:
            error.details["field"] = f"{place}.{error.details['field']}"
        raise


class Internal(CrmError):
    """Something went wrong here. It has been logged; please try again."""


class BadUserInput(CrmError):
    """The input is not valid."""

    code = "BAD_USER_INPUT"
    status = 400


class NotFound(CrmError):
    """There is no such record."""

    code = "NOT_FOUND"
    status = 404


class Conflict(CrmError):
    """The record has changed since you read it."""

    code = "CONFLICT"
    status = 409


class Forbidden(CrmError):
    """Your role does not allow this."""

    code = "FORBIDDEN"
    status = 403


class Unauthenticated(CrmError):
    """Send a valid token: `Authorization: Bearer ...`."""

    code = "UNAUTHENTICATED"
    status = 401


class MethodNotAllowed(CrmError):
    """The address does not take this method."""

    code = "METHOD_NOT_ALLOWED"
    status = 405


class NotAcceptable(CrmError):
    """Accept application/json."""

    code = "NOT_ACCEPTABLE"
    status = 406


class UnsupportedMediaType(CrmError):
    """Send the request as `Content-Type: application/json`, in UTF-8."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class TooComplex(CrmError):
    """The operation asks for too much at once."""

    code = "TOO_COMPLEX"
    status = 400


class TooLarge(CrmError):
    """The request or its answer is too large."""

    code = "TOO_LARGE"
    status = 413


class PersistedQueryNotFound(CrmError):
    """PersistedQueryNotFound"""  # noqa: D400, D415  (Apollo's clients compare the message)

    code = "PERSISTED_QUERY_NOT_FOUND"
    status = 422


class PersistedQueryNotSupported(CrmError):
    """PersistedQueryNotSupported"""  # noqa: D400, D415

    code = "PERSISTED_QUERY_NOT_SUPPORTED"
    status = 422


class CursorExpired(CrmError):
    """The cursor is older than the events that are kept, or from another database."""

    code = "CURSOR_EXPIRED"
    status = 410


class RateLimited(CrmError):
    """Too many requests; try again later."""

    code = "RATE_LIMITED"
    status = 429


class Timeout(CrmError):
    """The request took too long and was cancelled."""

    code = "TIMEOUT"
    status = 504


class BodyTimeout(Timeout):
    """The request's body did not come in time."""

    status = 408


class Unavailable(CrmError):
    """The database cannot be reached right now; try again shortly."""

    code = "UNAVAILABLE"
    status = 503


class AiUnavailable(CrmError):
    """The AI provider cannot answer right now."""

    code = "AI_UNAVAILABLE"
    status = 503


class AiBudgetSpent(AiUnavailable):
    """Today's AI budget does not allow another question. It starts anew at midnight UTC: try again then."""


STATUSES = {
    error.code: error.status
    for error in (
        BadUserInput,
        NotFound,
        Conflict,
        Forbidden,
        Unauthenticated,
        MethodNotAllowed,
        NotAcceptable,
        UnsupportedMediaType,
        TooComplex,
        TooLarge,
        PersistedQueryNotFound,
        PersistedQueryNotSupported,
        CursorExpired,
        RateLimited,
        Timeout,
        Unavailable,
        AiUnavailable,
        Internal,
    )
}
CODES = tuple(STATUSES)
