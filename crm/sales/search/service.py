"""Search across leads, tasks and interactions, by SQL functions that the revision 'add search' defines."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    case,
    cast,
    collate,
    exists,
    false,
    func,
    literal,
    literal_column,
    null,
    select,
    type_coerce,
    union_all,
)

from crm.core import errors
from crm.core.choice import Choice
from crm.core.language import Phrase
from crm.core.model import CASE_COLLATION
from crm.core.problems import FieldProblem, Problem
from crm.sales.interactions.model import Interaction
from crm.sales.leads.model import Lead
from crm.sales.leads.phone import has_phone
from crm.sales.tasks.model import Task

# The most matches of a kind that are ranked: a text that matches thousands of records cannot rank them.
_RANKED: Final = 100
# The same for leads in an order: beyond it those with the same words are equal.
_RANKED_LEADS: Final = 2000
_STARTS: Final[Any] = literal_column("':*'")
_WHOLE: Final[Any] = literal_column("''")
_SPACE: Final[Any] = literal_column("' '")
_COMMA: Final[Any] = literal_column("', '")
_PERIOD: Final[Any] = literal_column("'. '")
# Unicode's white space and ASCII's separators: pasted text ends in a line break, or in U+3000. PostgreSQL's btrim
# removes spaces only, and its word boundaries depend on the locale.
_WHITE_SPACE: Final = (
    "\t\n\x0b\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_ANY_SPACE: Final[Any] = literal_column(f"'{_WHITE_SPACE}'")
_PLAIN_SPACES: Final[Any] = literal_column(f"'{' ' * len(_WHITE_SPACE)}'")

# Added to the rank of a lead's match, which is below 1.
_IDENTICAL: Final = 3  # the e-mail address or the phone number
_NAMED: Final = 2  # the whole name
_WHOLE_WORDS: Final = 1
_BEGINNINGS: Final = 0
_SIMILAR: Final = -1


_LEAST: Final = 2
_MOST: Final = 200


_LENGTH: Final = Phrase(
    "{label}: {least} to {most} characters are needed, blanks around it not counted, not {length}.",
    "{label}: {least} till {most} tecken behövs, omgivande blanksteg oräknade, inte {length}.",
)


def check_text(text: str, label: str) -> None:
    """Refuse a single letter, which matches everything, and a page of text, which matches nothing."""
    length = len(text.strip())
    if not _LEAST <= length <= _MOST:
        reason, limit = (FieldProblem.TOO_SHORT, _LEAST) if length < _LEAST else (FieldProblem.TOO_LONG, _MOST)
        problem = Problem.of(label, reason, _LENGTH, limit=limit, least=_LEAST, most=_MOST, length=length)
        raise errors.BadUserInput.of([problem])


class SearchKind(Choice):
    """Of what kind a hit is."""

    LEAD = "lead", "A lead: its names, company, job title, e-mail address and phone number are searched."
    TASK = "task", "A task: its title and description are searched."
    INTERACTION = "interaction", "An interaction: its subject and notes are searched."


class SearchService:
    """Full-text search, by indexes on the tables themselves."""

    @staticmethod
    def hits(text: Any, kinds: Sequence[SearchKind] = ()) -> Select[Any]:
        """The records that match every word of the text, best first."""
        text = _trimmed(text)
        parts = [part(text) for kind, part in _PARTS.items() if not kinds or kind in kinds]
        hits = union_all(*parts).subquery("found")
        return select(hits, _query(text, _STARTS).label("query")).order_by(
            hits.c.score.desc(), hits.c.kind, hits.c.id.desc()
        )

    @staticmethod
    def finds_lead(lead_id: Any, text: Any) -> ColumnElement[bool]:
        """Whether a text finds a lead: every word matches, as it is or by its beginning."""
        text = _trimmed(text)
        match: Any = Lead.__table__.alias().c
        matching: Select[Any] = select(match.id).where(_matches(_lead_document(match), text, _STARTS))
        similar = select(_similar(text)).where(~exists(matching))
        found: ColumnElement[bool] = lead_id.in_(union_all(matching, similar))
        return found

    @staticmethod
    def relevance(lead: Any, text: Any) -> ColumnElement[float]:
        """How well a lead that was found matches, as among hits; where very many match, words count and no more."""
        text = _trimmed(text)
        match: Any = Lead.__table__.alias().c
        document = _lead_document(lead)
        matching: Select[Any] = select(literal_column("1")).where(_matches(_lead_document(match), text, _STARTS))
        many = select(func.count()).select_from(matching.limit(_RANKED_LEADS + 1).subquery("matching"))
        whole = select(match.id).where(_matches(_lead_document(match), text, _WHOLE))
        worth = case(
            (func.coalesce(_has_address(lead, text), false()), literal(_IDENTICAL)),
            (func.coalesce(has_phone(text, lead), false()), literal(_IDENTICAL)),
            (_is_named(lead, text), literal(_NAMED)),
            (lead.id.in_(whole), literal(_WHOLE_WORDS)),
            else_=literal(_BEGINNINGS),
        )
        rank = case((many.scalar_subquery() <= literal(_RANKED_LEADS), _rank(document, text)), else_=literal(0.0))
        return cast(worth + rank, Float)

    @staticmethod
    def snippet(hit: Any) -> Any:
        """The part of a hit's text around the match, on one line; a lead's is short enough to show whole."""
        options: Any = literal_column("""'MaxWords=24, MinWords=12, StartSel="", StopSel=""'""")
        around = func.ts_headline(literal_column("'pg_catalog.simple'::regconfig"), hit.body, hit.query, options)
        snippet = case((hit.kind == literal_column(f"'{SearchKind.LEAD}'"), hit.body), else_=around)
        return func.btrim(func.regexp_replace(snippet, literal_column(r"'\s+'"), _SPACE, literal_column("'g'")))


def _trimmed(text: Any) -> Any:
    return func.btrim(func.translate(type_coerce(text, Text), _ANY_SPACE, _PLAIN_SPACES))


def _has_address(lead: Any, text: Any) -> Any:
    return func.lower(collate(lead.email, CASE_COLLATION)) == func.lower(collate(func.btrim(text), CASE_COLLATION))


def _is_named(lead: Any, text: Any) -> Any:
    return func.crm_words(lead.first_name.concat(_SPACE).concat(lead.last_name)) == func.btrim(func.crm_words(text))


def _similar(text: Any) -> Any:
    """The ids of leads whose names and companies are similar, where the server can tell."""
    return func.crm_similar_leads(text, type_=Integer()).column_valued("similar")


def _query(text: Any, suffix: Any) -> Any:
    """The query as a subquery: the planner then takes every text for a rare one, and uses the index."""
    return select(func.crm_query(text, suffix)).scalar_subquery()


def _matches(document: Any, text: Any, suffix: Any) -> Any:
    return document.op("@@")(_query(text, suffix))


def _rank(document: Any, text: Any) -> Any:
    return cast(func.ts_rank(document, _query(text, _STARTS)), Float)


def _leads(text: Any) -> Select[Any]:
    tiers = union_all(*_lead_tiers(text)).subquery("tiers")
    best = select(tiers.c.id, func.max(tiers.c.worth).label("worth")).group_by(tiers.c.id).subquery("best")
    document = _lead_document(Lead)
    return select(
        literal_column("'lead'").label("kind"),
        Lead.id.label("id"),
        (best.c.worth + _rank(document, text)).label("score"),
        Lead.id.label("lead_id"),
        cast(null(), Integer).label("task_id"),
        cast(null(), Integer).label("interaction_id"),
        func.concat_ws(
            _COMMA,
            func.concat_ws(_SPACE, Lead.first_name, Lead.last_name),
            Lead.job_title,
            Lead.company,
            Lead.email,
            Lead.phone,
        ).label("body"),
    ).where(Lead.id == best.c.id)


def _lead_tiers(text: Any) -> list[Select[Any]]:
    """The leads that match, with the worth of each match; each tier uses an index of its own."""
    # An alias has its own policy condition, which must hold before the limit, and which the partial indexes need.
    lead: Any = Lead.__table__.alias().c
    document = _lead_document(lead)
    starts = _matches(document, text, _STARTS)
    worth = literal(_WHOLE_WORDS) + cast(_is_named(lead, text), Integer) * literal(_NAMED - _WHOLE_WORDS)
    similar = _similar(text)
    return [
        select(lead.id, literal(_IDENTICAL).label("worth")).where(_has_address(lead, text)),
        select(lead.id, literal(_IDENTICAL)).where(has_phone(text, lead)).limit(_RANKED),
        select(lead.id, worth).where(_matches(document, text, _WHOLE)).limit(_RANKED),
        select(lead.id, literal(_BEGINNINGS)).where(starts).limit(_RANKED),
        select(similar, literal(_SIMILAR)).where(~exists(select(literal_column("1")).where(starts))),
    ]


def _tasks(text: Any) -> Select[Any]:
    return _texts(Task, SearchKind.TASK, Task.title, Task.description, text)


def _interactions(text: Any) -> Select[Any]:
    return _texts(Interaction, SearchKind.INTERACTION, Interaction.subject, Interaction.notes, text)


def _texts(model: Any, kind: SearchKind, title: Any, body: Any, text: Any) -> Select[Any]:
    """The tasks or interactions that match."""
    matches = (
        select(model.id, model.lead_id, title.label("title"), body.label("body"))
        .where(_matches(func.crm_text_document(title, body), text, _STARTS))
        .limit(_RANKED)
        .subquery(f"{kind}s")
    )
    nothing = cast(null(), Integer)
    return select(
        literal_column(f"'{kind}'").label("kind"),
        matches.c.id,
        _rank(func.crm_text_document(matches.c.title, matches.c.body), text).label("score"),
        matches.c.lead_id,
        (matches.c.id if kind is SearchKind.TASK else nothing).label("task_id"),
        (matches.c.id if kind is SearchKind.INTERACTION else nothing).label("interaction_id"),
        func.concat_ws(_PERIOD, matches.c.title, matches.c.body).label("body"),
    )


def _lead_document(lead: Any) -> Any:
    return func.crm_lead_document(lead.first_name, lead.last_name, lead.company, lead.email, lead.phone, lead.job_title)


_PARTS: Final = {SearchKind.LEAD: _leads, SearchKind.TASK: _tasks, SearchKind.INTERACTION: _interactions}
