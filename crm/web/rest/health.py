"""The health of AI tasks: a word and a status for load balancers, figures for requests with a token."""

from typing import Any, Final

import orjson

from crm.core import errors
from crm.graph.run.answers import Answer
from crm.web.rest.answers import RestAnswer

# A task that waits for so long means too many tasks if some run, and a fault if none does.
_LATE_MS: Final = 60_000
_NAMES: Final = {"aiTaskQueueStatus": "queue", "aiStatus": "provider"}


def health(answer: Answer, visible: frozenset[str] | None) -> RestAnswer:
    """200 while tasks are completed, in time or late; 503 when they are not."""
    if answer.refused or not answer.parts:
        return _answer("down", ["The database cannot be reached."], {}, visible)
    data = {key: orjson.loads(part) for key, part in answer.parts}
    queue, provider = data["aiTaskQueueStatus"], data["aiStatus"]
    if queue is None:
        return _answer("down", ["The queue cannot be read."], {}, visible)
    broken, worrying = _broken(queue), _worrying(queue, provider)
    return _answer("down" if broken else "degraded" if worrying else "ok", broken + worrying, data, visible)


def _broken(queue: dict[str, Any]) -> list[str]:
    late = (queue["oldestWaitingMs"] or 0) > _LATE_MS
    if late and queue["workers"] == 0:
        return ["Tasks wait, and no worker is alive: start `crm worker`."]
    if late and queue["running"] == 0:
        return ["Tasks wait, and none runs: look at the worker's log."]
    return []


def _worrying(queue: dict[str, Any], provider: dict[str, Any] | None) -> list[str]:
    reasons = []
    if queue["workers"] == 0:
        reasons.append("No worker is alive.")
    if queue["running"] and (queue["oldestWaitingMs"] or 0) > _LATE_MS:
        reasons.append("Tasks wait for more than a minute: more workers would help.")
    if provider is not None and not provider["healthy"]:
        reasons.append("The AI provider does not answer, or the day's budget is used up.")
    return reasons


def _answer(word: str, reasons: list[str], data: dict[str, Any], visible: frozenset[str] | None) -> RestAnswer:
    """The word; with a token also the reasons, and the figures that the viewer's role may see."""
    status = errors.Unavailable.status if word == "down" else 200
    if visible is None:
        return RestAnswer(status, orjson.dumps({"status": word}))
    members = {name: data[key] for key, name in _NAMES.items() if key in data and key in visible}
    return RestAnswer(status, orjson.dumps({"status": word, "reasons": reasons, **members}))
