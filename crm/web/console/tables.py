"""The board's tables of tasks: running, waiting, failed and done ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crm.core.identity import Role, Viewer
from crm.web.console.details import Task, at, badge, details, name_of, short_id
from crm.web.console.markup import Child, Markup, element
from crm.web.console.view_state import MOST, ViewState
from crm.web.console.words import NONE, ago, ahead, cost, duration, growing, moment, since

PRIORITIES: Final = ("URGENT", "HIGH", "NORMAL", "LOW")


@dataclass(frozen=True)
class BoardView:
    """The viewer, the state of the view, and the data of the queue."""

    viewer: Viewer
    view_state: ViewState
    queue: Mapping[str, Any]
    whole: Mapping[str, Task]

    @property
    def may_act(self) -> bool:
        """Whether the viewer gets buttons."""
        return self.viewer.role.includes(Role.MEMBER)

    @property
    def sees_all(self) -> bool:
        """Whether all users' tasks are on the board, not only the viewer's own."""
        return self.viewer.role.includes(Role.ADMIN)


@dataclass(frozen=True)
class Table:
    """A table: `cells` come in the order of `columns`, `total` is the number of all rows, if that is known."""

    name: str
    title: str
    columns: Sequence[str]
    cells: Callable[[Task], Sequence[Child]]
    act: str
    total: int | None = None
    has_priorities: bool = False


def running(tasks: Sequence[Task], view: BoardView) -> Markup:
    """The tasks that run."""

    def cells(task: Task) -> Sequence[Child]:
        percent = round(task["progress"] * 100)
        bar = element("progress", max=100, value=percent, aria_label=f"Progress of {name_of(task)}")
        limit = f", limit {growing(task['timeoutSeconds'] * 1000)}"
        return [
            element("div", bar, element("span", f"{percent}%", class_="percent"), class_="progress"),
            [growing(task["runMs"]), element("span", limit, class_="soft")],
            task["attempt"],
        ]

    total = view.queue["running"]
    table = Table("running", "Running", ["Progress", "For", "Attempt"], cells, "cancel", total)
    return _section(table, tasks, view, "None of yours runs." if total else "Nothing runs.")


def waiting(tasks: Sequence[Task], view: BoardView, try_out: Child) -> Markup:
    """The tasks that may run, in the order in which they will."""

    def cells(task: Task) -> Sequence[Child]:
        return [f"No. {task['positionInQueue']:,}", _standing(task), growing(task["waitMs"] or 0), task["attempt"]]

    total = view.queue["queued"] + view.queue["retrying"] - view.queue["scheduled"]
    columns = ["In line", "Status", "Waits", "Attempts so far"]
    table = Table("waiting", "Next in line", columns, cells, "cancel", total, has_priorities=True)
    empty = "None of yours waits." if total else "Nothing waits."
    return _section(table, tasks, view, [empty, try_out])


def later(tasks: Sequence[Task], view: BoardView) -> Markup | None:
    """The tasks that are not due yet, in the order of their times."""

    def cells(task: Task) -> Sequence[Child]:
        goes_on = [ahead(-since(task["dueAt"])), element("small", at(task["dueAt"]))]
        return [goes_on, _standing(task), task["attempt"]]

    columns = ["Goes on", "Status", "Attempts so far"]
    table = Table("later", "Later", columns, cells, "cancel", view.queue["scheduled"], has_priorities=True)
    return _section(table, tasks, view, None) if tasks else None


def failed(tasks: Sequence[Task], view: BoardView) -> Markup:
    """The tasks that failed, the latest first."""

    def cells(task: Task) -> Sequence[Child]:
        return [
            [badge(task["status"]), element("span", task["error"] or "No reason given.", class_="error clamp")],
            _ago(task["finishedAt"]),
            task["attempt"],
            cost(task["costUsd"], task["costSource"]),
        ]

    table = Table("failed", "Failures", ["What went wrong", "When", "Attempts", "Cost"], cells, "retry")
    return _section(table, tasks, view, "None of yours has failed." if view.queue["failedLastHour"] else _NO_FAILURE)


def recent(tasks: Sequence[Task], view: BoardView) -> Markup:
    """The tasks that were completed or cancelled, the latest first."""

    def cells(task: Task) -> Sequence[Child]:
        return [
            badge(task["status"]),
            _ago(task["finishedAt"]),
            NONE if task["runMs"] is None else duration(task["runMs"]),
            cost(task["costUsd"], task["costSource"]),
        ]

    table = Table("recent", "Lately done", ["How", "When", "Took", "Cost"], cells, "retry")
    return _section(table, tasks, view, "None of yours is done." if view.queue["completedLastHour"] else _NOTHING_DONE)


_NO_FAILURE: Final = "Nothing has failed."
_NOTHING_DONE: Final = "Nothing has been done yet."


def heading(title: str, note: str | None = None) -> Markup:
    """A section's heading, with a note beside it."""
    words = element("p", note, class_="soft") if note else None
    return element("div", element("h2", title, tabindex="-1"), words, class_="head")


def _section(table: Table, tasks: Sequence[Task], view: BoardView, empty: Child) -> Markup:
    visible = tasks[: view.view_state.rows[table.name]]
    if not visible:
        return element("section", heading(table.title), element("div", empty, class_="empty"), id=table.name)
    has_more = len(tasks) > len(visible)
    return element(
        "section",
        heading(table.title, _note(table, len(visible), view) if has_more else None),
        element(
            "table",
            element("caption", table.title),
            _heads(table),
            [_row(table, task, view) for task in visible],
            id=f"{table.name}-rows",
        ),
        _lengths(table, view, has_more=has_more),
        id=table.name,
    )


def _note(table: Table, count: int, view: BoardView) -> str:
    """The number of rows shown, of the total if the viewer sees all tasks: the queue's totals are of all users."""
    if table.total is not None and view.sees_all:
        return f"{count} of {max(table.total, count + 1):,}"
    return f"{count} of yours; there are more"


def _lengths(table: Table, view: BoardView, *, has_more: bool) -> Markup | None:
    more, fewer = view.view_state.longer(table.name), view.view_state.shorter(table.name)
    of = element("span", f" of: {table.title}", class_="unseen")
    links = [
        element("a", "Show more", of, href=more, data_look=True, id=f"{table.name}-more")
        if has_more and more
        else None,
        element("a", "Show fewer", of, href=fewer, data_look=True, id=f"{table.name}-fewer") if fewer else None,
        f"This page shows {MOST} at most." if has_more and not more else None,
    ]
    return element("p", links, class_="lengths") if any(links) else None


def _heads(table: Table) -> Markup:
    heads = [
        element("th", column, scope="col", class_="number" if column == "Cost" else None) for column in table.columns
    ]
    act = element("th", element("span", "What to do", class_="unseen"), scope="col")
    return element("thead", element("tr", element("th", "Task", scope="col"), heads, act))


def _row(table: Table, task: Task, view: BoardView) -> Markup:
    """A task: a row of figures and a row of details, in a group of their own, so that both move together."""
    creator = task["creator"]["name"] if view.sees_all and task["creator"] is not None else None
    folded = details(task, view.whole.get(task["id"]), view.view_state.opening(task["id"]), creator)
    return element(
        "tbody",
        element("tr", _first(table, task, view), _cells(table, task), _act(table, task, view)),
        element("tr", element("td", folded, colspan=len(table.columns) + 2), class_="more"),
        id=f"task-{task['id']}",
        data_status=task["status"],
    )


def _first(table: Table, task: Task, view: BoardView) -> Markup:
    lead = task["lead"]
    about = " · ".join(filter(None, [lead["fullName"], lead["company"]])) if lead is not None else None
    chosen = _priorities(task) if table.has_priorities and view.may_act and task["canCancel"] else None
    return element(
        "th",
        element("span", task["taskType"], class_="type"),
        " ",
        badge(task["priority"]),
        chosen,
        element("small", about) if about else None,
        scope="row",
    )


def _priorities(task: Task) -> Markup:
    """The priorities to choose from; without scripts only the badge shows."""
    options = [
        element("option", priority.capitalize(), value=priority, selected=priority == task["priority"])
        for priority in PRIORITIES
    ]
    return element(
        "select",
        options,
        aria_label=f"Priority of {name_of(task)}",
        data_task=task["id"],
        data_name=f"{task['taskType']} {short_id(task)}",
        class_=task["priority"].lower(),
    )


def _cells(table: Table, task: Task) -> list[Markup]:
    return [
        element("td", element("div", cell), data_label=column, class_="number" if column == "Cost" else None)
        for column, cell in zip(table.columns, table.cells(task), strict=True)
    ]


def _act(table: Table, task: Task, view: BoardView) -> Markup:
    possible = task["canCancel"] if table.act == "cancel" else task["canRetry"]
    if not (possible and view.may_act):
        return element("td", class_="act")
    button = element(
        "button",
        element("span", table.act.capitalize()),
        element("span", f" {name_of(task)}", class_="unseen"),
        type="button",
        class_="quiet",
        data_act=table.act,
        data_task=task["id"],
        data_name=f"{task['taskType']} {short_id(task)}",
    )
    return element("td", button, class_="act")


def _standing(task: Task) -> list[Child]:
    again = task["status"] == "RETRYING"
    error = element("small", "Last time: ", task["error"], class_="clamp") if again and task["error"] else None
    return [badge(task["status"]), error]


def _ago(when: str) -> Markup:
    return element("time", ago(since(when)), datetime=when, title=moment(when))
