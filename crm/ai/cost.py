"""The cost of a call: as the provider says, else by the price list of `genai-prices`, else unknown, not 0."""

from decimal import Decimal, InvalidOperation
from typing import Final

from genai_prices import Usage, calc_price

# A text usually has a token for every four bytes; with three, code and Swedish are covered as well.
_BYTES_PER_TOKEN: Final = 3
_MOST: Final = Decimal(100_000)


def stated(value: object) -> Decimal | None:
    """The amount that a provider stated, if it is a valid one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < _MOST else None


def estimated(model: str, tokens_in: int | None, tokens_out: int | None, *, address: str) -> Decimal | None:
    """The amount by the price list; None for a server or a model that is not on it."""
    if tokens_in is None or tokens_out is None:
        return None
    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    try:
        return calc_price(usage, model, provider_api_url=address).total_price
    except LookupError:
        return None


def tokens_of(text: str) -> int:
    """About the most tokens that a text can have."""
    return len(text.encode()) // _BYTES_PER_TOKEN + 1
