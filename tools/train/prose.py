"""Filler: documents of the same families as testdata/corpus, and plainer ones, as pools of encoded sentences.

Documents of the first family are written from the grammars in eval/prose, in paragraphs. The others are short
sentences of one shape, a few sentences repeated without end, and words drawn at random.
"""

import pathlib
import random
import re

import numpy as np

import words

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "eval" / "prose"
SLOTS = {
    "month": "January February March April May June July September October November".split(),
    "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday".split(),
    "season": "spring summer autumn winter".split(),
    "n": "two three four five six seven nine ten twelve".split(),
    "big": "twenty thirty forty fifty sixty".split(),
    "colour": "blue green red yellow white brown grey".split(),
    "age": "nineteen twenty twenty-two twenty-six thirty-one".split(),
}
TOWNS = ["Wrenford", "Saltmere", "Aldery", "Port Hallow", "Thistledown", "Old Quay", "Marrow Bay", "Kestrel"]
TITLES = ["A Year in {}", "Notes from {}", "The {} Almanac", "Some People of {}", "Four Seasons in {}", "What They Say in {}"]
SUBJECTS = ("The keeper|A traveller|The clerk|An engineer|The gardener|A visitor|The captain|The baker|A student|The mayor|"
            "Her neighbour|The pilot|A painter|The guard|His brother|The doctor").split("|")
VERBS = ("walked to|looked at|wrote about|spoke of|remembered|painted|repaired|measured|described|crossed|left|admired|"
         "avoided|cleaned|opened|closed").split("|")
ENDS = ("in the morning|before the rain|after lunch|without a word|for a long while|with great care|as the bells rang|"
        "on the way home|near the river|under a grey sky|while the others slept|during the winter|once again|late at night|"
        "by the old road|with a smile").split("|")


def themes(folder=FOLDER):
    """The grammars: for each file its openings, middles and closings."""
    result = []
    for path in sorted(folder.glob("*.txt")):
        sections, current = {}, None
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("== "):
                current = sections.setdefault(line[3:].strip(), [])
            elif line.strip():
                current.append(line.strip())
        result.append((sections["openings"], sections["middles"], sections["closings"]))
    if not result:
        raise FileNotFoundError(f"{folder}: no *.txt; run from a whole checkout, the grammars lie in eval/prose")
    return result


def expand(template, lookup, rng):
    """Fills {slots} and chooses among [a|b|c]."""
    template = re.sub(r"\{(\w+)\}", lambda m: lookup(m.group(1)), template)
    return re.sub(r"\[([^\]]*)\]", lambda m: rng.choice(m.group(1).split("|")), template)


def paragraph(all_themes, town, rng):
    """The sentences of a paragraph."""
    openings, middles, closings = rng.choice(all_themes)
    he, him, his = rng.choice((("he", "him", "his"), ("she", "her", "her")))
    name = f"{rng.choice(words.FIRST[:18])} {rng.choice(words.LAST[:18])}"
    fixed = {"town": town, "he": he, "him": him, "his": his, "He": he.capitalize(), "His": his.capitalize(), "who": name}

    def lookup(slot):
        if slot == "friend":
            return rng.choice(words.FIRST)
        return fixed[slot] if slot in fixed else rng.choice(SLOTS[slot])

    sentences = []
    for template in [rng.choice(openings)] + rng.sample(middles, rng.randint(3, 5)) + [rng.choice(closings)]:
        sentences.append(expand(template, lookup, rng))
        fixed["who"] = name.split()[0]
    return sentences


def plain(rng):
    """A short sentence of one shape."""
    return (f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} the {rng.choice(words.MODIFIERS)} {rng.choice(words.PLACES)} "
            f"{rng.choice(ENDS)}.")


def title(town, rng):
    return rng.choice(TITLES).format(town)


class Filler:
    """Pools of encoded sentences, and streams of them that make a body of any length.

    Each piece is an int32 array of tokens that begins with its own white space, so pieces join without encoding again.
    """

    def __init__(self, tokenizer, seed, paragraphs=4000):
        rng = random.Random(seed)
        self.tokenizer, grammars = tokenizer, themes()
        self.prose, self.plain = [], []  # paragraphs, each a list of pieces; sentences
        for _ in range(paragraphs):
            town = rng.choice(TOWNS) if rng.random() < 0.7 else words.invented(rng).capitalize()
            lines = paragraph(grammars, town, rng)
            self.prose.append([tokenizer.array(("\n\n" if i == 0 else " ") + s) for i, s in enumerate(lines)])
        for _ in range(4 * paragraphs):
            self.plain.append(tokenizer.array(" " + plain(rng)))

    def pieces(self, length, rng, family=None):
        """Pieces of one family, together at least length tokens; family is below 0.6 for the corpus's, and random if None."""
        u, out, total = rng.random() if family is None else family, [], 0

        def add(piece):
            nonlocal total
            out.append(piece)
            total += len(piece)

        if u < 0.6:
            if rng.random() < 0.8:
                add(self.tokenizer.array(title(rng.choice(TOWNS), rng)))
            while total < length:
                for piece in rng.choice(self.prose):
                    add(piece)
        elif u < 0.75:
            while total < length:
                add(rng.choice(self.plain))
        elif u < 0.87:
            few = [rng.choice(rng.choice(self.prose)[1:]) for _ in range(rng.randint(1, 6))]
            while total < length:
                for piece in few:
                    add(piece)
        else:
            some = np.array(rng.sample(range(len(self.tokenizer)), rng.choice((40, 200, 600))), np.int32)
            some = some[some >= self.tokenizer.reserved]
            stop = self.tokenizer.array(".")
            draw = np.random.default_rng(rng.getrandbits(63))
            while total < length:
                add(np.concatenate([some[draw.integers(0, len(some), draw.integers(5, 30))], stop]))
        return out
