"""Bars, as one SVG that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LABEL, _BARS, _WIDTH = 250, 400, 760
_OURS, _OTHER, _GOAL = "#2563eb", "#94a3b8", "#dc2626"


@dataclass(frozen=True)
class Bar:
    """One bar; a goal is shown as a red line across it."""

    name: str
    value: float
    text: str
    ours: bool = True
    goal: float | None = None


@dataclass(frozen=True)
class Group:
    """Bars to one scale."""

    title: str
    bars: Sequence[Bar]


def drawn(title: str, groups: Sequence[Group]) -> str:
    """The picture."""
    parts = [_text(10, 20, title, size=14, bold=True)]
    y = 48
    for group in groups:
        parts.append(_text(10, y, group.title, bold=True))
        y += 10
        top = max(max(bar.value, bar.goal or 0) for bar in group.bars)
        for bar in group.bars:
            parts.append(_drawn(bar, y, top))
            y += 22
        y += 26
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y - 14}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#0f172a">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _drawn(bar: Bar, y: int, top: float) -> str:
    width = max(2.0, _BARS * bar.value / top)
    color = _OURS if bar.ours else _OTHER
    label = _text(_LABEL - 10, y + 13, bar.name, end=True)
    shape = f'<rect x="{_LABEL}" y="{y}" width="{width:.0f}" height="16" rx="3" fill="{color}"/>'
    goal, right = "", _LABEL + width
    if bar.goal is not None:
        x = _LABEL + _BARS * bar.goal / top
        right = max(right, x) if x - right < 90 else right
        goal = f'<rect x="{x:.0f}" y="{y - 2}" width="2" height="20" fill="{_GOAL}"/>'
    return label + shape + goal + _text(right + 8, y + 13, bar.text)


def _text(x: float, y: int, text: str, *, size: int = 12, bold: bool = False, end: bool = False) -> str:
    options = (' font-weight="bold"' if bold else "") + (' text-anchor="end" fill="#475569"' if end else "")
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.0f}" y="{y}" font-size="{size}"{options}>{escaped}</text>'


def of_tasks(found: Mapping[str, Any], goals: Mapping[str, float], latency: float, share: float) -> str:
    """The figures of `make bench-tasks`."""
    groups = []
    if calls := found.get("calls"):
        bars = [
            Bar(f"{name}, {history}", one["p95"], f"{one['p95']:.1f} ms", goal=goals[name])
            for history, these in calls.items()
            for name, one in these.items()
        ]
        wanted = ", ".join(f"{goal:.0f}" for goal in goals.values())
        groups.append(Group(f"Calls of the API with 1,000 tasks queued, p95 (goals, in red: {wanted} ms)", bars))
    if waits := found.get("latency"):
        bars = [
            Bar(f"{name}, {key}", one[key], f"{one[key]:.0f} ms", goal=latency if key == "p95" else None)
            for name, one in waits.items()
            for key in ("p50", "p95", "max")
        ]
        groups.append(Group(f"From a change to its subscriber (goal: p95 below {latency} ms)", bars))
    if rates := found.get("rates"):
        bars = [
            Bar(
                name,
                rate,
                f"{rate:,.0f}",
                ours=name.startswith("this"),
                goal=share * rates[_BARE] if name == _OURS_ONE else None,
            )
            for name, rate in rates.items()
        ]
        groups.append(Group("Tasks a second that do nothing (goal: half of procrastinate's bare rate)", bars))
    if waiting := found.get("waiting"):
        bars = [
            Bar(f"this project, {count} worker{'s' if count != '1' else ''}", one["rate"], f"{one['rate']:.0f}")
            for count, one in waiting.items()
        ]
        groups.append(Group("Tasks a second that wait 0.2 s for somebody else", bars))
    return drawn(f"AI tasks, {found['machine']}", groups)


_BARE, _OURS_ONE = "procrastinate alone", "this project"
