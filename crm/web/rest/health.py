"""Whether AI tasks get done: a word and a status for load balancers, numbers for those with a token."""

from typing import Any, Final

import orjson

from crm.core import errors
from crm.graph.run.answers import Answer
from crm.web.rest.answers import RestAnswer

# With somebody at work, a task waits this long only if there is too much of it; with nobody, something is broken.
_PATIENCE_MS: Final = 60_000
_NAMES: Final = {"aiTaskQueueStatus": "queue", "aiStatus": "provider"}


def health(answer: Answer, seen: frozenset[str] | None) -> RestAnswer:
    """200 as long as tasks get done, at once or late; 503 when they do not."""
    if answer.refused or not answer.parts:
        return _shown("down", ["The database cannot be reached."], {}, seen)
    found = {key: orjson.loads(part) for key, part in answer.parts}
    queue, provider = found["aiTaskQueueStatus"], found["aiStatus"]
    if queue is None:
        return _shown("down", ["The queue cannot be read."], {}, seen)
    broken, worrying = _broken(queue), _worrying(queue, provider)
    return _shown("down" if broken else "degraded" if worrying else "ok", broken + worrying, found, seen)


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


def _shown(word: str, reasons: list[str], found: dict[str, Any], seen: frozenset[str] | None) -> RestAnswer:
    """Those without a token see the word, others why, and the numbers that their role may see."""
    status = errors.Unavailable.status if word == "down" else 200
    if seen is None:
        return RestAnswer(status, orjson.dumps({"status": word}))
    more = {name: found[key] for key, name in _NAMES.items() if key in found and key in seen}
    return RestAnswer(status, orjson.dumps({"status": word, "reasons": reasons, **more}))
