"""Texts about Swedish leads. See language.py for the facts in braces, stories.py for the names."""

from crm.demo.language import DemoLanguage, listed

INTERACTIONS = {
    "Website": (
        ("Formulär på webbplatsen", "{first} vill veta mer om {need}. Uppger {seats} användare och sitter i {city}."),
        ("Webbförfrågan", "”Hej, vi arbetar med {tool} i dag och tittar på bättre {need}. Kan någon ringa mig?”"),
        ("Bokad via webbplatsen", "{first} på {company} har laddat ner guiden om {need} och vill bli kontaktad."),
    ),
    "Referral": (
        ("Tips från kund", "En av våra kunder i {city} tipsade om {company}. {first} är den vi ska prata med."),
        ("Rekommenderad", "{boss} hörde av sig: {first} på {company} letar efter något nytt för {need}."),
    ),
    "LinkedIn": (
        ("Meddelande på LinkedIn", "{first} kommenterade vårt inlägg om {need} och svarade på mitt meddelande."),
        ("Kontakt via LinkedIn", "”Intressant! Vi är ungefär {seats} som skulle använda det. Hör gärna av dig.”"),
    ),
    "Trade fair": (
        ("Samtal i montern", "{first} stannade till i montern. De arbetar med {tool} och är trötta på det."),
        ("Möte på mässan", "Visade {need} för {first} i montern. {company} har ungefär {seats} användare."),
    ),
    "Cold call": (
        ("Ringlista", "{company} passar vår profil: {city}, omkring {seats} anställda. {first} är rätt ingång."),
        ("Ny på ringlistan", "Hittade {company} i branschregistret. Växeln hänvisar till {first} {last}."),
    ),
    "Partner": (
        ("Förmedlad av partner", "Vår partner presenterade {first} på {company}, som ser över {need}."),
        ("Partnerlead", "Från vår partner: {company} i {city} vill byta ut {tool}. {first} väntar på samtal."),
    ),
    "missed_call": (
        ("Inget svar", "Ringde {first}, inget svar. Provar igen i veckan."),
        ("Upptaget", "{first} satt i möte enligt växeln. Återkommer."),
        ("Inget svar", "Lät det ringa ut. Lade inget meddelande den här gången."),
    ),
    "voicemail": (
        ("Röstmeddelande", "Talade in ett meddelande om {need} och bad {first} ringa tillbaka."),
        ("Sms", "”Hej {first}, jag sökte dig om {need}. När passar det att prata tio minuter? /{seller}, Nordvik”"),
    ),
    "intro_email": (
        (
            "Förslag om {need} för {company}",
            (
                "Hej {first},\n\nKul att få kontakt. Vi hjälper företag som {company} att få ordning på {need}, ofta "
                "där man i dag arbetar med {tool}. Har du tjugo minuter nästa vecka?\n\nVänliga hälsningar\n{seller}"
            ),
        ),
        (
            "Mer information om Nordvik",
            (
                "Hej {first},\n\nHär kommer materialet som jag nämnde, med ett exempel från ett företag i er storlek. "
                "Hör av dig med frågor så länge.\n\nHälsningar\n{seller}"
            ),
        ),
        ("Presentation skickad", "Skickade presentationen och två kundexempel om {need} till {first}."),
    ),
    "reminder": (
        (
            "Påminnelse",
            "Hej {first},\n\nHann du titta på det jag skickade? Jag ringer gärna om det är lättare.\n\n/{seller}",
        ),
        (
            "Sv: Förslag om {need} för {company}",
            "Skickade en kort påminnelse. Ska det ligga hos någon annan på {company}?",
        ),
    ),
    "reply": (
        ("Svar från {first}", "{first} tackar för informationen och vill prata när bokslutet är klart."),
        ("Svar från {first}", "Frågar om det går att koppla ihop med {tool} och vad det kostar för {seats} personer."),
        ("Sv: Mer information om Nordvik", "”Ser bra ut. Ring mig på torsdag förmiddag, då sitter jag på kontoret.”"),
    ),
    "intro_call": (
        ("Första samtalet", "Bra samtal. {company} arbetar med {tool} och tappar tid på {need}. Vill se mer."),
        ("Uppringd", "{first} ansvarar för {need} och berättar att {boss} är med och beslutar. Positiv ton."),
        ("Avstämning", "De är {seats} som berörs. Nuvarande lösning ({tool}) håller inte längre, enligt {first}."),
    ),
    "needs_call": (
        ("Behovsgenomgång", "Gick igenom {need} steg för steg. Ram på {budget}, {seats} användare, vill i gång i år."),
        ("Behov och budget", "{first} har {budget} avsatta. Viktigast är {need}; rapporter kommer i andra hand."),
    ),
    "needs_meeting": (
        ("Behovsmöte i {city}", "Träffade {first} och {boss}. Största problemet är {need}. Budget omkring {budget}."),
        ("Workshop med {company}", "Ritade upp hur de arbetar med {tool} i dag. {seats} användare, ram {budget}."),
        ("Möte om {need}", "Bra möte. {boss} håller i pengarna: {budget}. {first} driver projektet."),
    ),
    "summary_email": (
        (
            "Sammanfattning av vårt möte",
            (
                "Hej {first},\n\nTack för ett bra möte. Vi var överens om tre saker: {need} först, {seats} användare "
                "och en ram på {budget}. Nästa steg är en visning.\n\nHälsningar\n{seller}"
            ),
        ),
        ("Mötesanteckningar skickade", "Skickade anteckningarna till {first} med kopia till {boss}."),
    ),
    "inside_note": (
        ("Vem som beslutar", "{boss} skriver under, {first} rekommenderar. IT vill ha ett säkerhetssvar först."),
        ("Inför nästa steg", "{company} jämför oss med ytterligare en leverantör. Vårt kort är {need}."),
        ("Internt", "Talade med en kollega som känner {boss}. De brukar besluta i slutet av kvartalet."),
    ),
    "demo": (
        (
            "Visning av Nordvik",
            "Visade {need} med deras egna exempel. {first} gillade enkelheten, {boss} ville se priser.",
        ),
        ("Demo för {company}", "Fem deltagare. Flest frågor om hur de flyttar över från {tool}."),
        ("Visning på distans", "Gick bra. {first} vill att {boss} ser rapporterna innan vi tar nästa steg."),
    ),
    "demo_email": (
        (
            "Svar på frågorna från visningen",
            (
                "Hej {first},\n\nJa, det går att föra över allt från {tool}, och {seats} användare ryms i "
                "grundpaketet. Säg till när du vill ha en offert.\n\n/{seller}"
            ),
        ),
        ("Inspelning och frågor", "Skickade inspelningen av visningen och svar på frågorna om {need}."),
    ),
    "reference_call": (
        ("Referenssamtal", "{first} talade med en av våra kunder i branschen. Nöjd med svaren om {need}."),
        ("Referens", "Kopplade ihop {first} med en kund i {city}. Återkopplingen var bra."),
    ),
    "proposal_email": (
        (
            "Offert till {company}",
            (
                "Hej {first},\n\nHär är offerten: {seats} användare, {need} och införande för {budget}. "
                "Den gäller i 30 dagar.\n\nVänliga hälsningar\n{seller}"
            ),
        ),
        ("Offert på {need}", "Skickade offert på {budget} till {first} och {boss}. Införande ingår."),
        ("Offert skickad", "Offert på {budget} för {seats} användare. {first} tar upp den i ledningsgruppen."),
    ),
    "proposal_call": (
        ("Om offerten", "{first} har läst offerten och vill dela upp betalningen. Nivån {budget} är rimlig."),
        ("Uppföljning av offert", "Offerten ligger hos {boss}. {first} väntar sig besked inom två veckor."),
    ),
    "proposal_meeting": (
        ("Genomgång av offerten", "Gick igenom offerten med {first} och {boss}. Frågor om uppsägningstid och support."),
        ("Offertmöte i {city}", "De vill ha {need} först och resten efter sommaren. {budget} ligger inom ramen."),
    ),
    "negotiation_call": (
        ("Villkor", "{boss} vill ha längre betalningstid. Vi kan mötas om de tecknar två år."),
        ("Pris och villkor", "Enades om {budget} med införandet inräknat. Juristen ska läsa avtalet."),
    ),
    "agreement_email": (
        (
            "Avtal för underskrift",
            "Hej {first},\n\nAvtalet är klart att skrivas under av {boss}.\n\nHälsningar\n{seller}",
        ),
        ("Avtal skickat", "Skickade avtalet för digital underskrift till {boss}, med kopia till {first}."),
    ),
    "won_call": (
        ("Affär!", "{first} ringde: {boss} har skrivit under. {budget} och {seats} användare."),
        ("De säger ja", "Muntligt och skriftligt ja från {company}. Värde {budget}. Planerar uppstart."),
    ),
    "kickoff": (
        ("Uppstartsmöte", "Planerade införandet av {need} med {first}. {seats} användare läggs upp i två omgångar."),
        ("Uppstart hos {company}", "På plats i {city}. {first} är kontaktperson, data förs över från {tool}."),
    ),
    "check_in": (
        (
            "Avstämning efter införandet",
            "{first} är nöjd: {need} fungerar som tänkt. Vill prata om fler moduler senare.",
        ),
        ("Hur går det?", "Några frågor om behörigheter, annars bra. {boss} har nämnt oss för en systerfirma."),
    ),
    "lost_silent": (
        ("Avslutad: ingen kontakt", "Flera försök utan svar från {first}. Stänger och provar igen ett annat år."),
        ("Stängd", "Ingen reaktion från {company}. Växeln säger att {need} inte är aktuellt."),
    ),
    "lost_fit": (
        ("Passar inte", "{company} behöver mer än {need}, och det har vi inte. Skildes som vänner."),
        ("Projektet är inställt", "{first} berättar att {boss} har skjutit upp allt på obestämd tid."),
    ),
    "lost_price": (
        ("Nej på grund av priset", "{budget} var för mycket för {boss}. De fortsätter med {tool} ett år till."),
        ("Förlorad: pris", "{first} ville, men ledningen sade nej till {budget}."),
    ),
    "lost_competitor": (
        (
            "De valde en annan leverantör",
            "{first} skriver att de valde en leverantör som redan har deras ekonomisystem.",
        ),
        ("Förlorad mot konkurrent", "”Tack för ett fint arbete, {seller}. Den här gången blev det någon annan.”"),
    ),
}

TASKS = {
    "first_call": (
        ("Ring {first} på {company}", "Första samtalet. Fråga om {need} och hur de arbetar i dag."),
        ("Ta kontakt med {first} {last}", "Kom in via {source}. Hör vad de behöver."),
    ),
    "send_information": (
        ("Skicka information till {first}", "Presentationen och ett kundexempel om {need}."),
        ("Mejla material om {need}", "Till {first} på {company}."),
    ),
    "look_up_company": (("Läs på om {company}", "Storlek, ägare och vad de använder i dag."),),
    "call_again": (
        ("Ring {first} igen", "Bäst på förmiddagen enligt växeln."),
        ("Sök {first} på {company}", "Hör om det finns något nytt om {need}."),
    ),
    "understand_needs": (("Gå igenom behoven med {first}", "Hur många användare, vilken budget, vem beslutar?"),),
    "book_needs_meeting": (
        ("Boka möte med {company}", "Gärna på plats i {city}, med {boss} vid bordet."),
        ("Föreslå tider för behovsmöte", "{first} vill ses inom ett par veckor."),
    ),
    "send_summary": (("Skicka sammanfattning till {first}", "Med kopia till {boss}."),),
    "map_deciders": (("Ta reda på vem som beslutar på {company}", "{boss} eller {first}? Och vad säger IT?"),),
    "prepare_demo": (
        ("Förbered visning för {company}", "Lägg in deras egna exempel på {need}."),
        ("Boka visning med {first}", "Be att {boss} är med."),
    ),
    "answer_questions": (("Svara på frågorna från {first}", "Om överföring från {tool} och antal användare."),),
    "find_reference": (("Hitta en referenskund åt {first}", "Helst i {city} eller i samma bransch."),),
    "write_proposal": (
        ("Skriv offert till {company}", "{seats} användare, {need}, ram {budget}."),
        ("Ta fram offert på {budget}", "Till {first}. Införandet ska ingå."),
    ),
    "follow_up_proposal": (
        ("Följ upp offerten till {company}", "{budget}. Fråga {first} när {boss} beslutar."),
        ("Ring {first} om offerten", "Den gäller i 30 dagar."),
    ),
    "go_through_proposal": (("Boka genomgång av offerten", "Med {first} och {boss}."),),
    "settle_terms": (("Stäm av villkoren med {boss}", "Betalningstid och uppsägning återstår."),),
    "send_agreement": (("Skicka avtal till {company}", "Digital underskrift, {boss} är firmatecknare."),),
    "plan_kickoff": (("Planera uppstart med {first}", "Överföring från {tool} och utbildning för {seats} personer."),),
    "check_in": (("Stäm av med {first} efter införandet", "Fungerar {need}? Något som saknas?"),),
    "ask_for_referral": (("Be {first} om en rekommendation", "Nöjd kund. Vilka fler känner de i {city}?"),),
    "try_again_later": (("Hör av dig till {company} igen", "Fråga {first} om läget har ändrats."),),
}

SUGGESTIONS = {
    "call_new": (
        ("Ring {first} i dag", "{first} kom in via {source}. Sedan har det varit tyst i {days} arbetsdagar."),
        (
            "Ta första kontakten med {company}",
            "{seats} möjliga användare i {city}, och {days} arbetsdagar utan ett ord.",
        ),
    ),
    "write_new": (
        (
            "Skicka en presentation till {first}",
            "Kom in via {source}. Tyst i {days} arbetsdagar; ett mejl är en lätt start.",
        ),
    ),
    "revive_cold": (
        ("Väck kontakten med {first}", "Det har varit tyst i {days} arbetsdagar. Senast var det {last_contact}."),
        (
            "Ring upp {company} igen",
            "{days} arbetsdagar utan kontakt sedan {last_contact}. Intresset för {need} fanns.",
        ),
    ),
    "book_meeting": (
        (
            "Boka ett möte med {first} i {city}",
            "Det är {days} arbetsdagar sedan {last_contact}, och inget möte är inplanerat.",
        ),
    ),
    "share_case": (
        ("Skicka ett kundexempel om {need}", "{company} arbetar med {tool}. Ett exempel visar vad ett byte ger."),
    ),
    "move_to_proposal": (
        ("Lämna offert till {company}", "Behoven är kända och {budget} avsatta. Senast: {last_contact}."),
    ),
    "chase_proposal": (
        ("Följ upp offerten på {budget}", "Offerten är ute och det har gått {days} arbetsdagar sedan {last_contact}."),
        ("Ring {first} om beslutet", "{days} arbetsdagar sedan {last_contact}. {boss} beslutar om {budget}."),
    ),
    "involve_decider": (("Ta med {boss} i samtalet", "{first} driver frågan, men {boss} beslutar om {budget}."),),
    "ask_referral": (
        ("Be {first} om en rekommendation", "Kund med {seats} användare. {days} arbetsdagar sedan vi hördes."),
    ),
    "grow_account": (("Erbjud fler moduler till {company}", "De använder oss för {need}. Affären var på {budget}."),),
    "win_back": (
        ("Fråga {company} om läget", "{days} arbetsdagar sedan vi stängde. Arbetar de fortfarande med {tool}?"),
    ),
}

SWEDISH = DemoLanguage(
    job_titles=listed("""
        VD, Vice VD, Ekonomichef, Inköpschef, Driftchef, Platschef, IT-chef, Försäljningschef, Logistikchef,
        Projektledare, Verksamhetschef, Produktionschef, Personalchef, Kontorschef, Marknadschef, Controller,
        Grundare, Delägare, Affärsutvecklare, Kvalitetschef, Servicechef"""),
    needs=listed("""
        resursplanering, fakturering, lagerhantering, tidrapportering, offerthantering, ärendehantering,
        underhållsplanering, ruttplanering, projektuppföljning, avtalshantering"""),
    tools=listed("""
        Excel, papper och pärm, ett egenbyggt system, ett gammalt affärssystem, delade dokument, tre olika
        system"""),
    sources={
        "Website": "webbplatsen",
        "Referral": "en rekommendation",
        "LinkedIn": "LinkedIn",
        "Trade fair": "mässan",
        "Cold call": "ringlistan",
        "Partner": "en partner",
    },
    last_contacts={
        "call": "samtalet",
        "email": "mejlet",
        "meeting": "mötet",
        "message": "meddelandet",
        "note": "anteckningen",
    },
    interactions=INTERACTIONS,
    tasks=TASKS,
    suggestions=SUGGESTIONS,
    dismissals=listed("""
        Redan gjort, Inte läge just nu, Kunden har bett oss vänta, Fel person, Tas på nästa möte, Inte
        relevant"""),
    summary=(
        "{first} {last} på {company} har haft {count} kontakter med oss. Senast var det ”{subject}” den {day}. "
        "Nästa steg är att följa upp det."
    ),
)
