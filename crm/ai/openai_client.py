"""A client for servers with OpenAI's Chat Completions: OpenRouter, OpenAI, or a server at an address of your own.

The SDK is used for its transport alone. Its retries are off (ours keep to one deadline); its parsing is not used (for a
reply in a code fence it would raise, and the tokens would be lost). The body is parsed here, since it may be anything:
HTTP 200 may hold an error, `choices` may be null, and a proxy may send an error page.
"""

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2
import openai
import orjson
import structlog
from openai.types.chat import ChatCompletionMessageParam

from crm.ai import cost
from crm.ai.prompt import instructions, schema_of, words
from crm.ai.provider import CostSource, Outcome, ProviderFailed, Question, Reply

log = structlog.get_logger()

_OPENAI: Final = "https://api.openai.com/"
_MOST_BYTES: Final = 4 * 1024 * 1024
_PACKINGS: Final = ("gzip", "x-gzip", "deflate")
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_MOST_MESSAGE: Final = 300
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_MOST_TOKENS: Final = 2**31 - 1
_AGAIN: Final = frozenset({408, 409, 425, 429})
_RATE_LIMITED: Final = 429
_SERVER_ERROR: Final = 500
# The statuses of servers without `response_format`: OpenRouter answers 404 when no upstream server has it.
_MAY_BE_FORMAT: Final = frozenset({400, 404, 422, 501})
_MOST_WAIT: Final = 3600.0


@dataclass(frozen=True)
class ModelEndpoint:
    """A server, and its peculiarities."""

    name: str
    address: str
    key: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    # The name of the parameter that limits a reply's tokens: OpenAI's reasoning models refuse the old name, other
    # servers may not know the new name.
    token_limit: str = "max_tokens"  # noqa: S105  (not a password)
    # The address to look prices up by, if not `address`.
    priced_as: str | None = None


def openrouter(
    key: str, *, app_url: str | None = None, app_title: str | None = None, address: str | None = None
) -> ModelEndpoint:
    """OpenRouter: states what a reply cost; picks an upstream server that supports all parameters."""
    optional = {"HTTP-Referer": app_url, "X-OpenRouter-Title": app_title}
    official = "https://openrouter.ai/api/v1"
    return ModelEndpoint(
        "openrouter",
        address or official,
        key,
        headers={name: value for name, value in optional.items() if value},
        extra_body={"provider": {"require_parameters": True}},
        priced_as=official,
    )


def openai_or_compatible(key: str, address: str) -> ModelEndpoint:
    """OpenAI, or the server at this address."""
    official = address.startswith(_OPENAI)
    return ModelEndpoint("openai", address, key, token_limit="max_completion_tokens" if official else "max_tokens")


class OpenAiProvider:
    """Asks a model at an endpoint."""

    def __init__(self, endpoint: ModelEndpoint, model: str, *, max_output_tokens: int) -> None:
        self.name = endpoint.name
        self.model = model
        self._endpoint = endpoint
        self._max_output_tokens = max_output_tokens
        # Whether the server takes a JSON schema for its reply; the first question finds out.
        self._takes_schema = True
        self._client = openai.AsyncOpenAI(
            api_key=endpoint.key,
            base_url=endpoint.address,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity", **endpoint.headers},
            http_client=httpx2.AsyncClient(follow_redirects=False, event_hooks={"response": [_bound]}),
        )

    async def complete(self, question: Question[Any], *, deadline: float) -> Reply:
        """Ask once; twice if the server turns out not to take a schema."""
        if not self._takes_schema:
            return await self._ask(question, deadline, with_schema=False)
        try:
            return await self._ask(question, deadline, with_schema=True)
        except _Refused as refusal:
            if refusal.status not in _MAY_BE_FORMAT:
                raise
        reply = await self._ask(question, deadline, with_schema=False)
        self._takes_schema = False
        return reply

    def most(self, question: Question[Any]) -> Decimal | None:
        """The cost by the price list, for a reply of the most tokens allowed."""
        tokens_in = sum(
            cost.tokens_of(str(message["content"])) for message in self._messages(question, with_schema=False)
        )
        return cost.estimated(self.model, tokens_in, self._limit(question), address=self._priced_as)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _ask(self, question: Question[Any], deadline: float, *, with_schema: bool) -> Reply:
        left = max(0.01, deadline - asyncio.get_running_loop().time())
        extra: dict[str, Any] = {self._endpoint.token_limit: self._limit(question)}
        if with_schema:
            extra |= self._endpoint.extra_body
            extra["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "strict": True, "schema": schema_of(question.reply)},
            }
        try:
            raw = await self._client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=self._messages(question, with_schema=with_schema),
                extra_body=extra,
                timeout=left,
            )
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except openai.APITimeoutError:
            raise ProviderFailed(Outcome.TIMEOUT) from None
        except openai.APIConnectionError as error:
            raise _unreachable(error) from None
        return self._reply(raw.content)

    def _messages(self, question: Question[Any], *, with_schema: bool) -> list[ChatCompletionMessageParam]:
        """The chat messages; `with_schema` says that the request holds the schema, so the instructions omit it."""
        messages: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": instructions(question, with_schema=not with_schema)},
            {"role": "user", "content": words(question)},
        ]
        if question.correction is not None:
            messages += [
                {"role": "assistant", "content": question.correction.text},
                {
                    "role": "user",
                    "content": f"That reply cannot be used: {question.correction.problem}. "
                    "Reply again, with the corrected JSON and nothing else.",
                },
            ]
        return messages

    def _reply(self, content: bytes) -> Reply:
        """Parse the body of an HTTP 200."""
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError:
            raise ProviderFailed(Outcome.FAILED, "the body of the answer is not JSON") from None
        if not isinstance(body, dict):
            raise ProviderFailed(Outcome.FAILED, "the body of the answer is not an object")
        usage = self._usage(body)
        error = body.get("error")
        if error:
            raise self._error_in(error, usage)
        choices = body.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise ProviderFailed(Outcome.FAILED, "the answer holds no choices", again=True, reply=usage)
        if isinstance(choice.get("error"), dict) or choice.get("finish_reason") == "error":
            raise self._error_in(choice.get("error"), usage)
        return Reply(
            text=_text(_content(message.get("content"))),
            model=usage.model,
            finish_reason=_text(choice.get("finish_reason")),
            refusal=_text(message.get("refusal")),
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            cost=usage.cost,
            cost_source=usage.cost_source,
        )

    def _usage(self, body: Mapping[str, Any]) -> Reply:
        """A reply with model, tokens and cost only; even a body with an error may have them."""
        stated_usage = body.get("usage")
        usage = stated_usage if isinstance(stated_usage, dict) else {}
        model = _text(body.get("model")) or self.model
        tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        amount, source = _stated(usage), CostSource.PROVIDER
        if amount is None:
            amount, source = self._estimated(model, tokens_in, tokens_out), CostSource.ESTIMATED
        return Reply(
            model=model,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost=amount,
            cost_source=CostSource.UNKNOWN if amount is None else source,
        )

    def _estimated(self, model: str, tokens_in: int | None, tokens_out: int | None) -> Decimal | None:
        """The price of the model that answered, or of the model that was asked: its name in the answer may differ."""
        estimate = cost.estimated(model, tokens_in, tokens_out, address=self._priced_as)
        return estimate or cost.estimated(self.model, tokens_in, tokens_out, address=self._priced_as)

    def _error_in(self, error: Any, usage: Reply) -> ProviderFailed:
        """The failure for an error in the body of an HTTP 200."""
        status = error.get("code") if isinstance(error, dict) else None
        status = int(status) if isinstance(status, int) or (isinstance(status, str) and status.isdecimal()) else None
        detail = self._detail(error)
        if status is None or status < 100:  # noqa: PLR2004
            return ProviderFailed(Outcome.FAILED, detail, reply=usage)
        return ProviderFailed(_outcome(status), detail, again=_may_pass(status), reply=usage)

    def _refused(self, error: openai.APIStatusError) -> "_Refused":
        status = error.status_code
        return _Refused(
            outcome=_outcome(status),
            detail=f"HTTP {status}: {self._detail(error.body)}",
            again=_may_pass(status),
            retry_after=_retry_after(error.response.headers),
            free=True,
            status=status,
        )

    def _detail(self, error: Any) -> str:
        """An error's type and code, for the record; its message may quote the question, and so a lead's words."""
        kinds: list[str] = []
        while isinstance(error, dict):
            kinds += [kind for name in ("type", "code") if (kind := _identifier(error.get(name)))]
            log.debug("ai.provider_said", text=self._without_key(error.get("message")))
            error = error.get("error")
        if error:
            log.debug("ai.provider_said", text=self._without_key(error))
        return ", ".join(dict.fromkeys(kinds)) or "no code"

    def _without_key(self, text: object) -> str:
        """A provider's message for the log at level debug, without the key, which some servers repeat."""
        return str(text).replace(self._endpoint.key, "[key]")[:_MOST_MESSAGE]

    def _limit(self, question: Question[Any]) -> int:
        wanted = question.max_output_tokens
        return self._max_output_tokens if wanted is None else min(wanted, self._max_output_tokens)

    @property
    def _priced_as(self) -> str:
        return self._endpoint.priced_as or self._endpoint.address


@dataclass(eq=False)
class _Refused(ProviderFailed):
    """An HTTP status other than 2xx."""

    status: int = 0


class _Bounded(httpx2.AsyncByteStream):
    """A body with a limit of bytes that no valid reply reaches: a broken server may send without end.

    A packed body is unpacked here, where its size is known before it is in memory: a thousandth of it may be sent.
    """

    def __init__(self, stream: httpx2.AsyncByteStream, *, packed: bool) -> None:
        self._stream = stream
        self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB) if packed else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _MOST_BYTES
        async for received in self._stream:
            part = received if self._unpacker is None else _unpacked(self._unpacker, received, left + 1)
            left -= len(part)
            if left < 0:
                raise ProviderFailed(Outcome.FAILED, "the body of the answer is too large")
            yield part

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()


def _unpacked(unpacker: "zlib._Decompress", part: bytes, most: int) -> bytes:
    try:
        return unpacker.decompress(part, most)
    except zlib.error:
        raise ProviderFailed(Outcome.FAILED, "the body of the answer cannot be unpacked") from None


async def _bound(response: httpx2.Response) -> None:
    """Bound the body; packed bodies are not asked for, but some proxies send them all the same."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    packing = response.headers.pop("Content-Encoding", "identity").strip().lower()
    if packing not in ("identity", *_PACKINGS):
        raise ProviderFailed(Outcome.FAILED, "the body of the answer is packed in an unknown way")
    response.stream = _Bounded(response.stream, packed=packing in _PACKINGS)


def _outcome(status: int) -> Outcome:
    if status == _RATE_LIMITED:
        return Outcome.RATE_LIMITED
    return Outcome.FAILED if status >= _SERVER_ERROR or status in _AGAIN else Outcome.REJECTED


def _may_pass(status: int) -> bool:
    return status in _AGAIN or status >= _SERVER_ERROR


def _unreachable(error: openai.APIConnectionError) -> ProviderFailed:
    """The failure for a broken connection. Once the question was sent, it may have been answered, and cost money."""
    cause = error.__cause__
    if isinstance(cause, ProviderFailed):
        return cause
    unsent = isinstance(cause, httpx2.ConnectError | httpx2.UnsupportedProtocol | httpx2.ConnectTimeout)
    return ProviderFailed(Outcome.UNREACHABLE, type(cause or error).__name__, again=True, free=unsent)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds until the time in the Retry-After header: a number of seconds, or a date."""
    header = headers.get("retry-after")
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header).astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), _MOST_WAIT) if seconds == seconds else None  # noqa: PLR0124  (NaN)


def _stated(usage: Mapping[str, Any]) -> Decimal | None:
    """The cost that the server states; OpenRouter's is in USD, and for a key of your own the fee alone."""
    amount = cost.stated(usage.get("cost"))
    details = usage.get("cost_details")
    if amount is not None and usage.get("is_byok") is True and isinstance(details, dict):
        amount += cost.stated(details.get("upstream_inference_cost")) or Decimal(0)
    return amount


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _content(content: object) -> object:
    """A message's text; some servers send it in parts, and some parts are the model's reasoning, left out here."""
    if not isinstance(content, list):
        return content
    parts = (part for part in content if isinstance(part, dict) and part.get("type", "text") == "text")
    return "".join(text for part in parts if isinstance(text := part.get("text"), str))


def _identifier(value: object) -> str | None:
    """An error's code or type if it is one word; a sentence might quote the question."""
    text = str(value) if isinstance(value, str | int) else ""
    return text if _IDENTIFIER.fullmatch(text) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
