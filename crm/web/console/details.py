"""The details of one task, for which its row has no room; folded until they are opened."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from crm.web.console.markup import Child, Markup, element, joined
from crm.web.console.words import cost, duration, growing, moment, since

Task = Mapping[str, Any]

_CLAMP: Final = 2000
_SHORT: Final = 8


def short_id(task: Task) -> str:
    """The end of an id, enough to tell tasks apart: the beginning is the time."""
    return str(task["id"])[-_SHORT:]


def name_of(task: Task) -> str:
    """A unique name of a task."""
    lead = task["lead"]
    about = f" for {lead['fullName']}" if lead is not None else ""
    return f"{task['taskType']}{about}, {short_id(task)}"


def badge(word: str) -> Markup:
    """An enum's value as a badge."""
    return element("span", word.replace("_", " ").capitalize(), class_=f"badge {word.lower()}")


def at(when: str) -> Markup:
    """A moment, which the page's script shows in the reader's own time zone."""
    return element("time", moment(when), datetime=when, data_at=True)


def details(task: Task, whole: Task | None, link: str, creator: str | None) -> Markup:
    """The details below a row. Large values are a link until the task was requested as a whole (`whole`)."""
    facts = [element("div", element("dt", name), element("dd", value)) for name, value in _facts(task) if value]
    large = element("p", element("a", "Input, result and attempts", href=link, data_look=True))
    return element(
        "details",
        element(
            "summary",
            element("span", f"Details of {name_of(task)}", class_="unseen"),
            element("span", element("code", short_id(task)), _asked_by(task, creator), aria_hidden="true"),
            title=task["id"],
        ),
        element("dl", facts),
        large if whole is None else _large(whole, task["attempt"]),
        id=f"details-{task['id']}",
        open=whole is not None,
        data_whole=whole is not None,
    )


def _asked_by(task: Task, creator: str | None) -> str:
    agent = f" · for {task['agentId']}" if task["agentId"] else ""
    return f"{agent} · by {creator}" if creator else agent


def _facts(task: Task) -> Iterator[tuple[str, Child]]:
    yield "Id", element("code", task["id"])
    lead, creator = task["lead"], task["creator"]
    yield "Lead", " · ".join(filter(None, [lead["fullName"], lead["company"]])) if lead is not None else None
    yield "Agent", task["agentId"]
    yield "Created", [at(task["createdAt"]), f" by {creator['name']}" if creator is not None else None]
    yield "Scheduled for", at(task["scheduledFor"]) if task["scheduledFor"] else None
    yield "Latest attempt", [f"{task['attempt']}, begun ", at(task["startedAt"])] if task["startedAt"] else None
    yield "Ended", at(task["finishedAt"]) if task["finishedAt"] else None
    yield "Time limit", [growing(task["timeoutSeconds"] * 1000), " an attempt"]
    yield "Retries", f"{task['maxRetries']} at most, after failed attempts"
    yield "Model", task["model"]
    yield "Tokens", f"{task['tokens']:,}" if task["tokens"] else None
    yield "Cost", cost(task["costUsd"], task["costSource"]) if task["costSource"] else None
    yield "Error", element("span", task["error"], class_="error whole") if task["error"] else None


def _large(whole: Task, begun: int) -> Markup:
    parts: list[Child] = [_clamped("Input", whole["input"])]
    if whole["result"] is not None:
        parts.append(_clamped("Result", whole["result"]))
    attempts = whole["attempts"]
    if attempts:
        of = f" (the first {len(attempts)} of {begun})" if len(attempts) < begun else None
        parts += [element("h3", "Attempts", of), _attempts(attempts)]
    return joined(parts)


def _clamped(title: str, value: object) -> Markup:
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    left = len(text) - _CLAMP
    rest = element("p", f"{left:,} more characters are not shown here.", class_="soft") if left > 0 else None
    return joined([element("h3", title), element("pre", text[:_CLAMP]), rest])


def _attempts(attempts: Sequence[Task]) -> Markup:
    return element(
        "ol", [element("li", _attempt(attempt), value=attempt["number"]) for attempt in attempts], class_="attempts"
    )


def _attempt(attempt: Task) -> list[Child]:
    price = cost(attempt["costUsd"], attempt["costSource"]) if attempt["costSource"] else None
    return [
        badge(attempt["outcome"] or "RUNNING"),
        f" {_took(attempt)}",
        f" · cost {price}" if price else None,
        f" · worker {attempt['worker']}",
        element("span", attempt["error"], class_="error whole") if attempt["error"] else None,
    ]


def _took(attempt: Task) -> str:
    if attempt["finishedAt"] is None:
        return f"for {growing(since(attempt['startedAt']))}"
    return f"after {duration(since(attempt['startedAt'], attempt['finishedAt']))}"
