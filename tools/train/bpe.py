"""Byte-level BPE: trains a small vocabulary, encodes with it, and writes Hugging Face's tokenizer.json.

Text is split as GPT-2 does, with every digit apart, so numbers are never merged. Ids 0 and 1 are the special tokens.

    python3 tools/train/bpe.py tools/train/tokenizer.json
"""

import collections
import json
import pathlib
import random
import re
import sys

import numpy as np

import prose
import tasks
import words

BEGIN, END = "<|begin|>", "<|endoftext|>"
SPECIAL = [BEGIN, END]
SIZE = 896
SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+|\d| ?(?:[^\s\w]|_)+|\s+(?![^\s\d])|\s+")


def alphabet():
    """The character that stands for each byte, as GPT-2 chose them: printable ones for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    table = {b: chr(b) for b in plain}
    table.update({b: chr(256 + i) for i, b in enumerate(rest)})
    return [table[b] for b in range(256)]


LETTERS = alphabet()


def spell(piece):
    """A piece of text in the alphabet of bytes."""
    return [LETTERS[b] for b in piece.encode("utf-8")]


class Tokenizer:
    """Encodes text and decodes tokens; the same ids as the tokenizer.json that it came from."""

    def __init__(self, vocabulary, merges):
        self.ids = vocabulary
        self.merges = merges
        self.rank = {tuple(m): i for i, m in enumerate(merges)}
        self.texts = {i: t for t, i in vocabulary.items()}
        self.begin, self.end = (vocabulary[t] for t in SPECIAL)
        self.reserved = len(SPECIAL)
        self.cache = {}

    def __len__(self):
        return len(self.ids)

    def word(self, piece):
        symbols = spell(piece)
        while len(symbols) > 1:
            best, at = min((self.rank.get(pair, len(self.rank)), i) for i, pair in enumerate(zip(symbols, symbols[1:])))
            if best == len(self.rank):
                break
            symbols[at:at + 2] = [symbols[at] + symbols[at + 1]]
        return [self.ids[s] for s in symbols]

    def encode(self, text):
        out = []
        for piece in SPLIT.findall(text):
            ids = self.cache.get(piece)
            if ids is None:
                ids = self.word(piece)
                if len(self.cache) < 200_000:
                    self.cache[piece] = ids
            out += ids
        return out

    def array(self, text):
        return np.array(self.encode(text), np.int32)

    def decode(self, ids):
        """The text of tokens, without the special ones."""
        byte = {c: b for b, c in enumerate(LETTERS)}
        return bytes(byte[c] for i in ids if i >= self.reserved for c in self.texts[int(i)]).decode("utf-8", "replace")

    def json(self):
        """The contents of tokenizer.json."""
        added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                  "special": True} for i, t in enumerate(SPECIAL)]
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        return {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": BEGIN, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"SpecialToken": {"id": BEGIN, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                         {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {BEGIN: {"id": BEGIN, "ids": [self.begin], "tokens": [BEGIN]}},
            },
            "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": self.ids, "merges": [list(m) for m in self.merges]},
        }


def load(path):
    """Reads a tokenizer.json that this module wrote."""
    model = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["model"]
    return Tokenizer(model["vocab"], model["merges"])


def train(texts, size=SIZE):
    """Learns merges from texts, the most frequent pair first; ties go to the pair that sorts first."""
    counts = collections.Counter(piece for text in texts for piece in SPLIT.findall(text))
    entries = [(spell(piece), n) for piece, n in counts.items() if len(piece.encode("utf-8")) > 1]
    vocabulary = {t: i for i, t in enumerate(SPECIAL + sorted(LETTERS))}
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for e, (symbols, n) in enumerate(entries):
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] += n
            where[pair].add(e)
    merges = []
    while len(vocabulary) < size:
        best = max(pairs, key=lambda p: (pairs[p], p))
        if pairs[best] < 2:
            raise ValueError(f"the texts give {len(vocabulary)} tokens, expected {size}; train on more text")
        merges.append(best)
        vocabulary[best[0] + best[1]] = len(vocabulary)
        for e in where.pop(best):
            symbols, n = entries[e]
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] -= n
            at = 0
            while at < len(symbols) - 1:
                if (symbols[at], symbols[at + 1]) == best:
                    symbols[at:at + 2] = [best[0] + best[1]]
                at += 1
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += n
                where[pair].add(e)
        pairs = +pairs
    return Tokenizer(vocabulary, merges)


def sample_texts(seed=1):
    """Text to learn the merges from: the corpus's prose, plain sentences, facts, questions."""
    rng, grammars = random.Random(seed), prose.themes()
    for _ in range(2500):
        town = rng.choice(prose.TOWNS)
        yield prose.title(town, rng)
        yield " " + " ".join(prose.paragraph(grammars, town, rng))
        yield " " + " ".join(prose.plain(rng) for _ in range(3))
        for _ in range(4):
            p, a = words.place(rng), rng.choice(words.ATTRIBUTES + words.WORD_ATTRIBUTES)
            v = words.value(a, rng)
            yield " " + words.fill(words.pick(words.FACTS, rng), a, p, v)
            yield tasks.QUESTION + words.fill(words.pick(words.QUESTIONS, rng), a, p) + tasks.ASKED
            yield " " + words.fill(words.ANSWER, a, p, v)
        for made in (tasks.chain, tasks.lookup, tasks.works, tasks.many):
            facts, question, answer, _ = made(tasks.Scene(rng))
            yield " " + " ".join(facts) + tasks.QUESTION + question + tasks.ASKED + " " + answer


if __name__ == "__main__":
    learned = train(sample_texts())
    pathlib.Path(sys.argv[1]).write_text(json.dumps(learned.json(), ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    print(f"{sys.argv[1]}: {len(learned)} tokens")
