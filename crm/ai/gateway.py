"""The gateway to AI providers: a deadline, a budget, a circuit breaker, and a record of every call.

No transaction is open and no connection held while a provider works.
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
from crm.core.language import Phrase

R = TypeVar("R", bound=BaseModel)
log = structlog.get_logger()

_PLAYBOOK_SECONDS: Final = 5.0
_MOST_ATTEMPTS: Final = 4
_BACKOFF_SECONDS: Final = 0.5
# With less time than this left, no other call is made.
_LEAST_SECONDS: Final = 0.05

# If a caller's deadline leaves less of CRM_AI_TIMEOUT_SECONDS than this, a timeout does not count against the provider.
_FAIR_SHARE: Final = 0.9
# After how long to retry when the budget is reserved for calls under way.
_RESERVED_SECONDS: Final = 5.0

_CIRCUIT_OPEN: Final = "CIRCUIT_OPEN"
_BUDGET_SPENT: Final = "BUDGET_SPENT"
_BUDGET_RESERVED: Final = "BUDGET_RESERVED"
_MESSAGES: Final = {
    _CIRCUIT_OPEN: Phrase(
        "The AI provider has failed again and again, and is left alone for a while.",
        "AI-tjänsten har misslyckats gång på gång och får vara i fred en stund.",
    ),
    _BUDGET_SPENT: errors.AiBudgetSpent().phrase,
    _BUDGET_RESERVED: Phrase(
        "What is left of today's AI budget is reserved for questions under way; try again shortly.",
        "Det som är kvar av dagens AI-budget är reserverat för pågående frågor; försök igen om en stund.",
    ),
    Outcome.REFUSED.name: Phrase("The model refused to answer.", "Modellen vägrade svara."),
    Outcome.TRUNCATED.name: Phrase(
        "The model's reply was cut off before its end.", "Modellens svar bröts av före slutet."
    ),
    Outcome.INVALID.name: Phrase("The model's reply could not be understood.", "Modellens svar gick inte att förstå."),
    Outcome.TIMEOUT.name: Phrase("The AI provider did not answer in time.", "AI-tjänsten svarade inte i tid."),
    Outcome.UNREACHABLE.name: Phrase("The AI provider cannot be reached.", "AI-tjänsten går inte att nå."),
    Outcome.RATE_LIMITED.name: Phrase(
        "The AI provider takes no more questions right now.", "AI-tjänsten tar inte emot fler frågor just nu."
    ),
    Outcome.REJECTED.name: Phrase(
        "The AI provider rejects our questions: an admin should look at its key, credit and model.",
        "AI-tjänsten avvisar våra frågor: en administratör bör se över nyckel, kredit och modell.",
    ),
    Outcome.FAILED.name: Phrase("The AI provider answered with an error.", "AI-tjänsten svarade med ett fel."),
}
# Whether a failure shows that the provider answers (though not as hoped); other failures say nothing about it.
_SHOWS_AN_ANSWER: Final = {
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
    """An answer, with its source, its cost and warnings."""

    value: R
    source: AnswerSource
    model: str
    prompt_version: str
    input_hash: str
    # The id of the call that gave the answer (`ai_calls`).
    call_id: UUID
    # The cost of all calls of the question; None if unknown.
    cost: Decimal | None
    # For the user: what was left out of the answer, or that the playbook answered instead.
    warnings: Sequence[str] = ()


@dataclass(eq=False)
class _Inquiry(Generic[R]):
    """One question under way."""

    question: Question[R]
    asker: Asker
    deadline: float
    attempt: int = 0
    cost: Decimal | None = Decimal(0)
    # The caller gives the provider less time than the settings do.
    hurried: bool = False

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - asyncio.get_running_loop().time()

    def charge(self, end: CallEnd) -> None:
        """Add a call's cost; if one is unknown, so is the sum."""
        self.cost = None if self.cost is None or end.cost is None else self.cost + end.cost


class Ai:
    """Asks the provider; one per process."""

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
        """The source that the provider's answers are labelled with."""
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
        """Answer a question, or raise AiUnavailable. Call it outside of any transaction.

        `deadline` is the caller's own, on the event loop's clock, if it may be sooner than CRM_AI_TIMEOUT_SECONDS.
        """
        asker = Asker(new_id(), lead_id, requested_by)
        question = replace(question, requested_by=requested_by)
        inquiry = self._open(question, asker, deadline)
        try:
            return await self._answer_if_admitted(inquiry)
        except errors.AiUnavailable as error:
            if self._fallback is None:
                raise
            log.warning("ai.fallback", purpose=question.purpose, reason=error.details["reason"])
            # The rules take moments: they answer even when the provider has used up the deadline.
            latest = asyncio.get_running_loop().time() + _PLAYBOOK_SECONDS
            fallback_question = _Inquiry(question, asker, latest, inquiry.attempt)
            answer = await self._answer(fallback_question, self._fallback)
            return replace(answer, cost=inquiry.cost, warnings=(error.message, *answer.warnings))

    async def close(self) -> None:
        """Complete the records, and close the connections."""
        await self.calls.close()
        await self.provider.close()

    def _open(self, question: Question[R], asker: Asker, deadline: float | None) -> _Inquiry[R]:
        now = asyncio.get_running_loop().time()
        latest = now + self._timeout
        if deadline is None or deadline > latest:
            return _Inquiry(question, asker, latest)
        return _Inquiry(question, asker, deadline, hurried=deadline < now + self._timeout * _FAIR_SHARE)

    async def _answer_if_admitted(self, inquiry: _Inquiry[R]) -> AiAnswer[R]:
        """Ask the provider unless the circuit is open, and report the outcome to the breaker."""
        if inquiry.left() < _LEAST_SECONDS:
            raise _unavailable(inquiry, Outcome.TIMEOUT.name)
        admitted = self.breaker.enter()
        if admitted is None:
            raise _unavailable(inquiry, _CIRCUIT_OPEN, retry_after=self.breaker.seconds_left())
        answered: bool | None = None
        try:
            answer = await self._answer(inquiry, self.provider)
            answered = True
        except errors.AiUnavailable as error:
            answered = _shows_an_answer(inquiry, error)
            raise
        finally:
            self.breaker.leave(admitted, answered=answered)
        return answer

    async def _answer(self, inquiry: _Inquiry[R], provider: Provider) -> AiAnswer[R]:
        """Call until there is a usable answer, or another call would not help."""
        question = inquiry.question
        while True:
            if inquiry.left() < _LEAST_SECONDS:
                raise _unavailable(inquiry, Outcome.TIMEOUT.name)
            try:
                call, reply, reading = await self._call(inquiry, question, provider)
            except ProviderFailed as failure:
                await _pause(inquiry, failure)
            except Unusable as failure:
                if question.correction is not None or not failure.correctable:
                    raise _unavailable(inquiry, failure.outcome.name, failure.detail) from None
                question = replace(question, correction=Correction(failure.text, failure.problem))
            else:
                return AiAnswer(
                    value=reading.value,
                    source=_source(provider),
                    model=reply.model or provider.model,
                    prompt_version=question.prompt_version,
                    input_hash=inquiry.question.input_hash,
                    call_id=call,
                    cost=inquiry.cost,
                    warnings=tuple(reading.notes),
                )

    async def _call(
        self, inquiry: _Inquiry[R], question: Question[R], provider: Provider
    ) -> tuple[UUID, Reply, ParsedReply[R]]:
        """Make one call; its record is written before and completed after, whatever happens between."""
        inquiry.attempt += 1
        call = new_id()
        clock = asyncio.get_running_loop().time
        began = clock()
        reply, end = Reply(), CallEnd(Outcome.CANCELLED, Reply(), free=True)
        try:
            if not await self.calls.start(call, question, inquiry.asker, inquiry.attempt, provider):
                raise await self._over_budget(inquiry, question, provider)
            end = CallEnd(Outcome.CANCELLED, reply)  # from here on the call may cost something
            reply = await _reply_from(provider, question, inquiry.deadline)
            end = CallEnd(Outcome.OK, reply)
            reading = read(reply, question.reply)
        except ProviderFailed as failure:
            end = CallEnd(failure.outcome, failure.reply, failure.detail, free=failure.free)
            raise
        except Unusable as failure:
            end = CallEnd(failure.outcome, reply, failure.detail)
            raise
        finally:
            inquiry.charge(end)
            if end.outcome not in (Outcome.OK, Outcome.CANCELLED):
                log.warning("ai.call_failed", call=str(call), outcome=end.outcome.value, detail=end.detail)
            await self.calls.complete(call, replace(end, duration=clock() - began), inquiry.deadline)
        return call, reply, reading

    async def _over_budget(
        self, inquiry: _Inquiry[R], question: Question[R], provider: Provider
    ) -> errors.AiUnavailable:
        if await self.calls.will_be_free(provider.most(question), self._timeout):
            return _unavailable(inquiry, _BUDGET_RESERVED, retry_after=_RESERVED_SECONDS)
        return _unavailable(inquiry, _BUDGET_SPENT)


def _source(provider: Provider) -> AnswerSource:
    return AnswerSource.PLAYBOOK if isinstance(provider, PlaybookProvider) else AnswerSource.LLM


async def _reply_from(provider: Provider, question: Question[Any], deadline: float) -> Reply:
    """The provider's reply before the deadline; every failure is raised as ProviderFailed."""
    try:
        async with asyncio.timeout_at(deadline):
            return await provider.complete(question, deadline=deadline)
    except TimeoutError:
        raise ProviderFailed(Outcome.TIMEOUT) from None
    except ProviderFailed:
        raise
    except Exception as error:  # noqa: BLE001  (any failure of a provider must leave the CRM working)
        # The place, but not the message: that may hold anything, even a key.
        where = traceback.format_tb(error.__traceback__)[-3:]
        log.error("ai.provider_broke", provider=provider.name, error=type(error).__name__, where=where)  # noqa: TRY400
        raise ProviderFailed(Outcome.FAILED, type(error).__name__) from None


async def _pause(inquiry: _Inquiry[Any], failure: ProviderFailed) -> None:
    """Wait before calling again; raise if that would not help, or would come too late."""
    wait = failure.retry_after
    if wait is None:
        wait = _BACKOFF_SECONDS * 2 ** (inquiry.attempt - 1) * random.uniform(0.5, 1)  # noqa: S311
    if not failure.again or inquiry.attempt >= _MOST_ATTEMPTS or wait + _LEAST_SECONDS > inquiry.left():
        raise _unavailable(inquiry, failure.outcome.name, failure.detail, failure.retry_after) from None
    await asyncio.sleep(wait)


def _shows_an_answer(inquiry: _Inquiry[Any], error: errors.AiUnavailable) -> bool | None:
    """Whether the provider answers, as a failure shows; None if it does not tell (naming a retry time: busy)."""
    reason = str(error.details["reason"])
    named_a_time = reason == Outcome.RATE_LIMITED.name and "retryAfterSeconds" in error.details
    ran_out = reason == Outcome.TIMEOUT.name and inquiry.hurried
    return None if named_a_time or ran_out else _SHOWS_AN_ANSWER.get(reason)


def _unavailable(
    inquiry: _Inquiry[Any], reason: str, detail: str | None = None, retry_after: float | None = None
) -> errors.AiUnavailable:
    log.warning(
        "ai.unavailable",
        purpose=inquiry.question.purpose,
        reason=reason,
        detail=detail,
        calls=inquiry.attempt,
    )
    later: dict[str, Any] = {} if retry_after is None else {"retryAfterSeconds": math.ceil(retry_after)}
    kind = errors.AiBudgetSpent if reason == _BUDGET_SPENT else errors.AiUnavailable
    return kind(_MESSAGES[reason], reason=reason, **later)
