"""Names of people, places and companies, by market.

None of them reaches a real person. E-mail domains end in `.example` (RFC 2606). No subscriber has the telephone
numbers: +46 78 is kept for services inside an operator's own network (pts.se, telefoninummerplanens disposition),
the short Swedish and British landline series are kept for film and books (PTS 2020, Ofcom "numbers for drama"),
+44 1632 is an area code without an area, and +353 20 91 is Ireland's series for drama.
"""

from dataclasses import dataclass
from typing import Literal

LanguageCode = Literal["sv", "en"]


@dataclass(frozen=True, slots=True)
class Place:
    """A town, and the pattern of its offices' telephone numbers if it has a series of its own; # is a digit."""

    name: str
    landline: str | None = None


@dataclass(frozen=True, slots=True)
class Market:
    """A country with leads: its names, places and trades."""

    language: LanguageCode
    currency: str
    price_per_seat: int
    company_form: str
    mobile: str
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    places: tuple[Place, ...]
    company_words: tuple[str, ...]
    trades: tuple[tuple[str, str], ...]  # the word in a company's name, and the tag


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _trades(text: str) -> tuple[tuple[str, str], ...]:
    """Parse one trade per line: the tag, then its words in companies' names."""
    lines = [line.split(":") for line in text.strip().splitlines()]
    return tuple((name.strip(), tag.strip()) for tag, names in lines for name in names.split(","))


SWEDISH_LAST_NAMES = _words("""
    Andersson Johansson Karlsson Nilsson Eriksson Larsson Olsson Persson Svensson Gustafsson Pettersson Jonsson Jansson
    Hansson Bengtsson Lövgren Lindberg Jakobsson Magnusson Lindström Olofsson Lindqvist Lindgren Berg Axelsson
    Bergström Lundberg Lind Lundgren Lundqvist Mattsson Berglund Fredriksson Sandberg Henriksson Forsberg Sjöberg
    Wallin Engström Danielsson Håkansson Eklund Lundin Gunnarsson Björk Holm Bergman Samuelsson Fransson Wikström
    Isaksson Bergqvist Arvidsson Nyström Holmberg Löfgren Söderberg Nyberg Blomqvist Claesson Mårtensson Nordström
    Lundström Eliasson Pålsson Björklund Viklund Berggren Sandström Nordin Ström Åberg Hermansson Ekström Hedlund
    Falk Sundberg Sjögren Hellström Dahlberg Sundström Abrahamsson Martinsson Öberg Andreasson Blom Ek Månsson
    Strömberg Hansén Norberg Åkesson Lindholm Ågren Ängqvist Östlund Österberg Åström Öhman Älvgren Ödman Ahmed Yilmaz
    Nguyen Haddad Kowalski""")

SWEDISH_NATURE = _words("""
    Norrsken Granliden Björkdala Tallmon Ekbacken Höglunda Sjövik Älvnäs Bergsåker Myrängen Kärrtorp Ängsbacken
    Åsbo Örnäset Havsvik Klippan Mossen Solliden Strandängen Vindbron Västkust Östkust Norrvik Söderport Kvarnby
    Stenhagen Lövgärdet Furulund Hällestad Åkerby Ölandsbro Skärgården Sundet Fyrtornet Lagerbladet Polstjärnan Kronan
    Hamnplan Treklövern Nordanvind""")

SWEDISH_TRADES = _trades("""
    construction: Bygg, Måleri, Takteknik, Golv, Snickeri, Betong, Entreprenad, Markarbeten
    electrical: El, Elteknik, Larm, Kraft
    plumbing: Rör, VVS, Kyl och Värme, Ventilation
    logistics: Logistik, Åkeri, Transport, Spedition, Bud
    property: Fastigheter, Fastighetsskötsel, Förvaltning, Städ
    manufacturing: Mekaniska, Plåt, Verktyg, Industri, Plast, Svets
    food: Livsmedel, Bageri, Restaurang, Grönsaker
    retail: Möbler, Järnhandel, Trädgård, Cykel, Textil
    it: Data, Systems, Programvara, Nätverk
    consulting: Konsult, Redovisning, Arkitekter, Miljö
    health: Tandvård, Omsorg, Rehab
    energy: Energi, Solenergi, Fjärrvärme""")

SWEDEN = Market(
    language="sv",
    currency="SEK",
    price_per_seat=6500,
    company_form="{} AB",
    mobile="+46 78 ### ## ##",
    first_names=_words("""
        Anna Eva Maria Karin Kristina Lena Sara Emma Kerstin Marie Malin Ingrid Åsa Elin Hanna Jenny Linnéa Ida Sofia
        Annika Susanne Frida Josefin Johanna Therese Ulrika Amanda Märta Agneta Camilla Helena Matilda Alva Ebba Saga
        Wilma Maja Alice Astrid Signe Solveig Ylva Pernilla Lovisa Moa Tilda Elsa Gunilla Anneli Zahra Fatima Leila
        Lars Mikael Anders Johan Erik Per Peter Jan Thomas Daniel Fredrik Hans Bengt Mats Andreas Stefan Sven Magnus
        Björn Jonas Niklas Martin Ulf Göran Håkan Jörgen Åke Sören Mårten Östen Oskar Gustav Viktor Emil Filip Simon
        Elias Axel Hugo Ludvig Albin Rasmus Joakim Christer Claes Jens Kjell Roger Tobias Patrik Henrik Robert Anton
        Ali Omar Hassan Dragan"""),
    last_names=SWEDISH_LAST_NAMES,
    places=(
        *[Place("Stockholm", "+46 8 465 004 ##")] * 5,
        *[Place("Göteborg", "+46 31 390 06 ##")] * 3,
        *[Place("Malmö", "+46 40 628 04 ##")] * 2,
        *(
            Place(name)
            for name in _words("""
                Uppsala Västerås Örebro Linköping Helsingborg Jönköping Norrköping Lund Umeå Gävle Borås Södertälje
                Eskilstuna Halmstad Växjö Karlstad Sundsvall Östersund Trollhättan Luleå Kalmar Falun Skövde Karlskrona
                Kristianstad Skellefteå Uddevalla Varberg Örnsköldsvik Nyköping Ängelholm Åre Visby Västervik""")
        ),
    ),
    company_words=SWEDISH_LAST_NAMES + SWEDISH_NATURE,
    trades=SWEDISH_TRADES,
)

ENGLISH_TRADES = _trades("""
    construction: Construction, Builders, Roofing, Joinery, Flooring, Groundworks, Scaffolding
    electrical: Electrical, Controls, Security, Power
    plumbing: Plumbing, Heating, Air Conditioning, Water
    logistics: Logistics, Haulage, Freight, Couriers, Warehousing
    property: Property, Facilities, Lettings, Cleaning
    manufacturing: Engineering, Fabrication, Precision Tools, Plastics, Packaging, Steel
    food: Foods, Bakery, Catering, Fresh Produce
    retail: Furniture, Hardware, Gardens, Cycles, Textiles
    it: Systems, Software, Networks, Digital
    consulting: Consulting, Accounting, Architects, Surveyors
    health: Dental, Care, Physiotherapy
    energy: Energy, Solar, Renewables""")

BRITISH_LAST_NAMES = _words("""
    Smith Jones Taylor Brown Williams Wilson Johnson Davies Robinson Wright Thompson Evans Walker White Roberts Green
    Hall Wood Jackson Clarke Patel Khan Lewis Harris Cooper Ward Turner Hill Morris Moore Clark Allen Bennett Cook
    Parker Bailey Shaw Price Mitchell Ellis Marshall Simpson Fletcher Carter Webb Barnes Chapman Mason Hughes Palmer
    Holmes Begum Hussain Singh Kaur Sharma Okafor Mensah Whitaker Ashworth Holloway Pemberton Radcliffe Thornton
    Blackwood Fairfax Hargreaves Kendall Lockwood Merrick Norwood Prescott Stanhope Wakefield Yardley Campbell Stewart
    Robertson Anderson MacDonald Fraser Sinclair Rhys Llewellyn Pritchard O'Hara Baptiste Adeyemi Nowak""")

UNITED_KINGDOM = Market(
    language="en",
    currency="GBP",
    price_per_seat=520,
    company_form="{} Ltd",
    mobile="+44 1632 ### ###",
    first_names=_words("""
        Olivia Amelia Charlotte Emily Jessica Sophie Grace Lucy Hannah Chloe Megan Rebecca Laura Rachel Victoria
        Katherine Eleanor Harriet Alice Imogen Fiona Gemma Joanne Alison Deborah Susan Helen Julie Karen Nicola Priya
        Aisha Zainab Ngozi Siobhan Rhiannon Catrin Isla Eilidh Poppy James Oliver George Harry Thomas William Jack
        Daniel Matthew Andrew Christopher Richard Stephen Paul Mark David Simon Graham Ian Neil Stuart Alistair Callum
        Duncan Ewan Rhodri Gareth Owen Mohammed Imran Ravi Kwame Tunde Benjamin Edward Henry Frederick Toby Marcus
        Dominic Adrian Nigel"""),
    last_names=BRITISH_LAST_NAMES,
    places=(
        *[Place("London", "+44 20 7946 0###")] * 6,
        *[Place("Manchester", "+44 161 496 0###")] * 3,
        *[Place("Birmingham", "+44 121 496 0###")] * 3,
        Place("Leeds", "+44 113 496 0###"),
        Place("Sheffield", "+44 114 496 0###"),
        Place("Nottingham", "+44 115 496 0###"),
        Place("Leicester", "+44 116 496 0###"),
        Place("Bristol", "+44 117 496 0###"),
        Place("Reading", "+44 118 496 0###"),
        Place("Edinburgh", "+44 131 496 0###"),
        Place("Glasgow", "+44 141 496 0###"),
        Place("Liverpool", "+44 151 496 0###"),
        Place("Newcastle upon Tyne", "+44 191 498 0###"),
        Place("Belfast", "+44 28 9649 6###"),
        Place("Cardiff", "+44 29 2018 0###"),
        Place("York"),
        Place("Norwich"),
        Place("Exeter"),
        Place("Cambridge"),
        Place("Aberdeen"),
    ),
    company_words=BRITISH_LAST_NAMES
    + _words("""
        Oakfield Northgate Harbourside Ridgeway Silverdale Kingfisher Redbrick Meadowbank Stonebridge Castlegate
        Foxglove Larkhill Millbrook Westcott Brightwater Greystone Hawthorn Ironbridge Beacon Pennine Cotswold Thistle
        Albion Regent Meridian Crossways Amberley Longshore Highfield Riverside"""),
    trades=ENGLISH_TRADES,
)

IRISH_LAST_NAMES = _words("""
    Murphy Kelly O'Sullivan Walsh O'Brien Byrne Ryan O'Connor O'Neill O'Reilly Doyle McCarthy Gallagher Doherty Kennedy
    Lynch Murray Quinn McLoughlin Carroll Connolly Daly O'Connell Dunne Brennan Burke Collins Fitzgerald Nolan Moran
    Keane Healy Foley Power Hayes Sweeney Hogan Cullen Flynn Kavanagh Duffy Tierney Mulligan Rafferty""")

IRELAND = Market(
    language="en",
    currency="EUR",
    price_per_seat=600,
    company_form="{} Limited",
    mobile="+353 20 91# ####",
    first_names=_words("""
        Aoife Ciara Niamh Saoirse Róisín Sinéad Gráinne Orla Maeve Eimear Clodagh Deirdre Fionnuala Caoimhe Áine Bríd
        Nora Kathleen Noreen Bridget Seán Conor Liam Cian Oisín Pádraig Eoin Fergal Declan Cormac Tadhg Diarmuid Brendan
        Donal Ronan Killian Niall Eamonn Rory Colm Dermot Fintan Shane Aidan Kevin Patrick Malachy"""),
    last_names=IRISH_LAST_NAMES,
    places=(
        *(Place(name) for name in ["Dublin"] * 5 + ["Cork"] * 2),
        *(Place(name) for name in _words("Galway Limerick Waterford Kilkenny Sligo Athlone Dundalk Tralee")),
    ),
    company_words=IRISH_LAST_NAMES
    + _words("""
        Shannonside Corrib Liffey Burren Emerald Claddagh Wicklow Slieve Atlantic Shamrock Harp Boyne Lakelands
        Skellig Tara"""),
    trades=ENGLISH_TRADES,
)

# How many of every twenty companies are in each market.
MARKET_SHARES = ((SWEDEN, 12), (UNITED_KINGDOM, 6), (IRELAND, 2))
