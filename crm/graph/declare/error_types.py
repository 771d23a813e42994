"""Errors as types of the schema, so that generators of clients know them: docs/guides/typescript.md."""

from datetime import datetime

import strawberry

from crm.core.errors import ConflictReason, ErrorCode
from crm.core.problems import FieldProblem
from crm.graph.declare.fields import enum
from crm.graph.declare.scalars import JSON

for _choice in (ErrorCode, FieldProblem, ConflictReason):
    enum(_choice)


@strawberry.type(description="One mistake in an input.")
class InputProblem:
    """One mistake in an input."""

    field: str = strawberry.field(description="The path of the field, as `title` or `inputs.3.email`.")
    reason: FieldProblem = strawberry.field(description="What is wrong, for programs.")
    limit: int | None = strawberry.field(description="The limit that was passed, if there is one.")
    message: str = strawberry.field(description="What is wrong, for people, in the language of `Accept-Language`.")


@strawberry.type(description="What could not be done as asked, beside what was done.")
class Warning:  # noqa: A001  (its name in the API)
    """What could not be done as asked, beside what was done."""

    code: ErrorCode = strawberry.field(description="What it is, for programs.")
    message: str = strawberry.field(description="The same for people, in the language of `Accept-Language`.")
    reason: str | None = strawberry.field(
        description="More about it, for programs: TIMEOUT, RATE_LIMITED, BUDGET_SPENT ..."
    )
    retry_after_seconds: float | None = strawberry.field(description="After how many seconds to try again, if known.")


@strawberry.type(description="A field that two changed: what was asked for, and what somebody else made of it.")
class ChangedField:
    """A field that two changed: what was asked for, and what somebody else made of it."""

    field: str = strawberry.field(description="The field, as the API spells it; `FieldChange.name` is the same.")
    yours: JSON | None = strawberry.field(
        description="What you asked for; null of a deletion, and of a field you left alone."
    )
    theirs: JSON | None = strawberry.field(description="What it is now.")


@strawberry.type(description="An error's `extensions`. Generators of clients emit what a fragment on it selects.")
class ErrorExtensions:
    """An error's `extensions`; members that do not belong to an error are left out."""

    code: ErrorCode = strawberry.field(description="What went wrong.")
    field: str | None = strawberry.field(description="The first field at fault, as a path.")
    problems: list[InputProblem] | None = strawberry.field(description="All mistakes in the input, in its order.")
    conflict: ConflictReason | None = strawberry.field(description="Of a CONFLICT: with what.")
    existing_id: strawberry.ID | None = strawberry.field(description="The record that has the value already.")
    current_version: int | None = strawberry.field(description="The version that the record is at now.")
    changed: list[ChangedField] | None = strawberry.field(
        description="The fields that somebody changed since `expectedVersion`, and this would have overwritten."
    )
    changed_at: datetime | None = strawberry.field(description="When somebody last did so.")
    changed_by_id: strawberry.ID | None = strawberry.field(description="The user who did; null if it was a program.")
    changed_by_name: str | None = strawberry.field(description="The name of that user.")
    status: str | None = strawberry.field(description="The state in which the record is.")
    entity: str | None = strawberry.field(description="Of what kind the missing record is, as `lead`.")
    id: strawberry.ID | None = strawberry.field(description="The missing record's id.")
    known: list[str] | None = strawberry.field(description="The values that there are.")
    limit: int | None = strawberry.field(description="The limit that was passed.")
    what: str | None = strawberry.field(description="What there is too much of: `cost`, `rows`, `bytes`, `fields` ...")
    cost: int | None = strawberry.field(description="The points that the operation would cost.")
    reason: str | None = strawberry.field(description="Of AI_UNAVAILABLE: why, for programs.")
    retry_after_seconds: float | None = strawberry.field(description="After how many seconds to try again.")
    outcome: str | None = strawberry.field(description="UNKNOWN: it may have been saved; look before you try again.")
    request_id: str | None = strawberry.field(
        description="Under which id the error was logged; `Change.requestId` of what it saved is the same."
    )
