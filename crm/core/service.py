"""The base of every service."""

from crm.core.unit import Unit


class Service:
    """Domain verbs over one unit of work. Reads are static and return statements; writes use the unit."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.viewer = unit.viewer
