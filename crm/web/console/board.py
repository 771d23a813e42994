"""The board: tasks that wait, run and failed. Rendered here for the first view and for every later one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from crm.core.identity import Viewer
from crm.graph.run.answers import Answer
from crm.web.console import tables
from crm.web.console.details import badge
from crm.web.console.markup import Child, Markup, element, joined
from crm.web.console.tables import PRIORITIES, BoardView, heading
from crm.web.console.view_state import ViewState
from crm.web.console.words import NONE, dollars, growing

_LATE_MS: Final = 60_000
_LONG_FIGURE: Final = 9


@dataclass(frozen=True)
class Visit:
    """A browser's visit: the address that it called, and whether it sent a token."""

    origin: str
    has_token: bool


def drawn(answer: Answer, viewer: Viewer, view_state: ViewState, visit: Visit) -> Markup:
    """The whole board as HTML."""
    data = {key: orjson.loads(part) for key, part in answer.parts}
    queue = data["queue"]
    view = BoardView(viewer, view_state, queue, {task["id"]: task for task in data["opened"]})
    ready = [task for task in data["waiting"] if task["positionInQueue"] is not None]
    known = {task["id"] for task in ready}
    later = [task for task in data["later"] if task["id"] not in known]
    return joined(
        [
            _signed_in(data["me"], viewer),
            _no_worker(queue),
            _tiles(queue),
            _queue(queue),
            None if view.sees_all else _WHOSE,
            tables.running(data["running"], view),
            tables.waiting(ready, view, _try_out(visit) if view.may_act else None),
            tables.later(later, view),
            tables.failed(data["failed"], view),
            tables.recent(data["recent"], view),
        ]
    )


def broken(problems: Sequence[Mapping[str, Any]]) -> Markup:
    """The error shown in place of the board, with a note that the page tries again."""
    message = problems[0]["message"]
    return element(
        "section",
        element("h2", "The board cannot be shown", tabindex="-1"),
        element("p", message, class_="error"),
        element("p", "This page tries again every few seconds.", class_="soft"),
        id="broken",
    )


_WHOSE: Final = element(
    "p", "The figures above are everybody's; the tasks below are your own.", id="whose", class_="soft"
)


def _signed_in(me: Mapping[str, Any] | None, viewer: Viewer) -> Markup:
    name = element("strong", me["name"]) if me is not None else "somebody who is gone"
    return element("p", "Signed in as ", name, f", {viewer.role.value}", id="who", class_="soft")


def _no_worker(queue: Mapping[str, Any]) -> Markup | None:
    if queue["workers"] or not (queue["queued"] + queue["retrying"] + queue["running"]):
        return None
    words = ["No worker is alive: nothing runs until one is started (", element("code", "crm worker"), ")."]
    return element("p", words, id="no-worker", class_="banner error")


def _try_out(visit: Visit) -> list[Child]:
    token = """  -H "authorization: Bearer $TOKEN" \\\n""" if visit.has_token else ""
    command: list[Child] = [
        "curl -X POST ",
        element("span", visit.origin, data_origin=True),
        "/api/ai/tasks \\\n  -H 'content-type: application/json' \\\n",
        token,
        """  -d '{"taskType": "echo", "input": {"message": "Hello", "seconds": 20}}'""",
    ]
    return [" To try it out:", element("code", command)]


def _tiles(queue: Mapping[str, Any]) -> Markup:
    oldest = queue["oldestWaitingMs"]
    waiting = queue["queued"] + queue["retrying"]
    return element(
        "ul",
        _tile(waiting, "waiting"),
        _tile(queue["running"], "running"),
        _tile(NONE if oldest is None else growing(oldest), "oldest wait", "warn" if (oldest or 0) > _LATE_MS else None),
        _tile(
            queue["workers"],
            "worker alive" if queue["workers"] == 1 else "workers alive",
            None if queue["workers"] else "bad",
        ),
        _tile(queue["completedLastHour"], "completed in the last hour"),
        _tile(queue["failedLastHour"], "failed in the last hour", "bad" if queue["failedLastHour"] else None),
        _tile(dollars(queue["costTodayUsd"]), "cost today (UTC)"),
        id="tiles",
        class_="tiles",
    )


def _tile(figure: str | int, words: str, class_: str | None = None) -> Markup:
    text = figure if isinstance(figure, str) else f"{figure:,}"
    long = "long" if len(text) > _LONG_FIGURE else None
    return element("li", element("strong", text, class_=long), element("span", words), class_=class_)


def _queue(queue: Mapping[str, Any]) -> Markup:
    open_ = queue["queued"] + queue["retrying"] + queue["running"]
    return element(
        "section",
        heading("The queue", f"{open_:,} open, all users together"),
        element("div", _statuses(queue), _levels(queue), class_="halves"),
        id="queue",
    )


def _statuses(queue: Mapping[str, Any]) -> Markup:
    statuses = [("queued", "Waiting for the first attempt"), ("retrying", "Waiting for another attempt")]
    statuses += [("scheduled", "Of these, not due yet"), ("running", "Running")]
    rows = [
        element("tr", element("th", words, scope="row"), element("td", f"{queue[name]:,}", class_="number"))
        for name, words in statuses
    ]
    return element("table", element("caption", "Tasks by status"), element("tbody", rows))


def _levels(queue: Mapping[str, Any]) -> Markup:
    waiting = {level["priority"]: level["waiting"] for level in queue["byPriority"]}
    most = max([1, *waiting.values()])
    rows = []
    for priority in PRIORITIES:
        count = waiting.get(priority, 0)
        bar = element("progress", max=most, value=count, aria_hidden="true")
        figures = [element("td", f"{count:,}", class_="number"), element("td", bar, class_="bar")]
        rows.append(element("tr", element("th", badge(priority), scope="row"), figures))
    return element("table", element("caption", "Waiting tasks by priority"), element("tbody", rows))
