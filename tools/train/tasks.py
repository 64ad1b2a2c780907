"""Training sequences and evaluation questions.

A task gives (facts, question, answer, wanted): sentences to plant, in this order; the question; the whole answer; and
the strings that a right answer holds. A sequence is (tokens, weights): weights say how much the prediction of a token
counts, 1 for answers, BODY for other text, 0 for what cannot be known.

The prompt is what pipeline.yaml renders: the text, a blank line, "Question: …", "Answer:" on a line of its own; the answer
follows after a space and ends in the end token.
"""

import random

import numpy as np

import words

QUESTION, ASKED = "\n\nQuestion: ", "\nAnswer:"
BODY = 0.1
# Weights are stored as bytes.
SCALE = 100
# What stands before a planted fact: it goes on in the paragraph, or starts a paragraph or a line.
BREAKS = (" ", "\n\n", "\n")


class Scene:
    """The keys of one document: none is used twice, and often they share words, so that they are easily confused."""

    def __init__(self, rng):
        self.rng, self.used = rng, set()
        alike = rng.random() < 0.5
        self.modifiers = rng.sample(words.MODIFIERS, rng.randint(3, 12)) if alike else words.MODIFIERS
        self.places = rng.sample(words.PLACES, rng.randint(3, 12)) if alike else words.PLACES
        self.attributes = rng.sample(words.ATTRIBUTES, rng.randint(2, 5)) if alike else words.ATTRIBUTES
        self.names = rng.random() < 0.5

    def key(self):
        """A new (attribute, place)."""
        for attempt in range(1000):
            attributes = words.WORD_ATTRIBUTES if self.rng.random() < 0.12 else self.attributes
            a = self.rng.choice(attributes)
            p = words.place(self.rng) if attempt > 20 else words.place(self.rng, self.modifiers, self.places)
            if (a, p) not in self.used:
                self.used.add((a, p))
                return a, p
        raise RuntimeError("no new key in 1000 tries; the document asks for more facts than the word lists give")

    def variable(self):
        """A new name of a variable, such as KQ or KQX."""
        while True:
            name = "".join(self.rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(2 if self.names else 3))
            if name not in self.used:
                self.used.add(name)
                return name


def simple(scene):
    """One fact, in any form, asked in any form."""
    a, p = scene.key()
    v = words.value(a, scene.rng)
    return ([words.fill(words.pick(words.FACTS, scene.rng), a, p, v)],
            words.fill(words.pick(words.QUESTIONS, scene.rng), a, p), words.fill(words.ANSWER, a, p, v), [v])


def plain(scene):
    """One fact in the form of testdata/corpus."""
    a, p = scene.key()
    v = words.value(a, scene.rng)
    stated = words.fill(words.ANSWER, a, p, v)
    return [stated], words.fill(words.QUESTIONS[0][0], a, p), stated, [v]


def many(scene):
    """Several values of one key."""
    rng = scene.rng
    a, p = scene.key()
    while a in words.WORD_ATTRIBUTES:
        a, p = scene.key()
    values = [words.value(a, rng) for _ in range(rng.randint(2, 4))]
    facts = [words.fill(rng.choice(words.MANY_FACTS), a, p, v) for v in values]
    return (facts, words.fill(rng.choice(words.MANY_QUESTIONS), a, p), words.fill(words.MANY_ANSWER, a, p, words.join(values)),
            values)


def several(scene):
    """Several keys asked for at once."""
    rng = scene.rng
    asked = [(*scene.key(), "") for _ in range(rng.randint(2, 4))]
    asked = [(a, p, words.value(a, rng)) for a, p, _ in asked]
    facts = [words.fill(words.pick(words.FACTS, rng), *k) for k in asked]
    rng.shuffle(facts)
    wanted = words.join([f"the {a} of {p}" for a, p, _ in asked])
    question = rng.choice(("What are {}?", "Tell me {}.", "Give {}.", "What is {}?")).format(wanted)
    return facts, question, " ".join(words.fill(words.ANSWER, *k) for k in asked), [v for _, _, v in asked]


def chain(scene):
    """Variable tracking: which variables hold a value that is copied from one to the next."""
    rng = scene.rng
    v, names = str(rng.randrange(10000, 100000)), [scene.variable() for _ in range(rng.randint(2, 5))]
    facts = [f"{v} is stored in {names[0]}."] + [f"{x} is copied to {y}." for x, y in zip(names, names[1:])]
    question = rng.choice(("Which variables hold {}?", "Find all variables that hold {}.", "What holds the value {}?")).format(v)
    return facts, question, " ".join(facts), names


def lookup(scene):
    """Two hops or more back: a variable that equals another that equals a number."""
    rng = scene.rng
    v, names = str(rng.randrange(10000, 100000)), [scene.variable() for _ in range(rng.randint(2, 4))]
    steps = [f"{x} equals {y}." for x, y in zip(names, [*names[1:], v])]
    facts = ["Variable " + s for s in steps]
    if rng.random() < 0.5:
        facts.reverse()
    question = rng.choice(("What is the value of variable {}?", "What does variable {} equal?", "Which number is {}?"))
    return facts, question.format(names[0]), " ".join(["Variable " + s for s in steps] + [f"The value of {names[0]} is {v}."]), [v]


def works(scene):
    """Two hops: a person's place, and an attribute of that place."""
    rng = scene.rng
    a, p = scene.key()
    while not p.startswith("the "):
        a, p = scene.key()
    v = words.value(a, rng)
    who = f"{rng.choice(words.FIRST)} {rng.choice(words.LAST)}"
    while who in scene.used:
        who = f"{rng.choice(words.FIRST)} {words.invented(rng).capitalize()}"
    scene.used.add(who)
    first = f"{who} works at {p}."
    facts = [first, words.fill(words.ANSWER, a, p, v)]
    rng.shuffle(facts)
    question = rng.choice((f"What is the {a} of the place where {who} works?", f"{who} works at a place: what is its {a}?"))
    return facts, question, first + " " + words.fill(words.ANSWER, a, p, v), [v]


MIX = ((simple, 38), (plain, 16), (several, 10), (many, 10), (chain, 9), (lookup, 9), (works, 8))
# Half of the shortest sequences hold little but the plainest facts, which are learned first.
EASY = ((plain, 85), (simple, 15))
TASKS = {"simple": simple, "plain": plain, "multi-query": several, "multi-value": many, "chain": chain, "lookup": lookup,
         "two-hop": works}


class Writer:
    """Gathers tokens and weights."""

    def __init__(self, tokenizer):
        self.tokenizer, self.tokens, self.weights, self.length = tokenizer, [], [], 0
        self.unknowable = False

    def add(self, ids, weight):
        ids = np.asarray(ids, np.int32)
        weights = np.full(len(ids), round(weight * SCALE), np.uint8)
        if self.unknowable:
            weights[0], self.unknowable = 0, False
        self.tokens.append(ids)
        self.weights.append(weights)
        self.length += len(ids)

    def text(self, text, weight=BODY):
        self.add(self.tokenizer.encode(text), weight)

    def ask(self, question, answer, rng):
        """A question and its answer. Half of the answers have no end token after them: that is how a second question reaches a
        model, but what then follows is not to be predicted.
        """
        self.text(QUESTION + question + ASKED, 0.02)
        self.text(" " + answer, 1)
        if rng.random() < 0.5:
            self.add([self.tokenizer.end], 1)
        else:
            self.unknowable = True

    def cut(self, length):
        return np.concatenate(self.tokens)[:length], np.concatenate(self.weights)[:length]


def copies(tokenizer, length, rng):
    """Random tokens, and the same again until the end: it teaches the model to look back."""
    draw = np.random.default_rng(rng.getrandbits(63))
    period = int(draw.integers(8, length // 3))
    tokens = np.tile(draw.integers(tokenizer.reserved, len(tokenizer), period), length // period + 2)[:length].astype(np.int32)
    weights = np.where(np.arange(length) > period, SCALE // 2, 0).astype(np.uint8)
    tokens[0] = tokenizer.begin
    return tokens, weights


def woven(filler, length, rng):
    """Facts, filler and questions in turns, for short sequences."""
    w, scene = Writer(filler.tokenizer), Scene(rng)
    w.add([filler.tokenizer.begin], 0)
    pending, ready, done = [], [], []
    mix = EASY if length <= 256 and rng.random() < 0.5 else MIX
    while w.length < length:
        u = rng.random()
        if not ready and (not done or rng.random() < 0.85) or u < 0.42:
            if not pending or rng.random() < 0.3:
                task = words.pick(mix, rng)(scene)
                pending.append((list(task[0]), task))
            facts, task = pending.pop(rng.randrange(len(pending)))
            w.text(" " + facts.pop(0))
            if facts:
                pending.append((facts, task))
            else:
                ready.append(task)
        elif u < 0.52:
            w.add(rng.choice(filler.plain), BODY)
        else:
            if ready and (not done or rng.random() < 0.8):
                done.append(ready.pop(rng.randrange(len(ready))))
                task = done[-1]
            else:
                task = rng.choice(done)
            w.ask(task[1], task[2], rng)
    return w.cut(length)


def encoded(groups, tokenizer, rng):
    """The facts of each group as tokens, with what stands before them, and how many tokens they are in all."""
    out = [[tokenizer.array(rng.choices(BREAKS, (85, 8, 7))[0] + f) for f in facts] for facts in groups]
    return out, sum(len(f) for facts in out for f in facts)


def place_facts(body, groups, rng):
    """Plants each group's facts, in their order, at random depths between the pieces of body; all are tokens."""
    at = []
    for facts in groups:
        depths = sorted(rng.random() for _ in facts)
        at += zip(depths, facts)
    at.sort(key=lambda x: x[0])
    out, planted = [], 0
    for i, piece in enumerate(body):
        while planted < len(at) and at[planted][0] * len(body) < i:
            out.append(at[planted][1])
            planted += 1
        out.append(piece)
    return out + [f for _, f in at[planted:]]


def document(filler, length, rng):
    """A long text with facts at any depth and questions at its end, exactly length tokens."""
    t, scene = filler.tokenizer, Scene(rng)
    count = max(4, min(96, length // 110))
    asked = [words.pick(MIX, rng)(scene) for _ in range(count)]
    others = [words.pick(MIX, rng)(scene) for _ in range(rng.choice((0, 0, count // 2, 2 * count)))]
    end = Writer(t)
    if rng.random() < 0.5:
        end.add([t.ids["Ċ"]], 0)
    for task in rng.sample(asked, count):
        if end.length > length // 2:
            break
        end.ask(task[1], task[2], rng)
    tail, tail_weights = end.cut(length)
    room = length - 1 - len(tail)
    facts, planted = encoded([task[0] for task in asked + others], t, rng)
    if planted > 0.8 * room:
        facts = facts[:count]
        planted = sum(len(f) for group in facts for f in group)
    body = trimmed(filler.pieces(max(room - planted, 1), rng), room - planted)
    body = np.concatenate(place_facts(body, facts, rng))
    tokens = np.concatenate([[t.begin], body, tail]).astype(np.int32)
    weights = np.concatenate([[0], np.full(len(body), round(BODY * SCALE)), tail_weights]).astype(np.uint8)
    return tokens[:length], weights[:length]


def trimmed(pieces, length):
    """The first length tokens of pieces, as pieces."""
    out = []
    for piece in pieces:
        if length <= 0:
            break
        out.append(piece[:length])
        length -= len(piece)
    return out


def positions(length, limit, rng):
    """Positions in contiguous runs with jumps between them, up to limit; the begin token keeps position 0."""
    draw = np.random.default_rng(rng.getrandbits(63))
    far = draw.random() < 0.4
    span = int(draw.uniform(length, limit) if far else 2 ** draw.uniform(np.log2(length), np.log2(limit)))
    runs = int(draw.integers(0, 9))
    out = np.arange(length, dtype=np.int64)
    free = max(span - length, 0)
    shares = draw.random(runs + 2) ** 2
    jumps = (shares[1:] / shares.sum() * free).astype(np.int64)
    cuts = np.sort(draw.integers(1, length, runs + 1))
    cuts[0] = 1 if draw.random() < 0.5 else cuts[0]
    for cut, jump in zip(cuts, jumps):
        out[cut:] += jump
    return out.astype(np.int32)


def batch(filler, seed, length, rows, limit, copying):
    """rows sequences of length tokens: tokens, weights and positions, each [rows, length]."""
    rng, made = random.Random(seed), []
    for _ in range(rows):
        if rng.random() < copying:
            made.append(copies(filler.tokenizer, length, rng))
        elif length <= 512 or length <= 2048 and rng.random() < 0.3:
            made.append(woven(filler, length, rng))
        else:
            made.append(document(filler, length, rng))
    spread = np.stack([positions(length, limit, rng) if limit > length else np.arange(length, dtype=np.int32)
                       for _ in range(rows)])
    return np.stack([t for t, _ in made]).astype(np.int16), np.stack([w for _, w in made]), spread
