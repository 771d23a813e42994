"""The one way to ask: within a deadline, a budget and a circuit breaker; every call on record.

No transaction is open and no connection held while a provider thinks.
"""

import asyncio
import math
import random
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import structlog
from pydantic import BaseModel

from crm.ai.breaker import Breaker
from crm.ai.calls import Asker, CallEnd, Calls, new_id
from crm.ai.playbook import PlaybookProvider
from crm.ai.provider import Correction, Outcome, Provider, ProviderFailed, Question, Reply
from crm.ai.replies import ParsedReply, Unusable, read
from crm.core import errors
from crm.core.choice import Choice

R = TypeVar("R", bound=BaseModel)
log = structlog.get_logger()

_PLAYBOOK_SECONDS: Final = 1.0
_MOST_ATTEMPTS: Final = 4
_BACKOFF_SECONDS: Final = 0.5
# Less time than this is not worth another call.
_LEAST_SECONDS: Final = 0.05

# A caller who leaves the provider less of CRM_AI_TIMEOUT_SECONDS than this learns nothing about it by waiting in vain.
_FAIR_SHARE: Final = 0.9
# What is reserved for calls under way is worth waiting for so long.
_RESERVED_SECONDS: Final = 5.0

_CIRCUIT_OPEN: Final = "CIRCUIT_OPEN"
_BUDGET_SPENT: Final = "BUDGET_SPENT"
_BUDGET_RESERVED: Final = "BUDGET_RESERVED"
_MESSAGES: Final = {
    _CIRCUIT_OPEN: "The AI provider has failed again and again, and is left alone for a while.",
    _BUDGET_SPENT: errors.AiBudgetSpent().message,
    _BUDGET_RESERVED: "What is left of today's AI budget is reserved for questions under way; try again shortly.",
    Outcome.REFUSED.name: "The model refused to answer.",
    Outcome.TRUNCATED.name: "The model's reply was cut off before its end.",
    Outcome.INVALID.name: "The model's reply could not be understood.",
    Outcome.TIMEOUT.name: "The AI provider did not answer in time.",
    Outcome.UNREACHABLE.name: "The AI provider cannot be reached.",
    Outcome.RATE_LIMITED.name: "The AI provider takes no more questions right now.",
    Outcome.REJECTED.name: "The AI provider rejects our questions: an admin should look at its key, credit and model.",
    Outcome.FAILED.name: "The AI provider answered with an error.",
}
# What a failure says about the provider: it answers (though not as hoped), or it does not. Of others: nothing.
_SAYS_OF_PROVIDER: Final = {
    **dict.fromkeys((Outcome.REFUSED.name, Outcome.TRUNCATED.name, Outcome.INVALID.name), True),
    **dict.fromkeys(
        (
            Outcome.TIMEOUT.name,
            Outcome.UNREACHABLE.name,
            Outcome.RATE_LIMITED.name,
            Outcome.REJECTED.name,
            Outcome.FAILED.name,
        ),
        False,
    ),
}


class AnswerSource(Choice):
    """Where an answer came from."""

    LLM = "llm", "A language model."
    PLAYBOOK = "playbook", "The built-in rules."


@dataclass(frozen=True, slots=True)
class AiAnswer(Generic[R]):
    """An answer, and what there is to know about it."""

    value: R
    source: AnswerSource
    model: str
    prompt_version: str
    input_hash: str
    # The record of the call that gave it (`ai_calls`).
    call_id: UUID
    # What the whole question cost, all its calls; None: unknown.
    cost: Decimal | None
    # For the user: what was left out of the answer, or who answered in whose place.
    warnings: Sequence[str] = ()


@dataclass(eq=False)
class _Asking(Generic[R]):
    """One question under way."""

    question: Question[R]
    asker: Asker
    deadline: float
    attempt: int = 0
    cost: Decimal | None = Decimal(0)
    # The caller gives the provider less time than the settings do.
    hurried: bool = False

    def left(self) -> float:
        """Seconds until its deadline."""
        return self.deadline - asyncio.get_running_loop().time()

    def charge(self, end: CallEnd) -> None:
        """Add what a call cost; unknown and anything is unknown."""
        self.cost = None if self.cost is None or end.cost is None else self.cost + end.cost


class Ai:
    """Asks the provider; one for a process."""

    def __init__(
        self,
        provider: Provider,
        calls: Calls,
        *,
        timeout: float,
        breaker: Breaker | None = None,
        fallback: Provider | None = None,
    ) -> None:
        self.provider = provider
        self.calls = calls
        self.breaker = breaker or Breaker()
        self._timeout = timeout
        self._fallback = fallback

    @property
    def source(self) -> AnswerSource:
        """What the provider's answers are labelled as."""
        return _source(self.provider)

    @property
    def falls_back(self) -> bool:
        """Whether the playbook answers when the provider cannot."""
        return self._fallback is not None

    async def ask(
        self,
        question: Question[R],
        *,
        lead_id: int | None = None,
        requested_by: UUID | None = None,
        deadline: float | None = None,
    ) -> AiAnswer[R]:
        """The answer to a question, or AI_UNAVAILABLE. Call it outside of any transaction.

        `deadline` is the caller's own, on the event loop's clock, if it may be sooner than CRM_AI_TIMEOUT_SECONDS.
        """
        asker = Asker(new_id(), lead_id, requested_by)
        asking = self._begun(question, asker, deadline)
        try:
            return await self._guarded(asking)
        except errors.AiUnavailable as error:
            if self._fallback is None:
                raise
            log.warning("ai.fallback", purpose=question.purpose, reason=error.details["reason"])
            # The rules take no time to speak of: they answer even when the provider has used up the deadline.
            latest = asyncio.get_running_loop().time() + _PLAYBOOK_SECONDS
            again = _Asking(question, asker, latest, asking.attempt)
            found = await self._answer(again, self._fallback)
            return replace(found, cost=asking.cost, warnings=(error.message, *found.warnings))

    async def close(self) -> None:
        """Finish the records, and let go of connections."""
        await self.calls.close()
        await self.provider.close()

    def _begun(self, question: Question[R], asker: Asker, deadline: float | None) -> _Asking[R]:
        now = asyncio.get_running_loop().time()
        latest = now + self._timeout
        if deadline is None or deadline > latest:
            return _Asking(question, asker, latest)
        return _Asking(question, asker, deadline, hurried=deadline < now + self._timeout * _FAIR_SHARE)

    async def _guarded(self, asking: _Asking[R]) -> AiAnswer[R]:
        """Ask the provider, unless the circuit is open; and tell the breaker how it went."""
        if asking.left() < _LEAST_SECONDS:
            raise _unavailable(asking, Outcome.TIMEOUT.name)
        admitted = self.breaker.enter()
        if admitted is None:
            raise _unavailable(asking, _CIRCUIT_OPEN, retry_after=self.breaker.seconds_left())
        answered: bool | None = None
        try:
            found = await self._answer(asking, self.provider)
            answered = True
        except errors.AiUnavailable as error:
            answered = _said_of_provider(asking, error)
            raise
        finally:
            self.breaker.leave(admitted, answered=answered)
        return found

    async def _answer(self, asking: _Asking[R], provider: Provider) -> AiAnswer[R]:
        """Call until there is a usable answer, or no point in calling again."""
        question = asking.question
        while True:
            if asking.left() < _LEAST_SECONDS:
                raise _unavailable(asking, Outcome.TIMEOUT.name)
            try:
                call, reply, reading = await self._call(asking, question, provider)
            except ProviderFailed as failure:
                await _pause(asking, failure)
            except Unusable as failure:
                if question.correction is not None or not failure.correctable:
                    raise _unavailable(asking, failure.outcome.name, failure.detail) from None
                question = replace(question, correction=Correction(failure.text, failure.problem))
            else:
                return AiAnswer(
                    value=reading.value,
                    source=_source(provider),
                    model=reply.model or provider.model,
                    prompt_version=question.prompt_version,
                    input_hash=asking.question.input_hash,
                    call_id=call,
                    cost=asking.cost,
                    warnings=tuple(reading.notes),
                )

    async def _call(
        self, asking: _Asking[R], question: Question[R], provider: Provider
    ) -> tuple[UUID, Reply, ParsedReply[R]]:
        """One call and its record: written before, completed after, whatever happens in between."""
        asking.attempt += 1
        call = new_id()
        clock = asyncio.get_running_loop().time
        began = clock()
        reply, end = Reply(), CallEnd(Outcome.CANCELLED, Reply(), free=True)
        try:
            if not await self.calls.start(call, question, asking.asker, asking.attempt, provider):
                raise await self._over_budget(asking, question, provider)
            end = CallEnd(Outcome.CANCELLED, reply)  # from here on somebody may be at work
            reply = await _completed(provider, question, asking.deadline)
            end = CallEnd(Outcome.OK, reply)
            reading = read(reply, question.reply)
        except ProviderFailed as failure:
            end = CallEnd(failure.outcome, failure.reply, failure.detail, free=failure.free)
            raise
        except Unusable as failure:
            end = CallEnd(failure.outcome, reply, failure.detail)
            raise
        finally:
            asking.charge(end)
            if end.outcome not in (Outcome.OK, Outcome.CANCELLED):
                log.warning("ai.call_failed", call=str(call), outcome=end.outcome.value, detail=end.detail)
            await self.calls.complete(call, replace(end, duration=clock() - began), asking.deadline)
        return call, reply, reading

    async def _over_budget(self, asking: _Asking[R], question: Question[R], provider: Provider) -> errors.AiUnavailable:
        if await self.calls.will_be_free(provider.most(question), self._timeout):
            return _unavailable(asking, _BUDGET_RESERVED, retry_after=_RESERVED_SECONDS)
        return _unavailable(asking, _BUDGET_SPENT)


def _source(provider: Provider) -> AnswerSource:
    return AnswerSource.PLAYBOOK if isinstance(provider, PlaybookProvider) else AnswerSource.LLM


async def _completed(provider: Provider, question: Question[Any], deadline: float) -> Reply:
    """The provider's reply before the deadline, and nothing but ProviderFailed otherwise."""
    try:
        async with asyncio.timeout_at(deadline):
            return await provider.complete(question, deadline=deadline)
    except TimeoutError:
        raise ProviderFailed(Outcome.TIMEOUT) from None
    except ProviderFailed:
        raise
    except Exception as error:  # noqa: BLE001  (whatever broke, the CRM goes on)
        # Where, but not what it says: that may be anything, a key too.
        where = traceback.format_tb(error.__traceback__)[-3:]
        log.error("ai.provider_broke", provider=provider.name, error=type(error).__name__, where=where)  # noqa: TRY400
        raise ProviderFailed(Outcome.FAILED, type(error).__name__) from None


async def _pause(asking: _Asking[Any], failure: ProviderFailed) -> None:
    """Wait before calling again; give up if that would not help, or not in time."""
    wait = failure.retry_after
    if wait is None:
        wait = _BACKOFF_SECONDS * 2 ** (asking.attempt - 1) * random.uniform(0.5, 1)  # noqa: S311
    if not failure.again or asking.attempt >= _MOST_ATTEMPTS or wait + _LEAST_SECONDS > asking.left():
        raise _unavailable(asking, failure.outcome.name, failure.detail, failure.retry_after) from None
    await asyncio.sleep(wait)


def _said_of_provider(asking: _Asking[Any], error: errors.AiUnavailable) -> bool | None:
    """Whether it works, as a failure shows; None if it does not: a provider that names a time is busy, not broken."""
    reason = str(error.details["reason"])
    named_a_time = reason == Outcome.RATE_LIMITED.name and "retryAfterSeconds" in error.details
    ran_out = reason == Outcome.TIMEOUT.name and asking.hurried
    return None if named_a_time or ran_out else _SAYS_OF_PROVIDER.get(reason)


def _unavailable(
    asking: _Asking[Any], reason: str, detail: str | None = None, retry_after: float | None = None
) -> errors.AiUnavailable:
    log.warning("ai.unavailable", purpose=asking.question.purpose, reason=reason, detail=detail, calls=asking.attempt)
    later = {} if retry_after is None else {"retryAfterSeconds": math.ceil(retry_after)}
    kind = errors.AiBudgetSpent if reason == _BUDGET_SPENT else errors.AiUnavailable
    return kind(_MESSAGES[reason], reason=reason, **later)
