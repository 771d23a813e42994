"""Phone numbers: two are the same if their national numbers are, unless both name a country, and not the same one."""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, func, true, type_coerce
from sqlalchemy.types import Text

from crm.sales.leads.model import Lead


def has_phone(number: Any, lead: Any = Lead) -> ColumnElement[bool]:
    """Whether a lead has this number, however it is spelled."""
    number = type_coerce(number, Text)
    same = func.crm_phone(lead.phone) == func.crm_phone(number)
    return and_(same, lead.phone.is_not(None), func.coalesce(_country(lead.phone) == _country(number), true()))


def names_same_country(number: Any) -> ColumnElement[bool]:
    """Whether a lead's number names the country that this one names, so that the lead comes first."""
    return func.coalesce(_country(Lead.phone) == _country(type_coerce(number, Text)), false())


def _country(number: Any) -> ColumnElement[str | None]:
    """The digits before the national number (`46`, without the zeros at their end), if a country is named."""
    digits = func.regexp_replace(func.substring(number, "[+0-9][^[:alpha:]]*"), "[^+0-9]", "", "g")
    before = func.left(digits, func.length(digits) - func.length(func.crm_phone(number)))
    return case((digits.regexp_match(r"^(\+|00)"), func.rtrim(func.ltrim(before, "+0"), "0")))
