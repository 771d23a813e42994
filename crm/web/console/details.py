"""All about one task: what its row has no room for, folded away until somebody looks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from crm.web.console.markup import Child, Markup, element, joined
from crm.web.console.words import cost, duration, growing, moment, since

Task = Mapping[str, Any]

_CLAMP: Final = 2000
_SHORT: Final = 8


def short_id(task: Task) -> str:
    """Enough of an id to tell tasks apart: its end, since the beginning is the time."""
    return str(task["id"])[-_SHORT:]


def name_of(task: Task) -> str:
    """What to call a task, like no other one."""
    lead = task["lead"]
    about = f" for {lead['fullName']}" if lead is not None else ""
    return f"{task['taskType']}{about}, {short_id(task)}"


def badge(word: str) -> Markup:
    """An enum's value."""
    return element("span", word.replace("_", " ").capitalize(), class_=f"badge {word.lower()}")


def at(when: str) -> Markup:
    """A moment: the page's script says it in the reader's own time zone."""
    return element("time", moment(when), datetime=when, data_at=True)


def details(task: Task, whole: Task | None, link: str, creator: str | None) -> Markup:
    """What folds out below a row. Of what is large there is a link to it until it was asked for (`whole`)."""
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
    return element("ol", [element("li", _attempt(one), value=one["number"]) for one in attempts], class_="attempts")


def _attempt(one: Task) -> list[Child]:
    price = cost(one["costUsd"], one["costSource"]) if one["costSource"] else None
    return [
        badge(one["outcome"] or "RUNNING"),
        f" {_took(one)}",
        f" · cost {price}" if price else None,
        f" · worker {one['worker']}",
        element("span", one["error"], class_="error whole") if one["error"] else None,
    ]


def _took(attempt: Task) -> str:
    if attempt["finishedAt"] is None:
        return f"for {growing(since(attempt['startedAt']))}"
    return f"after {duration(since(attempt['startedAt'], attempt['finishedAt']))}"
