"""Words and sentence forms: what a fact is about, how it is stated, and how it is asked for.

A key is an attribute of a place ("access code", "the north gate"). Each has one value. A fact states it in one of
several forms; every right answer states it in one form, ANSWER. All random choices come from the Random given.
"""

MODIFIERS = (
    "north south east west old new red blue green quiet broad narrow upper lower inner outer silver golden iron stone "
    "wooden glass first second third last hidden open sunny misty frozen amber violet crimson ivory distant nearby hollow "
    "gentle sturdy crooked ancient modern royal public private coastal central remote rural boat clock wine sea bell salt "
    "map corn coal lamp rope tea bread paper copper brass marble oak cedar winter summer harvest pilgrim weaver miller "
    "baker sailor bishop garden river mountain forest valley island market railway school hospital").split()
PLACES = (
    "gate tower bridge harbour library garden station market museum workshop cellar archive mill barn chapel tunnel vault "
    "depot ferry lighthouse observatory orchard stable theatre warehouse windmill fountain courtyard kiln forge pavilion "
    "bakery clinic foundry granary hangar jetty kennel laundry nursery quarry refinery sawmill terrace aquarium brewery "
    "cannery dairy shed house chest room store safe cabinet locker drawer box hall attic study kitchen office lock door "
    "cupboard trunk wagon boat barge cabin lodge inn school tavern").split()
ATTRIBUTES = (
    "access code|secret code|door number|serial number|opening key|registry entry|secret number|badge number|pass number|"
    "magic number|code|key|number|pin|lock code|alarm code|account number|ticket number|licence number|order number|"
    "lucky number|security code|entry code|safe number|case number|room number|invoice number|special number|key code|"
    "password number").split("|")
WORD_ATTRIBUTES = "password|watchword|code word|secret word|call sign|nickname".split("|")
FIRST = ("Agnes Bertil Clara Dorian Edith Fergus Greta Hollis Ida Jonas Katrin Lewis Maud Nils Olive Piers Ruth Silas "
         "Abel Bess Conrad Dinah Emil Flora Gus Hester Ivo June Kit Lena Martin Nora Oscar Paula Robin Sarah Thomas Vera").split()
LAST = ("Morrow Vane Winnow Pell Larkin Tolley Holm Brand Fenwick Reed Oake Marr Sallow Carver Trent Hallam Quill Thorne "
        "Baxter Cooper Dale Ellis Foster Grant Hughes Jarvis Lowe Mason Norris Porter Shaw Turner Webb Young").split()
NUMBERED = "room house locker cabin gate box shelf platform hall desk ward berth stall bay".split()

FACTS = (
    ("The {a} of {p} is {v}.", 34), ("Note that the {a} of {p} is {v}.", 4), ("Remember: the {a} of {p} is {v}.", 4),
    ("{P}'s {a} is {v}.", 5), ("For {p}, the {a} is {v}.", 5), ("{P} has the {a} {v}.", 5),
    ("As of today, the {a} of {p} is {v}.", 3), ("The {a} for {p} is {v}.", 6), ("Someone set the {a} of {p} to {v}.", 4),
    ("{P} can be opened with the {a} {v}.", 3), ("The {a} of {p} was changed to {v}.", 3), ("{v} is the {a} of {p}.", 5),
    ("It was agreed that {v} would be the {a} of {p}.", 2), ("A note said that the {a} of {p} was {v}, and nothing else.", 3),
)
QUESTIONS = (
    ("What is the {a} of {p}?", 40), ("What is the {a} for {p}?", 6), ("Which {a} does {p} have?", 6),
    ("What {a} does {p} have?", 5), ("Tell me the {a} of {p}.", 5), ("What is {p}'s {a}?", 6), ("{P}: what is the {a}?", 5),
    ("Can you find the {a} of {p}?", 4), ("{P} has which {a}?", 4), ("For {p}, what is the {a}?", 5),
    ("I need the {a} of {p}.", 3), ("Please give the {a} for {p}.", 3), ("The {a} of {p} is what?", 4),
    ("What does the text say is the {a} of {p}?", 4), ("What is the {a} of {p} mentioned in the text?", 4),
)
ANSWER = "The {a} of {p} is {v}."
MANY_FACTS = ("One of the {as} of {p} is {v}.", "One {a} of {p} is {v}.", "Another {a} of {p} is {v}.")
MANY_QUESTIONS = ("What are all the {as} of {p}?", "Which {as} does {p} have?", "What are the {as} of {p} mentioned in the text?")
MANY_ANSWER = "The {as} of {p} are {v}."

CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def pick(weighted, rng):
    """One of (item, weight) pairs."""
    return rng.choices([w[0] for w in weighted], [w[1] for w in weighted])[0]


def invented(rng):
    """A word that no list holds."""
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) + (rng.choice(CONSONANTS) if rng.random() < 0.3 else "")
                   for _ in range(rng.randint(2, 3)))


def place(rng, modifiers=MODIFIERS, places=PLACES):
    """What a fact is about, as it stands inside a sentence."""
    u = rng.random()
    if u < 0.72:
        return f"the {rng.choice(modifiers)} {rng.choice(places)}"
    if u < 0.78:
        return f"the {rng.choice(places)}"
    if u < 0.86:
        return invented(rng).capitalize()
    if u < 0.92:
        return f"{rng.choice(FIRST)} {rng.choice(LAST)}"
    if u < 0.95:
        return f"{rng.choice(NUMBERED)} {rng.randint(2, 999)}"
    return f"the {invented(rng)} {rng.choice(places)}"


def value(attribute, rng):
    """A value for an attribute: digits, or a word where the attribute asks for one."""
    if attribute in WORD_ATTRIBUTES:
        return invented(rng) if rng.random() < 0.5 else rng.choice(MODIFIERS) + rng.choice(PLACES)
    digits = rng.choices((3, 4, 5, 6, 7), (1, 2, 9, 2, 2))[0]
    return str(rng.randrange(10 ** (digits - 1), 10**digits))


def fill(form, a="", p="", v=""):
    """A form with its words; {P} is the place with a capital."""
    text = form.replace("{as}", plural(a)).replace("{a}", a).replace("{p}", p).replace("{P}", p[:1].upper() + p[1:]).replace("{v}", v)
    return text[:1].upper() + text[1:]


def plural(noun):
    return noun[:-1] + "ies" if noun.endswith("ry") else noun + "s"


def join(items):
    """a, b and c"""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
