"""Whether AI tasks get done: a word and a status for load balancers, numbers for those with a token."""

from typing import Any, Final

import orjson

from crm.core import errors
from crm.graph.answer import Answer
from crm.rest.shown import Shown

# With somebody at work, a task waits this long only if there is too much of it; with nobody, something is broken.
_PATIENCE_MS: Final = 60_000


def health(answer: Answer, known: bool) -> Shown:  # noqa: FBT001  (whether somebody with a token asks)
    """200 as long as tasks get done, at once or late; 503 when they do not."""
    if answer.refused or not answer.parts:
        return _shown("down", ["The database cannot be reached."], {}, known=known)
    found = {key: orjson.loads(part) for key, part in answer.parts}
    queue, provider = found["aiTaskQueueStatus"], found["aiStatus"]
    if queue is None:
        return _shown("down", ["The queue cannot be read."], {}, known=known)
    broken, worrying = _broken(queue), _worrying(queue, provider)
    word = "down" if broken else "degraded" if worrying else "ok"
    more = {"queue": queue, "provider": provider}
    return _shown(word, broken + worrying, more, known=known)


def _broken(queue: dict[str, Any]) -> list[str]:
    late = (queue["oldestWaitingMs"] or 0) > _PATIENCE_MS
    if late and queue["workers"] == 0:
        return ["Tasks wait, and no worker is alive: start `crm worker`."]
    if late and queue["running"] == 0:
        return ["Tasks wait, and none runs: look at the worker's log."]
    return []


def _worrying(queue: dict[str, Any], provider: dict[str, Any] | None) -> list[str]:
    found = []
    if queue["workers"] == 0:
        found.append("No worker is alive.")
    if queue["running"] and (queue["oldestWaitingMs"] or 0) > _PATIENCE_MS:
        found.append("Tasks wait for more than a minute: more workers would help.")
    if provider is not None and not provider["healthy"]:
        found.append("The AI provider does not answer, or the day's budget is used up.")
    return found


def _shown(word: str, reasons: list[str], more: dict[str, Any], *, known: bool) -> Shown:
    """Those without a token see the word."""
    status = errors.Unavailable.status if word == "down" else 200
    return Shown(status, orjson.dumps({"status": word, **({"reasons": reasons, **more} if known else {})}))
