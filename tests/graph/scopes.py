"""Reads finished SQL: which tables stand in a FROM without their policy's predicate."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# A literal, a name in quotes, a parenthesis, or what lies between.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]|[^'\"()]+", re.DOTALL)
_END = r"(?=\bWHERE\b|\bGROUP BY\b|\bHAVING\b|\bORDER BY\b|\bLIMIT\b|\bOFFSET\b|\bFOR\b|$)"
_FROM = re.compile(rf"\bFROM\b(.*?){_END}")
_WHERE = re.compile(rf"\bWHERE\b(.*?){_END}")
_SOURCE = re.compile(r"(?:^|,|\bJOIN\b)\s*(?:LATERAL\s+)?(\w+|@\d+@)(?:\s+AS\s+(\w+))?")
_SET = re.compile(r"\b(?:UNION ALL|UNION|INTERSECT|EXCEPT)\b")
_INSIDE = re.compile(r"(?:EXISTS )?@(\d+)@")
# By hand, so that an error of a policy's own is found too; `test_policies.py` compares them with the models.
BELONGS = {
    "tasks": ("lead_id", "leads"),
    "interactions": ("lead_id", "leads"),
    "ai_task_attempts": ("task_id", "ai_tasks"),
}
DELETED_AT = {"leads", "tasks"}
OWNED = {"ai_tasks": "created_by"}
FOR_ADMINS = {"ai_task_days"}
_GUARDED = {*BELONGS, *DELETED_AT, *OWNED, *FOR_ADMINS}


@dataclass(eq=False)
class Part:
    """What stands in parentheses, or a SELECT in there: `@n@` in its text stands for what its own parentheses hold."""

    text: str = ""
    parts: list["Part"] = field(default_factory=list)
    selects: list["Part"] = field(default_factory=list)
    outer: "Part | None" = None

    def sources(self) -> dict[str, "str | Part"]:
        """What stands in a SELECT's FROM, by the name it has there: a table, or a subquery."""
        found = _FROM.search(self.text.replace("DISTINCT FROM", "DISTINCT_FROM"))
        named = _SOURCE.findall(found[1] if found else "")
        return {alias or name: self.inside(name) or name for name, alias in named}

    def conditions(self) -> list[str]:
        """What holds of each of a SELECT's rows."""
        found = _WHERE.search(self.text)
        conditions = [one.strip() for one in re.split(r"\bAND\b", found[1])] if found else []
        return conditions if len(conditions) == 1 or not any(" OR " in one for one in conditions) else []

    def inside(self, name: str) -> "Part | None":
        found = _INSIDE.fullmatch(name)
        return self.parts[int(found[1])] if found else None

    def opened(self, condition: str) -> tuple[str, "Part"]:
        """A condition without parentheses around it, and where its own are to be found."""
        part, inside = self, self.inside(condition)
        while inside is not None and not inside.selects:
            part, condition = inside, inside.text
            inside = part.inside(condition)
        return condition, inside or part


def parsed(sql: str) -> Part:
    """A statement by its parentheses."""
    return _part(iter(_TOKEN.findall(" ".join(sql.split()))))


def _part(tokens: Iterator[str]) -> Part:
    part = Part()
    for token in tokens:
        if token == ")":
            break
        if token == "(":
            part.parts.append(_part(tokens))
            part.text += f"@{len(part.parts) - 1}@"
        else:
            part.text += "''" if token.endswith("'") else token
    part.text = part.text.strip()
    texts = [text.strip() for text in _SET.split(part.text)]
    part.selects = [Part(text, part.parts) for text in texts if re.match(r"(?:WITH\b.*\b)?SELECT\b", text)]
    for inner in part.parts:
        for owner in part.selects or [part]:
            inner.outer = owner
            for one in inner.selects:
                one.outer = owner
    return part


def _selects(part: Part) -> Iterator[Part]:
    yield from part.selects
    for inner in part.parts:
        yield from _selects(inner)


def unguarded(sql: str) -> list[str]:
    """The tables with a policy that a statement reads somewhere without it."""
    return [
        f"{table} AS {alias}: {one.text}"
        for one in _selects(parsed(sql))
        for alias, table in one.sources().items()
        if isinstance(table, str) and table in _GUARDED and not _is_guarded(one, alias, table)
    ]


def _is_guarded(select: Part, alias: str, table: str) -> bool:
    conditions = select.conditions()
    opened = [select.opened(one) for one in conditions]
    if table in DELETED_AT and f"{alias}.deleted_at IS NULL" not in conditions:
        return False
    if table in OWNED:
        own = rf"{alias}\.{OWNED[table]} = \$\d+::UUID OR \$\d+(::BOOLEAN)?"
        return any(re.fullmatch(own, text) for text, _ in opened)
    if table in FOR_ADMINS:
        return any(re.fullmatch(r"\$\d+(::BOOLEAN)?", text) for text, _ in opened)
    if table not in BELONGS:
        return True
    column, owner = BELONGS[table]
    return any(_is_owned(select, text, part, f"{alias}.{column}", owner) for text, part in opened)


def _is_owned(select: Part, condition: str, part: Part, reference: str, owner: str) -> bool:
    """Whether a condition ties a row to one of its owner's, which is looked at where it stands."""
    if condition.startswith("EXISTS"):
        return any(
            f"{name}.id = {reference}" in inner.conditions()
            for inner in part.selects
            for name, table in inner.sources().items()
            if table == owner
        )
    sides = condition.split(" = ")
    other = next((side for side in sides if side != reference), "")
    return reference in sides and other.endswith(".id") and _are_of(select, other.removesuffix(".id"), owner)


def _leads_to(select: Part, table: str) -> bool:
    """Whether a SELECT is of a table's rows, or of a subquery's that is."""
    return any(
        source == table or (isinstance(source, Part) and all(_leads_to(one, table) for one in source.selects))
        for source in select.sources().values()
    )


def _are_of(select: Part | None, name: str, table: str) -> bool:
    """Whether a name stands for rows of a table, in a SELECT or in those around it."""
    while select is not None:
        source = select.sources().get(name)
        if source is not None:
            return table == source or (
                isinstance(source, Part) and all(_leads_to(one, table) for one in source.selects)
            )
        select = select.outer
    return False
