"""The languages of the demo data."""

from typing import Final

from crm.demo.english import ENGLISH
from crm.demo.language import DemoLanguage
from crm.demo.names import LanguageCode
from crm.demo.swedish import SWEDISH

LANGUAGES: Final[dict[LanguageCode, DemoLanguage]] = {"sv": SWEDISH, "en": ENGLISH}
