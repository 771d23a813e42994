r"""Writes cases as rows of COPY's text format: tabs between values, \N for null.

A template of the whole row is made once per text, so that a row costs one `format_map`. Words and facts hold neither
tabs nor backslashes (a test checks that); line breaks are escaped here.
"""

from crm.demo import stories
from crm.demo.cases import Case, Sellers
from crm.demo.dice import Dice
from crm.demo.language import Text
from crm.demo.languages import LANGUAGES
from crm.demo.stories import CONTACTS, OPENINGS
from crm.demo.worktime import WorkTime

NULL = "\\N"

LEAD_COLUMNS = (
    "id, first_name, last_name, email, phone, company, job_title, status, source, budget, currency, location, tags, "
    "owner_id, version, created_at, updated_at, deleted_at"
)
INTERACTION_COLUMNS = "lead_id, type, subject, notes, occurred_at, duration_minutes, created_by, created_at, updated_at"


def escaped(text: str) -> str:
    """A text escaped for COPY."""
    return text.replace("\n", "\\n")


def _interaction_row(kind: str, text: Text) -> str:
    subject, notes = text
    return f"{{lead}}\t{kind}\t{escaped(subject)}\t{escaped(notes)}\t{{at}}\t{{minutes}}\t{{by}}\t{{at}}\t{{at}}\n"


_INTERACTION_ROWS = {
    code: {
        name: tuple(_interaction_row(contact.by.value, text) for text in language.interactions[name])
        for name, contact in (OPENINGS | CONTACTS).items()
    }
    for code, language in LANGUAGES.items()
}


class LeadWriter:
    """Writes leads and their interactions."""

    def __init__(self, dice: Dice, time: WorkTime, sellers: Sellers) -> None:
        self.dice = dice
        self.time = time
        self.sellers = sellers

    def lead(self, case: Case, steps: int) -> str:
        """The row of a lead whose status was changed so many times."""
        dice, stamp = self.dice, self.time.stamp
        person = case.person
        created = stamp(case.created, f":{case.id % 60:02d}")
        updated = stamp(case.last) if case.occasions else created
        deleted = NULL
        if dice.chance(stories.LEADS_DELETED):
            deleted = updated = stamp(case.last + 1 + dice.below(self.time.now - case.last - 1))
        phone = NULL if not case.called and dice.chance(stories.LEADS_WITHOUT_PHONE) else self._phone(case)
        budget, currency = (NULL, NULL) if case.budget is None else (str(case.budget), person.market.currency)
        return (
            f"{case.id}\t{person.first_name}\t{person.last_name}\t{person.email}\t{phone}\t{person.company}\t"
            f"{dice.pick(LANGUAGES[case.language].job_titles)}\t{case.stage.status.value}\t{case.source}\t"
            f"{budget}\t{currency}\t{person.place.name}\t{self._tags(person.trade)}\t"
            f"{case.owner.id if case.owner else NULL}\t{1 + steps + (deleted != NULL)}\t"
            f"{created}\t{updated}\t{deleted}\n"
        )

    def interactions(self, case: Case) -> list[str]:
        """A row for each contact."""
        dice, facts, texts = self.dice, case.facts, _INTERACTION_ROWS[case.language]
        rows = []
        for name, contact, at in case.occasions:
            seller = case.seller
            if dice.chance(stories.CONTACTS_BY_ANOTHER_COLLEAGUE):
                seller = dice.pick(self.sellers[case.language])
            facts["seller"] = seller.first_name
            facts["by"] = seller.id
            facts["at"] = self.time.stamp(at)
            facts["minutes"] = dice.between(*contact.minutes) if contact.minutes else NULL
            rows.append(dice.pick(texts[name]).format_map(facts))
        return rows

    def _phone(self, case: Case) -> str:
        person = case.person
        series = person.place.landline if self.dice.chance(stories.OFFICE_PHONES) else None
        pattern = series or person.market.mobile
        return "".join([self.dice.pick("0123456789") if sign == "#" else sign for sign in pattern])

    def _tags(self, trade: str) -> str:
        """A PostgreSQL array of tags: mostly the trade alone, sometimes none, sometimes one more."""
        count = self.dice.pick(stories.TAG_COUNTS)
        return f"{{{','.join((trade, self.dice.pick(stories.TAGS))[:count])}}}"
