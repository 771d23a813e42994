"""Topics of the AI tasks' WebSocket: a task, a lead's tasks, all tasks of the user, the queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from crm.core import errors

CHANNELS: Final = ("task", "lead", "all", "queue")
_LARGEST_ID: Final = 2**31 - 1
_LONGEST_ID: Final = 100


@dataclass(frozen=True)
class Topic:
    """A topic that a client may follow."""

    channel: str
    id: str | int | None = None

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """The topic in a message `subscribe` or `unsubscribe`."""
        channel, key = message.get("channel"), message.get("id")
        if channel not in CHANNELS:
            text = f"`channel` must be one of {', '.join(CHANNELS)}."
            raise errors.BadUserInput(text, field="channel", known=list(CHANNELS))
        if channel == "task" and not (isinstance(key, str) and 0 < len(key) <= _LONGEST_ID):
            text = "`id` must be the task's id, as text."
            raise errors.BadUserInput(text, field="id")
        if channel == "lead" and not (type(key) is int and 0 < key <= _LARGEST_ID):
            text = "`id` must be the lead's id, a whole number."
            raise errors.BadUserInput(text, field="id")
        if channel in {"all", "queue"} and key is not None:
            text = f"The channel {channel!r} takes no `id`."
            raise errors.BadUserInput(text, field="id")
        return cls(channel, key)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables of the topic's subscription."""
        if self.channel == "task":
            return {"id": self.id}
        return {"leadId": self.id} if self.channel == "lead" else {}

    @property
    def named(self) -> dict[str, Any]:
        """The topic's members in messages."""
        return {"channel": self.channel} if self.id is None else {"channel": self.channel, "id": self.id}

    def message(self, kind: str, member: str, json: bytes) -> tuple[bytes, ...]:
        """A message about the topic, with finished JSON as a member, in parts."""
        start = orjson.dumps({"type": kind, **self.named})
        return b'%s,"%s":' % (start[:-1], member.encode()), json, b"}"


def echoed(message: Mapping[str, Any]) -> dict[str, Any]:
    """The topic's members in a message, valid or not, as far as an error about the message can repeat them."""
    if message.get("type") not in {"subscribe", "unsubscribe"}:
        return {}
    return {name: message[name] for name in ("channel", "id") if _is_repeatable(message.get(name))}


def _is_repeatable(value: object) -> bool:
    return type(value) in {int, float} or (isinstance(value, str) and len(value) <= _LONGEST_ID)
