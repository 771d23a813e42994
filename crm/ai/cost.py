"""What a call costs: as the provider says, else by the list of prices in `genai-prices`, else unknown; never 0."""

from decimal import Decimal, InvalidOperation
from typing import Final

from genai_prices import Usage, calc_price

# Tokens for a text: a quarter of its bytes as a rule; this is what it takes at most, code and Swedish included.
_BYTES_PER_TOKEN: Final = 3
_MOST: Final = Decimal(100_000)


def stated(value: object) -> Decimal | None:
    """An amount that a provider gave."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < _MOST else None


def estimated(model: str, tokens_in: int | None, tokens_out: int | None, *, address: str) -> Decimal | None:
    """An amount by the list of prices; None for a server or model that is not on it."""
    if tokens_in is None or tokens_out is None:
        return None
    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    try:
        return calc_price(usage, model, provider_api_url=address).total_price
    except LookupError:
        return None


def tokens_of(text: str) -> int:
    """How many tokens a text takes at most, about."""
    return len(text.encode()) // _BYTES_PER_TOKEN + 1
