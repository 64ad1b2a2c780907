"""Writes model/tokenizer/testdata/smollm2.jsonl.gz: texts with the ids that Hugging Face's tokenizers gives them.

    python golden.py MODEL.gguf|tokenizer.json OUT.jsonl.gz        (pip install -r requirements.txt)

From a GGUF file the tokenizer is built from the vocabulary and merges, with the pre-tokenizer that SmolLM2 names: single
digits, then byte level with GPT-2's expression. A tokenizer.json is taken as it is; the Go test TestGoldenJSON compares
with it, given both files in HEADINFER_TOKENIZER_JSON and HEADINFER_TOKENIZER_GOLDEN. The texts are made here from a fixed seed, so a second run writes the same
file. Each line is {"text", "ids", "special"}: special says whether special tokens written in the text were recognised.
"""

import gzip
import io
import json
import random
import sys
import unicodedata

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SEED = 20250207
CONTROL, USER_DEFINED = 3, 4


def tokenizer_of(path):
    if path.endswith(".json"):
        tok = Tokenizer.from_file(path)
        return tok, [t.content for _, t in sorted(tok.get_added_tokens_decoder().items())][:40]
    fields = GGUFReader(path).fields
    value = lambda key: fields["tokenizer.ggml." + key].contents()
    if (value("model"), value("pre")) != ("gpt2", "smollm"):
        sys.exit(f"{path}: tokenizer {value('model')}/{value('pre')}, and this script is for gpt2/smollm")
    tokens, types = value("tokens"), value("token_type")
    merges = [tuple(line.split(" ")) for line in value("merges")]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tok.decoder = decoders.ByteLevel()
    specials = [t for t, k in zip(tokens, types) if k == CONTROL]
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    tok.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, types) if k == USER_DEFINED])
    return tok, specials


SUBJECTS = ["The lighthouse keeper", "My grandmother's clock", "A flock of starlings", "Nobody in the village", "The compiler",
            "An old ferry", "She", "They", "Each of the eleven jurors", "Dr. O'Malley", "The north wind", "It"]
VERBS = ["remembers", "couldn't find", "has been painting", "would've sold", "measures", "keeps", "doesn't trust", "re-reads",
         "swallowed", "is waiting for", "they'll say", "I'd rather lose", "we're told of"]
OBJECTS = ["the key under the third stair", "a map of rivers that no longer run", "3,141 letters", "its own shadow",
           "half a loaf, two pears and salt", "what the tide brings in", "an answer: none", "the year 1987 (or 1988?)",
           "\"quiet\" words", "a well-tempered drum", "every unnecessary semicolon; every one", "e-mail@example.org"]
ENDINGS = [".", "!", "?", "...", " - and yet.", "; nothing else.", ".\n", ".\n\n", " :)", "?!", " [sic].", "'"]
CODE = ["def f(x):\n    return x ** 2\n", "for (int i = 0; i < n; ++i) {\n\ta[i] += b[i];\n}\n", "if err != nil {\n\t\treturn nil, err\n\t}",
        "SELECT name, COUNT(*) FROM t WHERE id>=42 GROUP BY 1;", "<a href=\"x.html\">it's</a>", "{\"k\": [1, 2.5e-3, null]}", "x = ~y & 0xFF;\r\n",
        "let v: Vec<u8> = vec![0; 1 << 10];", "#!/bin/sh\nset -eu\ncd \"$HOME\" || exit 1\n", "a->b::c<d>(e)...;", "// ---- 100% ----",
        "\\frac{1}{2}\\sum_{i=1}^{n} x_i", "\t\t\t}\n\t\t}\n\t}\n}\n", "print(f\"{name!r:>10}\")", "    # four\n        # eight\n"]
WORDS = ["naïve", "Straße", "façade", "Ελλάδα", "привет", "мир", "שלום", "مرحبا", "नमस्ते", "สวัสดี", "こんにちは", "東京", "서울", "đường", "ﬁle", "Å", "Å",
         "é", "n̈", "ǅ", "ſ", "'ſ", "K", "٣٤", "Ⅷ", "½", "²", "①", "𝟘𝟙", "𐎠", "中文字", "ﾊﾝｶｸ", "İstanbul", "ΣΊΣΥΦΟΣ"]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷🇯🇵", "❤️", "🧑🏿‍🚀", "☃", "1️⃣", "🫠", "👨🏻‍🦰", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\u200b", "\ufeff", "\v", "\f", "\r", "\u1680",
          "\u202f", "\u205f", "\x1c", "\x1f", "\u180e"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'l", "'r", "''", "'", "’s"]


def sentence(r):
    return r.choice(SUBJECTS) + " " + r.choice(VERBS) + " " + r.choice(OBJECTS) + r.choice(ENDINGS)


def scalar(r):
    """A character of Unicode that isn't a surrogate, small ones more often."""
    while True:
        c = r.randrange(r.choice([0x80, 0x800, 0x3000, 0x10000, 0x20000, 0x110000]))
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def assigned(r):
    while True:
        c = scalar(r)
        if unicodedata.category(c) != "Cn":
            return c


def number(r):
    return r.choice([str(r.randrange(10 ** r.randint(1, 18))), f"{r.random() * 1e4:.3f}", f"-{r.randrange(999)}%", f"{r.randrange(24):02}:{r.randrange(60):02}",
                     f"0x{r.randrange(1 << 32):X}", f"{r.randrange(10**9):,}", f"{r.randrange(99)}st", f"1e-{r.randrange(40)}"])


def texts(r, specials):
    yield from [("", True), (" ", True), ("\n", True), ("a", True), ("'", True), ("".join(map(chr, range(128))), True)]
    for _ in range(700):
        yield " ".join(sentence(r) for _ in range(r.randint(1, 5))), True
    for _ in range(250):
        yield "".join(r.choice(CODE) for _ in range(r.randint(1, 3))), True
    for _ in range(250):
        parts = [r.choice(EMOJI + WORDS) for _ in range(r.randint(1, 8))]
        yield r.choice(["", " ", "  ", "-"]).join(parts), True
    for _ in range(250):
        yield "".join(r.choice([r.choice(SPACES), r.choice(SPACES), r.choice(WORDS), sentence(r).split()[0], number(r)]) for _ in range(r.randint(1, 14))), True
    for _ in range(200):
        yield r.choice([" ", ", ", "", "\t", "/"]).join(number(r) for _ in range(r.randint(1, 8))), True
    for _ in range(200):
        yield "".join(r.choice([r.choice(CONTRACTIONS), r.choice(WORDS), " ", sentence(r).split()[-1]]) for _ in range(r.randint(1, 9))), True
    for _ in range(120):
        run = r.choice(["a", "z", "=", "-", " ", "\n", "é", "0", "ab", "the", "哈", "😀", ".", "\t", " a", "ha"])
        yield r.choice(["", "x", " "]) + run * r.randint(2, 300) + r.choice(["", "y", " end"]), True
    for _ in range(250):
        parts = [r.choice([r.choice(specials), r.choice(specials), sentence(r), " ", "\n", "<", "<|", "|>", r.choice(specials)[:-1], "<" + r.choice(specials)])
                 for _ in range(r.randint(1, 7))]
        yield "".join(parts), r.random() < 0.6
    for _ in range(300):
        yield "".join(assigned(r) for _ in range(r.randint(1, 40))), True
    for _ in range(150):
        yield "".join(scalar(r) for _ in range(r.randint(1, 30))), True
    for _ in range(100):
        yield "".join(chr(r.randrange(128)) for _ in range(r.randint(1, 80))), True


def main():
    tok, specials = tokenizer_of(sys.argv[1])
    out = io.StringIO()
    for text, special in texts(random.Random(SEED), specials):
        tok.encode_special_tokens = not special
        ids = tok.encode(text, add_special_tokens=False).ids
        out.write(json.dumps({"text": text, "ids": ids, "special": special}, ensure_ascii=False, separators=(",", ":")) + "\n")
    with open(sys.argv[2], "wb") as f, gzip.GzipFile(filename="", mode="wb", fileobj=f, compresslevel=9, mtime=0) as z:
        z.write(out.getvalue().encode())


if __name__ == "__main__":
    main()
