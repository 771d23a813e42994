"""Whether a text is Swedish or English, by its small words."""

import re

from tests.ai.evals.wordlists import word_set

_SWEDISH = word_set("""
    och att det som är på av för inte med har om till sedan eller när den du de kan ska bli utan hos efter från senaste
    dagar ring skicka boka följ upp fråga offerten hen hon han där hur vad vem vilken fram i en ett era er ni vi oss så
    än nu igen mejla skriv hör ta men inget ingen hade var blev vill mot under över mellan samtalet mötet kontakt nästa
    steg kontakta uppgift planerad öppen försök återkom stäm läs be möte samtal leadet kunden gå igenom planera förbered
    svara beslut besked""")
_ENGLISH = word_set("""
    the and to of is was with for has have since you it that this not or when by from their they are be days call send
    book ask follow proposal lead at on we our them his her who what how before after about without last next step
    contact no an been yet there were will would should can made get plan prepare reply answer""")
_WORD = re.compile(r"[^\W\d_]+")


def hits(text: str) -> tuple[int, int]:
    """How many Swedish and how many English small words there are."""
    said = [word.lower() for word in _WORD.findall(text)]
    return sum(word in _SWEDISH for word in said), sum(word in _ENGLISH for word in said)


def complaint(text: str, language: str) -> str | None:
    """What is wrong with the language of a text; `any` wants one of the two, unmixed."""
    swedish, english = hits(text)
    if swedish + english == 0:
        return None if len(_WORD.findall(text)) < 6 else "is in no language we know"
    found = "sv" if swedish >= english else "en"
    if language not in ("any", found):
        return f"is in {found}, not in {language}"
    mixed = min(swedish, english) / (swedish + english)
    return "mixes two languages" if mixed > 0.3 else None
