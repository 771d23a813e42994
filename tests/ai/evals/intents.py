"""What a suggestion is about, told by its words, in English and Swedish.

Read a line as "this intent is there when one of these is said". `near(verbs, things)` wants a verb and, within a few
words, a thing; `barred` are words that, between the two, change the meaning ("write to her about the proposal" does
not send one). Negated clauses ("do not call", "kontakta inte") are taken out first.
"""

# ruff: noqa: E501, ISC004  -- a set of words is read as one line

import re
from functools import cache

_NEGATED = re.compile(
    r"\b(?:do not|don.t|never|without|no longer|instead of|rather than|inte|aldrig|utan att|i stället för)\b"
    r"[^.,;:!?\n]*"
    r"|\b\w+\s+(?:inte|aldrig)\b[^.,;:!?\n]*"
    r"|\bno\s+\w+|\b(?:whether|if) we may\b[^.,;:!?\n]*|\bom vi får\b[^.,;:!?\n]*",
    re.IGNORECASE,
)


def near(verbs: str, things: str, gap: int = 6, barred: str = "") -> str:
    guard = rf"(?!(?:{barred})\b)" if barred else ""
    return rf"\b(?:{verbs})\b\W+(?:{guard}[\w'.,&-]+\W+){{0,{gap}}}?(?:{things})(?!\w)"


_BOOK = (
    "book|schedule|arrange|set up|propose|suggest|invite|ask for|agree on|offer|boka|boka in|föreslå|bjud in|planera in"
)
_ASK = "ask|find out|clarify|map|establish|understand|learn|discuss|go through|fråga|ta reda på|kartlägg|klargör|förstå"
_ASK += "|red ut|hör|gå igenom|stäm av|reda ut|check|confirm|get|få fram"
_CHASE = "follow up|following up|chase|check|call|ring|phone|ask|hear|mejla|följ upp|stäm av|hör|fråga|påminn|remind"
_CHASE += "|kontakta|contact|discuss|go through|gå igenom|genomgång|nudge|begär|e-mail|email|talk|tala|prata"
_CHASE += "|get|få|invite|book|boka|bjud in|review"
_PROPOSAL = r"proposal|quote|quotation|(?:the|our|your|an|your) offer|offert(?:en)?|prisförslag(?:et)?|anbud(?:et)?"

INTENTS: dict[str, tuple[str, ...]] = {
    "call": (
        r"(?<!the )(?<!a )(?<!last )(?<!first )(?<!this )(?<!missed )(?<!needs )(?<!phone )(?<!our )(?<!your )"
        r"(?<!previous )(?<!that )(?<!intro )(?<!latest )(?<!earlier )(?<!per )(?<!since )(?<!after )\bcall(?!\w)",
        near(_BOOK + "|have|make|take|plan", "(?:phone )?call", 4),
        r"\bring\b",
        r"\b(?:phone|telephone)\b(?=\s+(?-i:[A-ZÅÄÖ¤]))",
        near("boka|ta|planera|föreslå", r"(?:telefon)?samtal", 4),
        r"\b(?:by|per|via|på) (?:phone|telefon)\b",
    ),
    "email": (
        r"(?:^|[.;:,!?]\s*|\b(?:and|then|please)\s+)e-?mail\b(?!\s+(?:address|or\b|and\b))",
        near(
            "send|write|skicka|skriv|draft",
            r"e-?mail|mail|mejl|e-brev|rader|lines|note|material\w*|information\w*|presentation\w*|kundexempel|case|"
            r"reply|svar|påminnelse|reminder|message",
            6,
        ),
        r"\b(?:by|via|per|with an?|med ett) (?:short |kort )?(?:e-?mail|mejl|e-post)\b",
        r"\bmejla\b|\b(?:write|skriv)(?: \w+){0,2} (?:to|till)\b|\b(?:reply|svara)\b",
    ),
    "message": (
        r"\bsms\b|\btext message\b",
        near("send|skicka|skriv|leave|write|drop", "message|meddelande", 4),
        near("message|write|skriv|contact|kontakta|svara|reply|reach", "LinkedIn", 8),
    ),
    "follow_up": (
        r"\bfollow(?:ing)?[- ]?up|\bfölj(?:a)? upp|\buppfölj|\bget back (?:to|in touch)\b|\båterkoppla|\båterkom\b|\bpick (?:it )?up\b",
        r"\bpåminn|\bremind|\bre-?connect|\bväck|\brevive|\bresume|\båteruppta|\bcatch up|\bhör(?:a)? av|\bnudge",
        r"\b(?:call|contact|e-?mail|ring|kontakta|sök|mejla)\b[^.;]{0,40}\b(?:again|igen)\b|\bre-?engage",
    ),
    "first_contact": (
        near(
            "make|take|do|have|plan|book|ta|gör|boka|planera|ring", r"(?:the |den |ett |det )?(?:first|första) \w+", 3
        ),
        r"\bintroduce (?:yourself|us|our)|\bpresentera (?:dig|oss|er)|\bfor the first time|\bför första gången",
    ),
    "book_meeting": (
        near(_BOOK, r"meeting|workshop|session|review|\w*möte\w*|träff\w*|genomgång\w*|tider|times|time to meet|visit"),
        r"\bmeet (?:with )?(?=(?-i:[A-ZÅÄÖ¤]))|\bträffa\b",
    ),
    "book_demo": (
        near(_BOOK + "|show|give|run|visa|håll|erbjud|demonstrate", r"demo\w*|visning\w*|walk-?through|live"),
        r"\bvisa\b[^.;]{0,30}\bsystemet\b",
    ),
    "prepare_demo": (
        near("prepare|build|förbered|rehearse|get ready for|plan|planera", r"demo\w*|visning\w*|meeting|\w*möte\w*"),
    ),
    "prepare_meeting": (near("prepare|förbered|get ready for|plan", r"meeting|\w*möte\w*|agenda|visit"),),
    "qualify": (
        near(
            _ASK,
            r"budget\w*|needs?|behov\w*|time ?line|time frame|decid\w+|decision\w*|beslut\w*|requirements?|krav|users|"
            r"användare|process|tids?plan\w*|how they work|hur de arbetar|ram(?:en)?|what they|vad de|which",
            12,
        ),
        r"\bqualify\b|\bkvalificera|\bbehovs(?:genomgång|möte|analys)|\bneeds (?:call|meeting|analysis)",
    ),
    "send_information": (
        near(
            "send|share|e-?mail|skicka|mejla|dela|prepare|förbered",
            r"information\w*|material\w*|presentation\w*|case|examples?|kundexempel|exempel|guide\w*|brochure|answers?|"
            r"svar\w*|document\w*|dokument\w*|security|säkerhet\w*|overview|översikt\w*|example",
            8,
        ),
    ),
    "answer_question": (
        r"(?<!the )(?<!an )(?<!an early )(?<!for )(?<!awaiting )\b(?:answer|reply|respond)\b|\bsvara\b|\bbesvara\b",
        near("address|take up|ge|give|send|skicka", r"answers?|svar(?:en|et)?"),
    ),
    "send_proposal": (
        near(
            "send|write|draft|prepare|submit|put together|create|present|make|renew|update|skicka|skriv|ta fram|lämna|"
            "upprätta|förbered|presentera|gör|förnya|uppdatera",
            _PROPOSAL,
            6,
            barred="to|about|on|regarding|om|kring|angående|påminnelse|reminder|follow|follow-up|whether|if|ask|fråga|"
            "question|questions|frågor|answer|svar|hör|före|before|inför|after|efter",
        ),
    ),
    "chase_decision": (
        near(_CHASE, _PROPOSAL, 12, barred="write|draft|prepare|ta fram|upprätta|skriv"),
        rf"\b(?:write|skriv|send|skicka)\b[^.;]{{0,60}}\b(?:about|om|on|regarding|angående|kring)\W+(?:\w+\W+){{0,3}}"
        rf"(?:{_PROPOSAL})(?!\w)",
        near(
            "ask|get|call|ring|fråga|få|hör|chase|follow up|följ upp|stäm av|begär|check|invänta|hear",
            r"besked\w*|beslutet|(?:the|a|their|his|her) decision|verdict",
            10,
            barred="who|vem|how|hur|process|maker|when they",
        ),
        rf"\b(?:{_PROPOSAL})\b[^.;]{{0,60}}\b(?:follow-?up|uppföljning|hör|ring|fråga|call|ask|chase)\b",
    ),
    "chase_signature": (
        near(_CHASE, r"sign\w*|contract|agreement|underskrift\w*|avtal(?:et)?|skriva under|signera\w*|påskrift\w*", 12),
    ),
    "negotiate": (
        r"\bnegotiat|\bförhandla|\bvillkor|\bterms\b|\binstal|\bpayment|\bbetalning|\bdelbetal|\bupplägg|\bscope\b",
        r"\bomfattning|\bprice\b|\bpriset\b|\bpricing\b|\bvalue\b|\bvärdet\b|\bobjection|\binvändning",
    ),
    "discount": (
        r"\bdiscount|\brabatt|%\s*off\b|\bprice cut|\bsänk\w* priset|\bprissänk|\b(?:lower|reduce|cut) (?:the|our) price",
        r"\bfor free\b|\bfree of charge|\bgratis\b|\bkostnadsfri",
    ),
    "involve_decider": (
        near(
            "involve|include|invite|bring|meet|get|contact|call|talk|speak|reach|ring|kontakta|ta med|få med|bjud in|tala|"
            "prata|involvera|koppla in|nå|träffa|ask for|identify|introduce|ta reda på|fråga|find out",
            r"decision.?makers?|decider|boss|\w*chef(?:en)?|beslutsfattar\w*|den som beslutar|vem som beslutar|"
            r"who decides|whoever decides|those who decide|CFO|director|board|ledning\w*|styrelse\w*",
            10,
        ),
    ),
    "send_summary": (
        near(
            "send|write|share|skicka|skriv|mejla|e-?mail",
            r"summary|recap|minutes|notes|\w*sammanfattning\w*|anteckning\w*|next steps?|nästa steg",
            7,
        ),
        r"\bsummari[sz]e\b|\bsammanfatta\b",
    ),
    "find_reference": (r"\breference\b|\breferens\w*|\breferences\b",),
    "onboard": (
        near(
            "plan|book|schedule|start|prepare|arrange|hold|agree on|planera|boka|starta|förbered|håll|bjud in|sätt|set|"
            "begin|invite|kick off|make sure",
            r"kick-?off\w*|onboarding|roll-?out|uppstart\w*|införande\w*|start-?up|implementation|start",
            8,
        ),
        r"\bwelcome\b|\bvälkomna\b|\bkom igång\b",
    ),
    "check_in": (
        r"\bcheck(?:ing)?[- ](?:in|up)\b|\bhow (?:it|things|they|everything|the)\b|\bstäm(?:ma)? av\b|\bavstämning",
        r"\bhur (?:det|allt|de|läget)\b|\bhör(?: efter)? (?:hur|om allt)|\bcustomer (?:review|check)|\bworks? as\b",
    ),
    "ask_referral": (
        near(
            "ask|request|get|be|fråga|invite",
            r"referrals?|recommend\w*|rekommend\w*|tips om|testimonial|introductions?|customer story|kundcase",
            10,
        ),
    ),
    "upsell": (
        r"\b(?:more|additional|further|fler|ytterligare|nya) (?:modules?|users?|moduler|användare|services|tjänster|delar)",
        r"\bupsell|\bcross-?sell|\bexpan[ds]|\bmerförsälj|\butöka|\bbygga ut|\butbyggnad|\bgrow\b",
    ),
    "win_back": (
        r"\bwin\b.{0,30}\bback\b|\bre-?open|\breconsider|\bvinn\w*\b.{0,30}\btillbaka|\blost (?:deal|lead)",
        r"\bförlora\w* (?:affär|lead|kund)|\bsedan vi stängde|\bsince we closed|\bnytt försök efter",
    ),
    "find_details": (
        near(
            "find|look up|search|get|complete|add|fill in|ask for|ta reda på|hitta|sök|leta|komplettera|fyll i|lägg till|"
            "skaffa|collect|missing|enter|ta fram|look for|kolla",
            r"phone\w*|number|e-?mail\w*|contact\w*|details|address|telefon\w*|nummer|e-?post\w*|mejladress\w*|"
            r"kontaktuppgift\w*|uppgifter\w*|kontaktväg\w*|kontaktvägar|way to reach|who|vem|how to reach|hur man når",
            8,
        ),
    ),
    "clarify": (
        near(
            "clarify|verify|check|confirm|correct|update|sort out|red ut|kontrollera|stäm av|bekräfta|rätta|uppdatera|"
            "klargör|klarlägg|find out|ta reda på|hör|reda ut|review|se över|ask",
            r"status|record|stage|deal|contract|whether|if|läget|affären|stämmer|om|why|varför|what happened|vad som hänt",
            8,
        ),
    ),
    "close": (
        r"\b(?:close|archive|remove|delete|respect|opt.?out|do-not-contact|gdpr|erase|leave (?:\w+ ){1,3}alone)\b",
        r"\b(?:stäng|avsluta|ta bort|arkivera|radera|gallra|respektera|spärra|låt \w+ vara)\b",
    ),
    "wait": (
        r"\bwait\b|\breminder\b|\blater\b|\bpause|\bnot before|\bhold off|\bvänta\b|\bpåminn|\bsenare\b|\bpausa|\bavvakta",
    ),
    "solve_problem": (
        r"\bsolve|\bresolve|\bfix\b|\bescalat|\bcomplain|\bproblem|\bapolog|\blös\b|\bklagomål|\bmissnöj|\beskalera|\bursäkt",
    ),
    "research": (
        r"\bread up|\bresearch|\blook (?:up|at|into)|\bstudy\b|\bläs (?:på|in)|\bkolla upp|\bundersök|\bta reda på|\bfind out",
    ),
}
# Whoever does one of these gets in touch.
CONTACT = frozenset(
    {
        *("call", "email", "message", "follow_up", "first_contact", "book_meeting", "book_demo", "chase_decision"),
        *("chase_signature", "ask_referral", "win_back", "check_in"),
    }
)
_GET_IN_TOUCH = (
    r"\b(?:contact|reach out|get in touch|kontakta|ta kontakt|ta upp kontakten|ta (?:den )?första kontakten)\b"
)
# What a title must not share with a task that is planned or was turned down.
SPECIFIC = frozenset(INTENTS) - {
    *("call", "email", "message", "follow_up", "check_in", "wait", "research", "clarify", "negotiate", "first_contact"),
    *("find_details", "prepare_meeting", "close", "qualify", "upsell"),
}
NAMES = frozenset(INTENTS) | {"contact"}


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {name: re.compile("|".join(found), re.IGNORECASE | re.MULTILINE) for name, found in INTENTS.items()}


def intents(text: str) -> frozenset[str]:
    """All that a text proposes to do."""
    said = _NEGATED.sub(" ", " ".join(text.split(" ")))
    found = {name for name, pattern in _patterns().items() if pattern.search(said)}
    if found & CONTACT or re.search(_GET_IN_TOUCH, said, re.IGNORECASE):
        found.add("contact")
    return frozenset(found)
