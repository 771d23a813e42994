"""The one tree of errors. A docstring is the default message; the code is what clients switch on.

Messages that people see are in English and Swedish (`Phrase`, `swedish`); a plain text is for who writes programs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from crm.core.api_json import camel
from crm.core.choice import Choice
from crm.core.language import Language, Phrase
from crm.core.problems import MAX_PROBLEMS, FieldProblem, Problem


class ErrorCode(Choice):
    """What went wrong, for programs: `extensions.code`."""

    status: int
    heading: str

    def __new__(cls, value: str, words: str = "", status: int = 500, heading: str = "") -> Self:
        """Make a code with the HTTP status of what is refused with it, and REST's title."""
        member = str.__new__(cls, value)
        member._value_, member.words = value, words
        member.status, member.heading = status, heading
        return member

    BAD_USER_INPUT = (
        "bad_user_input",
        "The input or the document is not valid: `problems` has all mistakes.",
        400,
        "The input is not valid",
    )
    NOT_FOUND = "not_found", "There is no such record, or not any more.", 404, "Not found"
    CONFLICT = (
        "conflict",
        "In conflict with what is there: `conflict` says with what.",
        409,
        "In conflict with what is there",
    )
    FORBIDDEN = "forbidden", "The role does not allow it.", 403, "Not allowed"
    UNAUTHENTICATED = "unauthenticated", "No token, or not a valid one.", 401, "A valid token is needed"
    METHOD_NOT_ALLOWED = "method_not_allowed", "The address does not take this method.", 405, "No such method here"
    NOT_ACCEPTABLE = "not_acceptable", "The request accepts no answer that there is.", 406, "No answer that you accept"
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported_media_type",
        "The body is not said to be JSON, in UTF-8.",
        415,
        "The body must be JSON",
    )
    TOO_COMPLEX = (
        "too_complex",
        "The operation asks for too much at once: `what`, and its `limit`.",
        400,
        "Too much at once",
    )
    TOO_LARGE = "too_large", "The request or the answer has too many bytes, or too many rows.", 413, "Too large"
    PERSISTED_QUERY_NOT_FOUND = (
        "persisted_query_not_found",
        "No document is kept under this hash: send its text.",
        422,
        "No such document",
    )
    PERSISTED_QUERY_NOT_SUPPORTED = (
        "persisted_query_not_supported",
        "Documents are not kept: send their text.",
        422,
        "No documents are kept",
    )
    CURSOR_EXPIRED = "cursor_expired", "The cursor is too old, or of another database.", 410, "The cursor has expired"
    RATE_LIMITED = "rate_limited", "Too many requests.", 429, "Too many requests"
    TIMEOUT = "timeout", "It took too long.", 504, "It took too long"
    UNAVAILABLE = "unavailable", "The database cannot be reached, or there is no room.", 503, "Not available right now"
    AI_UNAVAILABLE = "ai_unavailable", "The AI provider does not answer.", 503, "The AI is not available right now"
    INTERNAL = "internal", "An error of the server's, which was logged.", 500, "An error of ours"


class CrmError(Exception):
    """Something went wrong here. It has been logged; please try again."""

    kind: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    # Those of its kind, unless a class says another status.
    code: ClassVar[str] = kind.name
    status: ClassVar[int] = kind.status
    # The default message in Swedish; of a class without it, the message is English.
    swedish: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Give a class with a kind of its own the code and the status of that."""
        if "kind" in vars(cls):
            cls.code, cls.status = cls.kind.name, cls.kind.status

    def __init__(
        self,
        message: str | Phrase | None = None,
        *,
        problem: FieldProblem | None = None,
        problems: Sequence[Problem] = (),
        **details: Any,
    ) -> None:
        self.phrase = message or self._default()
        self.details = details
        self.problems = list(problems[:MAX_PROBLEMS])
        if problem is not None:
            self.problems.append(self._only_problem(problem))
        super().__init__(self.phrase if isinstance(self.phrase, str) else self.phrase.text(Language.ENGLISH))

    def _default(self) -> str | Phrase:
        """The class's own message, in Swedish too if the class says it."""
        english = " ".join((type(self).__doc__ or "").split())
        return Phrase(english, self.swedish) if "swedish" in vars(type(self)) else english

    @property
    def message(self) -> str:
        """The message, in the language of the request."""
        return self.phrase if isinstance(self.phrase, str) else self.phrase.text()

    def _only_problem(self, reason: FieldProblem) -> Problem:
        """The mistake that an error about one field is about."""
        limit = self.details.get("limit")
        return Problem(
            str(self.details.get("field", "")), reason, self.phrase, limit if isinstance(limit, int) else None
        )

    @property
    def extensions(self) -> dict[str, object]:
        """The error's `extensions` for clients: the code and the details, in camelCase already."""
        extensions = {"code": self.code, **self.details}
        if self.problems:
            extensions["problems"] = [problem.rendered() for problem in self.problems]
        return extensions


@contextmanager
def within(place: str) -> Iterator[None]:
    """Prefix the fields of errors raised in this context with a member of the input."""
    try:
        yield
    except CrmError as error:
        if "field" in error.details:
            error.details["field"] = f"{place}.{error.details['field']}"
        error.problems = [problem.within(place) for problem in error.problems]
        raise


@contextmanager
def gathered(problems: list[Problem], place: str = "") -> Iterator[None]:
    """Add the mistakes of an input that is refused in this context to a list, rather than refuse it at the first."""
    try:
        yield
    except BadUserInput as error:
        problems += [problem.within(place) for problem in error.mistakes] if place else error.mistakes


@dataclass(frozen=True, slots=True)
class Warned:
    """An error that was got over, as the payload of a mutation shows it."""

    code: str
    message: str
    reason: str | None
    retry_after_seconds: float | None

    @classmethod
    def of(cls, error: CrmError) -> "Warned":
        """The warning about this error."""
        reason = error.details.get("reason")
        return cls(error.code, error.message, reason and str(reason), error.details.get("retryAfterSeconds"))


@dataclass(frozen=True, slots=True)
class ChangedField:
    """A field that two changed: what was asked for, and what somebody else made of it."""

    field: str
    yours: Any
    theirs: Any


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """An error's `extensions` as an object, for results that hold an error beside others' data."""

    code: str
    problems: Sequence[Problem] | None = None
    conflict: str | None = None
    field: str | None = None
    existing_id: str | None = None
    current_version: int | None = None
    changed: Sequence[ChangedField] | None = None
    changed_at: str | None = None
    changed_by_id: str | None = None
    changed_by_name: str | None = None
    status: str | None = None
    entity: str | None = None
    id: str | None = None
    known: Sequence[str] | None = None
    limit: int | None = None
    what: str | None = None
    cost: int | None = None
    reason: str | None = None
    retry_after_seconds: float | None = None
    outcome: str | None = None
    request_id: str | None = None

    @classmethod
    def of(cls, error: CrmError) -> "ErrorDetails":
        """The extensions of this error."""
        names = {camel(member.name): member.name for member in fields(cls)}
        about: dict[str, Any] = {names[name]: value for name, value in error.extensions.items() if name in names}
        return cls(**{**about, "problems": error.problems or None})


class Internal(CrmError):
    """Something went wrong here. It has been logged; please try again."""

    swedish = "Något gick fel hos oss. Det är antecknat; försök igen."


class BadUserInput(CrmError):
    """The input is not valid."""

    kind = ErrorCode.BAD_USER_INPUT
    swedish = "Uppgifterna är inte giltiga."

    @property
    def mistakes(self) -> list[Problem]:
        """The mistakes that it lists, or the one in its field."""
        return self.problems or [self._only_problem(FieldProblem.MALFORMED)]

    @classmethod
    def of(cls, problems: Sequence[Problem], **details: Any) -> "BadUserInput":
        """The error for all mistakes in an input: its message and field are those of the first."""
        first = problems[0]
        about = {"field": first.field, "limit": first.limit, "known": first.known and list(first.known), **details}
        return cls(
            first.phrase, problems=problems, **{name: value for name, value in about.items() if value is not None}
        )


class NotFound(CrmError):
    """There is no such record."""

    kind = ErrorCode.NOT_FOUND
    swedish = "Posten finns inte."


class ConflictReason(Choice):
    """What an operation is in conflict with. Later versions add values: treat those you do not know as BUSY."""

    CHANGED = "changed", "Somebody changed the record since `expectedVersion`: read it again."
    TAKEN = "taken", "Another record (`existingId`) has the value of `field` already."
    KEY_REUSED = "key_reused", "The `idempotencyKey` was used for something else (`existingId`)."
    WRONG_STATE = "wrong_state", "The record is not in a state for this (`status`)."
    LAST_ADMIN = "last_admin", "There would be no admin left."
    OWN_ACCOUNT = "own_account", "Nobody can do this to their own account."
    OVERTAKEN = "overtaken", "Somebody else has begun the same anew, or is still at it."
    BUSY = "busy", "Others change the same records right now: try again."


class Conflict(CrmError):
    """The record has changed since you read it."""

    kind = ErrorCode.CONFLICT
    swedish = "Posten har ändrats sedan du läste den."

    def __init__(
        self,
        message: str | Phrase | None = None,
        *,
        conflict: ConflictReason,
        problem: FieldProblem | None = None,
        problems: Sequence[Problem] = (),
        **details: Any,
    ) -> None:
        super().__init__(message, problem=problem, problems=problems, conflict=conflict, **details)

    @property
    def extensions(self) -> dict[str, object]:
        """The error's `extensions`, with the reason by its name in the API."""
        return {**super().extensions, "conflict": ConflictReason(str(self.details["conflict"])).name}


class Forbidden(CrmError):
    """Your role does not allow this."""

    kind = ErrorCode.FORBIDDEN
    swedish = "Din roll tillåter inte det här."


class Unauthenticated(CrmError):
    """Send a valid token: `Authorization: Bearer ...`."""

    kind = ErrorCode.UNAUTHENTICATED
    swedish = "Logga in: skicka en giltig token, `Authorization: Bearer ...`."


class MethodNotAllowed(CrmError):
    """The address does not take this method."""

    kind = ErrorCode.METHOD_NOT_ALLOWED
    swedish = "Adressen tar inte emot den metoden."


class NotAcceptable(CrmError):
    """Accept application/json."""

    kind = ErrorCode.NOT_ACCEPTABLE
    swedish = "Ta emot application/json."


class UnsupportedMediaType(CrmError):
    """Send the request as `Content-Type: application/json`, in UTF-8."""

    kind = ErrorCode.UNSUPPORTED_MEDIA_TYPE
    swedish = "Skicka `Content-Type: application/json`, i UTF-8."


class TooComplex(CrmError):
    """The operation asks for too much at once."""

    kind = ErrorCode.TOO_COMPLEX
    swedish = "Operationen begär för mycket på en gång."


class TooLarge(CrmError):
    """The request or its answer is too large."""

    kind = ErrorCode.TOO_LARGE
    swedish = "Begäran eller svaret är för stort."


class PersistedQueryNotFound(CrmError):
    """PersistedQueryNotFound"""  # noqa: D400, D415  (Apollo's clients compare the message)

    kind = ErrorCode.PERSISTED_QUERY_NOT_FOUND


class PersistedQueryNotSupported(CrmError):
    """PersistedQueryNotSupported"""  # noqa: D400, D415

    kind = ErrorCode.PERSISTED_QUERY_NOT_SUPPORTED


class CursorExpired(CrmError):
    """The cursor is older than the events that are kept, or from another database."""

    kind = ErrorCode.CURSOR_EXPIRED
    swedish = "Markören är äldre än de händelser som sparas, eller från en annan databas."


class RateLimited(CrmError):
    """Too many requests; try again later."""

    kind = ErrorCode.RATE_LIMITED
    swedish = "För många förfrågningar; försök igen senare."


class Timeout(CrmError):
    """The request took too long and was cancelled."""

    kind = ErrorCode.TIMEOUT
    swedish = "Det tog för lång tid och avbröts."


class BodyTimeout(Timeout):
    """The request's body did not come in time."""

    status = 408


class Unavailable(CrmError):
    """The database cannot be reached right now; try again shortly."""

    kind = ErrorCode.UNAVAILABLE
    swedish = "Databasen går inte att nå just nu; försök igen om en stund."


class AiUnavailable(CrmError):
    """The AI provider cannot answer right now."""

    kind = ErrorCode.AI_UNAVAILABLE
    swedish = "AI-tjänsten kan inte svara just nu."


class AiBudgetSpent(AiUnavailable):
    """Today's AI budget does not allow another question. It starts anew at midnight UTC: try again then."""

    swedish = "Dagens AI-budget räcker inte till en fråga till. Den börjar om vid midnatt UTC: försök igen då."
