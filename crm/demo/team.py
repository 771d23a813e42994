"""The sales team of the demo data."""

from dataclasses import dataclass
from uuid import NAMESPACE_DNS, UUID, uuid5

from crm.core.identity import Role
from crm.demo.names import LanguageCode


@dataclass(frozen=True, slots=True)
class Colleague:
    """An employee of Nordvik, the made-up company whose CRM this is."""

    name: str
    email: str
    role: Role
    sells_in: LanguageCode | None = None

    @property
    def id(self) -> UUID:
        """The user's id, the same in every database."""
        return uuid5(NAMESPACE_DNS, self.email)


TEAM = (
    Colleague("Elin Ahlberg", "elin.ahlberg@nordvik.example", Role.ADMIN, "sv"),
    Colleague("Mårten Öqvist", "marten.oqvist@nordvik.example", Role.ADMIN),
    Colleague("Åsa Lindgren", "asa.lindgren@nordvik.example", Role.MEMBER, "sv"),
    Colleague("Johan Bergström", "johan.bergstrom@nordvik.example", Role.MEMBER, "sv"),
    Colleague("Hanna Sjöberg", "hanna.sjoberg@nordvik.example", Role.MEMBER, "en"),
    Colleague("Oliver Whitfield", "oliver.whitfield@nordvik.example", Role.MEMBER, "en"),
    Colleague("Priya Nair", "priya.nair@nordvik.example", Role.MEMBER, "en"),
    Colleague("Göran Äng", "goran.ang@nordvik.example", Role.VIEWER),
)
