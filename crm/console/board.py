"""The board: what the queue holds, what runs, what failed. Drawn here for the first look and for every later one."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from crm.console.markup import Markup, element, joined
from crm.console.words import NONE, dollars, duration, moment
from crm.core.identity import Role, Viewer
from crm.graph.answer import Answer

Task = Mapping[str, Any]
Cells = Sequence[Markup]

_LATE_MS: Final = 60_000
_PRIORITIES: Final = ("URGENT", "HIGH", "NORMAL", "LOW")
_TRY: Final = (
    "curl -X POST localhost:8000/api/ai/tasks -H 'content-type: application/json' \\\n"
    """  -d '{"taskType": "echo", "input": {"message": "Hello", "seconds": 20}}'"""
)


def drawn(answer: Answer, viewer: Viewer) -> Markup:
    """The whole board."""
    found = {key: orjson.loads(part) for key, part in answer.parts}
    may_act = viewer.role.includes(Role.MEMBER)
    return joined(
        [
            _tiles(found["queue"]),
            _queue(found["queue"]),
            _running(found["running"], may_act=may_act),
            _waiting(found["waiting"], may_act=may_act),
            _failed(found["failed"], may_act=may_act),
            _recent(found["recent"]),
        ]
    )


def broken(problems: Sequence[Mapping[str, Any]]) -> Markup:
    """In place of the board: what is wrong, and that the page goes on trying."""
    said = problems[0]["message"]
    return element(
        "section",
        element("h2", "The board cannot be shown", tabindex="-1"),
        element("p", said, class_="error"),
        element("p", "This page tries again every few seconds.", class_="soft"),
        id="broken",
    )


def _tiles(queue: Mapping[str, Any]) -> Markup:
    oldest = queue["oldestWaitingMs"]
    waiting = queue["queued"] + queue["retrying"]
    alone = queue["workers"] == 0
    return element(
        "ul",
        _tile(waiting, "waiting"),
        _tile(queue["running"], "running"),
        _tile(
            NONE if oldest is None else duration(oldest), "oldest wait", "warn" if (oldest or 0) > _LATE_MS else None
        ),
        _tile(queue["workers"], "worker alive" if queue["workers"] == 1 else "workers alive", "bad" if alone else None),
        _tile(queue["completedLastHour"], "completed in the last hour"),
        _tile(queue["failedLastHour"], "failed in the last hour", "bad" if queue["failedLastHour"] else None),
        _tile(dollars(queue["costTodayUsd"]), "cost today (UTC)"),
        id="tiles",
        class_="tiles",
    )


def _tile(figure: str | int, words: str, class_: str | None = None) -> Markup:
    return element("li", element("strong", figure), element("span", words), class_=class_)


def _queue(queue: Mapping[str, Any]) -> Markup:
    waiting = {one["priority"]: one["waiting"] for one in queue["byPriority"]}
    most = max([1, *waiting.values()])
    rows = [
        element(
            "tr",
            element("th", _badge(priority), scope="row"),
            element("td", waiting.get(priority, 0), class_="number"),
            element(
                "td", element("progress", max=most, value=waiting.get(priority, 0), aria_hidden="true"), class_="bar"
            ),
        )
        for priority in _PRIORITIES
    ]
    statuses = [("queued", "Waiting for the first attempt"), ("retrying", "Waiting for another attempt")]
    statuses += [("scheduled", "Of these, not due yet"), ("running", "Running")]
    return element(
        "section",
        _head("The queue", f"{queue['queued'] + queue['retrying'] + queue['running']:,} open, all users together"),
        element(
            "div",
            element(
                "table",
                element("caption", "Tasks by status"),
                element(
                    "tbody",
                    [
                        element("tr", element("th", words, scope="row"), element("td", queue[name], class_="number"))
                        for name, words in statuses
                    ],
                ),
            ),
            element("table", element("caption", "Waiting tasks by priority"), element("tbody", rows)),
            class_="halves",
        ),
        id="queue",
    )


def _running(tasks: Sequence[Task], *, may_act: bool) -> Markup:
    def cells(task: Task) -> Cells:
        percent = round(task["progress"] * 100)
        return [
            element(
                "td",
                element(
                    "div",
                    element("progress", max=100, value=percent, aria_label=f"Progress of {_name(task)}"),
                    element("output", f"{percent}%"),
                    class_="progress",
                ),
            ),
            element("td", duration(task["runMs"]), element("small", f"of {duration(task['timeoutSeconds'] * 1000)}")),
            _attempts(task),
            _act(task, "cancel", task["canCancel"] and may_act),
        ]

    return _section("running", "Running", tasks, ["Progress", "For", "Attempt"], cells, ["Nothing runs."])


def _waiting(tasks: Sequence[Task], *, may_act: bool) -> Markup:
    def cells(task: Task) -> Cells:
        later = task["waitMs"] is None and task["scheduledFor"] is not None
        since = f"from {moment(task['scheduledFor'])}" if later else duration(task["waitMs"])
        error = element("small", "Last time: ", task["error"]) if task["status"] == "RETRYING" else None
        return [
            element("td", _badge(task["status"]), error),
            element("td", since),
            _attempts(task),
            _act(task, "cancel", task["canCancel"] and may_act),
        ]

    empty = ["Nothing waits. To try it out:", element("code", _TRY)]
    return _section("waiting", "Next in line", tasks, ["Status", "Waits", "Attempt"], cells, empty)


def _failed(tasks: Sequence[Task], *, may_act: bool) -> Markup:
    def cells(task: Task) -> Cells:
        return [
            element("td", _badge(task["status"]), element("span", task["error"] or "No reason given.", class_="error")),
            element("td", _ago(task["finishedAt"])),
            _attempts(task),
            element("td", _cost(task), class_="number"),
            _act(task, "retry", task["canRetry"] and may_act),
        ]

    columns = ["What went wrong", "When", "Attempts", "Cost"]
    return _section("failed", "Failures", tasks, columns, cells, ["Nothing has failed."])


def _recent(tasks: Sequence[Task]) -> Markup:
    def cells(task: Task) -> Cells:
        return [
            element("td", _badge(task["status"])),
            element("td", _ago(task["finishedAt"])),
            element("td", NONE if task["runMs"] is None else duration(task["runMs"])),
            element("td", _cost(task), class_="number"),
        ]

    columns = ["How", "When", "Took", "Cost"]
    return _section("recent", "Lately done", tasks, columns, cells, ["Nothing has been done yet."])


def _section(  # noqa: PLR0913, PLR0917
    name: str,
    title: str,
    tasks: Sequence[Task],
    columns: Sequence[str],
    cells: Callable[[Task], Cells],
    empty: Sequence[str],
) -> Markup:
    if not tasks:
        return element("section", _head(title), element("div", empty, class_="empty"), id=name)
    heads = [element("th", one, scope="col", class_="number" if one == "Cost" else None) for one in columns]
    body = [_row(task, cells(task)) for task in tasks]
    acts = len(body) > 0 and name != "recent"
    table = element(
        "table",
        element("caption", title),
        element(
            "thead",
            element(
                "tr",
                element("th", "Task", scope="col"),
                heads,
                element("th", element("span", "What to do", class_="unseen"), scope="col") if acts else None,
            ),
        ),
        element("tbody", body, id=f"{name}-rows"),
    )
    shown = f"the first {len(tasks)}" if name == "waiting" else f"the latest {len(tasks)}"
    note = shown if len(tasks) >= _limit(name) else None
    return element("section", _head(title, note), element("div", table, class_="scroll"), id=name)


def _limit(name: str) -> int:
    return {"running": 50, "waiting": 20, "failed": 20, "recent": 10}[name]


def _head(title: str, note: str | None = None) -> Markup:
    words = element("p", note, class_="soft") if note else None
    return element("div", element("h2", title, tabindex="-1"), words, class_="head")


def _row(task: Task, cells: Cells) -> Markup:
    lead = task["lead"]
    about = None
    if lead is not None:
        about = element("small", " · ".join(filter(None, [lead["fullName"], lead["company"]])))
    agent = element("small", f"for {task['agentId']}") if task["agentId"] else None
    first = element("th", task["taskType"], " ", _badge(task["priority"]), about, agent, scope="row", title=task["id"])
    return element("tr", first, cells, id=f"task-{task['id']}", data_status=task["status"])


def _act(task: Task, act: str, possible: bool) -> Markup:  # noqa: FBT001
    if not possible:
        return element("td", class_="act")
    words = "Cancel" if act == "cancel" else "Retry"
    name = _name(task)
    button = element(
        "button",
        words,
        element("span", f" {name}", class_="unseen"),
        type="button",
        class_="quiet",
        data_act=act,
        data_task=task["id"],
        data_name=name,
    )
    return element("td", button, class_="act")


def _attempts(task: Task) -> Markup:
    return element("td", f"{task['attempt']} of {max(task['attempt'], task['maxRetries'] + 1)}")


def _name(task: Task) -> str:
    lead = task["lead"]
    return f"{task['taskType']} for {lead['fullName']}" if lead is not None else str(task["taskType"])


def _cost(task: Task) -> str:
    source = task["costSource"]
    if source is None:
        return NONE
    return f"{dollars(task['costUsd'])}{' or more' if source == 'UNKNOWN' else ''}"


def _badge(word: str) -> Markup:
    return element("span", word.replace("_", " ").capitalize(), class_=f"badge {word.lower()}")


def _ago(when: str) -> Markup:
    then = datetime.fromisoformat(when)
    passed = max(0, round((datetime.now(UTC) - then).total_seconds() * 1000))
    return element("time", f"{duration(passed)} ago", datetime=when, title=moment(when))
