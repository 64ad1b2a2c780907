"""Writes model/tokenizer/testdata/families: small tokenizers of every kind, and checksums of what their libraries make of texts.

    python families.py OUTDIR [DUMPDIR]        (pip install -r requirements.txt)

The tokenizers are trained here on generated text: those of tokenizer.json by Hugging Face's tokenizers, with the steps that the
models they are named after have; those of tokenizer.model by SentencePiece. texts.jsonl.gz has the texts, each a line
[text, special]: special says whether special tokens written in the text were recognised (SentencePiece never does). For
each tokenizer NAME there are NAME.json.gz or NAME.model.gz and NAME.crc: for each text the CRC-32, little endian, of the ids as
uint32, followed by the decoded text if that is free of U+FFFD and no unknown token is in it. With DUMPDIR the ids and the decoded
texts themselves are written there too, for looking into a difference: NAME.jsonl.
"""

import base64
import gzip
import io
import json
import os
import random
import struct
import sys
import tempfile
import zlib

import sentencepiece
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

import golden

SEED = 20250611
VOCAB = 420
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
BEFORE = r"[^\r\n\p{L}\p{N}]?"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = BEFORE + UPPER + "*" + LOWER + "+" + ENDS + "|" + BEFORE + UPPER + "+" + LOWER + "*" + ENDS + r"|\p{N}{1,3}" + REST
TEKKEN = BEFORE + UPPER + "*" + LOWER + "+|" + BEFORE + UPPER + "+" + LOWER + r"*|\p{N}" + REST
# Rules for SentencePiece's normaliser, a few of each kind: one to one, one to several, several to one, nothing, spaces.
RULES = {"\ufb01": "fi", "\u00bd": "1\u20442", "\u2460": "1", "\u00b2": "2", "\u212b": "\u00c5", "e\u0301": "\u00e9", "n\u0308": "\u00f1", "\u00a0": " ",
         "\u3000": " ", "\t": " ", "\n": " ", "\r": " ", "\u200b": "", "\ufeff": " ", "\u2167": "VIII", "\uff8a": "\u30cf", "\uff8a\uff9f": "\u30d1",
         "\uff21\uff22": "AB", "\uff21": "A", "\u00b4": " \u0301", "\u2026": "...", "\u0085": " ", "\u01c6": "d\u017e"}
SPECIALS = ["<s>", "</s>", "<|start|>", "<|end|>", "<|end|>!", "[word]", "<pad>", "v\u1ea1n", "▁▁"]


def corpus():
    r = random.Random(SEED)
    words = golden.WORDS + golden.EMOJI
    for _ in range(1500):
        yield " ".join(golden.sentence(r) for _ in range(3))
        if r.random() < 0.4:
            yield r.choice(golden.CODE)
        if r.random() < 0.3:
            yield " ".join(r.choice(words) for _ in range(5))
        if r.random() < 0.2:
            yield golden.number(r) + r.choice(["  ", "    ", "\n\n", "\t"]) + golden.number(r)


def texts():
    r = random.Random(SEED + 1)
    seen = set()
    for text, special in golden.texts(r, SPECIALS):
        text = text[:160]
        if (text, special) not in seen and (len(text) < 90 or r.random() < 0.3):
            seen.add((text, special))
            yield text, special
    for text in ["▁", "▁▁", "a▁b", " ▁ ", "▁a ", "<0x41>", "<unk>", "a<unk>b", "\u200b", "ﬁ ﬁ", "ﾊﾟＡＢ", "e\u0301\u0301", "क्षत्रिय", "각", "a\u0300\u0316",
                 "a[word] [word]b [word]", "[word][word]", "é[word]", "[word]́", "  <pad>  a", "va\u0323n va\u0323\u0301n v\u1ea1nv\u1ea1n", "DŽungla ǅ ǆ", "camelCaseHTTPServer's",
                 "中文ABC中a", "!!\u0308x", "\u0308\u0308A", "A\u0308B's", "a//\n/b", "x/\r\n/", "Ⅷ½²", "१२३४", "٣٤٥٦", "\x00\x00a", "ΣΊΣΥΦΟΣ İ"]:
        yield text, True


def train_bpe(tok, size=VOCAB, alphabet=()):
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, initial_alphabet=list(alphabet), show_progress=False))
    return json.loads(tok.to_str())


def train_unigram(tok):
    tok.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=VOCAB, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False))
    return json.loads(tok.to_str())


def add(f, first, tokens):
    """Appends added tokens: (content, special, normalized, lstrip, rstrip, single_word)."""
    vocab = f["model"]["vocab"]
    vocab = vocab if isinstance(vocab, dict) else {t: i for i, (t, _) in enumerate(vocab)}
    new = max(max(vocab.values()) + 1, first)
    for content, *flags in tokens:
        id = vocab.get(content)
        if id is None:
            id, new = new, new + 1
        f["added_tokens"].append(dict(zip(["id", "content", "special", "normalized", "lstrip", "rstrip", "single_word"], [id, content] + [bool(x) for x in flags])))
    f["added_tokens"].sort(key=lambda t: t["id"])


PLAIN = [("<|start|>", 1, 0, 0, 0, 0), ("<|end|>", 1, 0, 0, 0, 0), ("<|end|>!", 0, 0, 0, 0, 0), ("<pad>", 0, 0, 1, 1, 0), ("[word]", 0, 0, 0, 0, 1)]


def template(f, before, after=()):
    ids = {t["content"]: t["id"] for t in f["added_tokens"]}
    piece = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    text = lambda n: {"Sequence": {"id": n, "type_id": 0}}
    single = [piece(t) for t in before] + [text("A")] + [piece(t) for t in after]
    f["post_processor"] = {"type": "TemplateProcessing", "single": single, "pair": single + [text("B")],
                           "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in [*before, *after]}}


def byte_level(pre, normalizer=None, **model):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    f = train_bpe(tok, alphabet=pre_tokenizers.ByteLevel.alphabet())
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    f["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": pre + [level]}
    f["normalizer"], f["decoder"] = normalizer, level
    f["model"].update(model)
    return f


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern if isinstance(pattern, dict) else {"Regex": pattern}, "behavior": behavior, "invert": invert}


def llama3():
    f = byte_level([split(LLAMA3)], ignore_merges=True)
    add(f, 0, PLAIN)
    template(f, ["<|start|>"])
    return f


def qwen():
    f = byte_level([split(QWEN2)], {"type": "NFC"})
    add(f, 0, PLAIN + [("v\u1ea1n", 0, 1, 0, 0, 0)])
    f["post_processor"] = f["decoder"]
    return f


def phi4mini():
    f = byte_level([split(GPT4O)])
    # As in the model, tokens that are added have ids of the vocabulary, and some ids are left out.
    f["model"]["vocab"].update({t[0]: len(f["model"]["vocab"]) + 7 + 2 * i for i, t in enumerate(PLAIN)})
    add(f, 0, PLAIN)
    return f


def tekken():
    f = byte_level([split(TEKKEN)], ignore_merges=True)
    add(f, 0, PLAIN)
    return f


def smollm():
    f = byte_level([{"type": "Digits", "individual_digits": True}])
    f["pre_tokenizer"]["pretokenizers"][-1]["use_regex"] = True
    add(f, 0, PLAIN)
    return f


def roberta():
    f = byte_level([])
    f["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    add(f, 0, PLAIN + [("<s>", 1, 0, 0, 0, 0), ("</s>", 1, 1, 1, 0, 0)])
    ids = {t["content"]: t["id"] for t in f["added_tokens"]}
    f["post_processor"] = {"type": "RobertaProcessing", "sep": ["</s>", ids["</s>"]], "cls": ["<s>", ids["<s>"]], "trim_offsets": True, "add_prefix_space": True}
    return f


def char_level(normalizer, pre, decoder, fallback=True, marks=True, **model):
    """BPE of characters, with the tokens of SentencePiece in front."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.Replace(" ", "▁") if marks else normalizers.Sequence([])
    tok.pre_tokenizer = pre_tokenizers.Split("▁" if marks else " ", "merged_with_next" if marks else "removed")
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=VOCAB, limit_alphabet=110, show_progress=False))
    f = json.loads(tok.to_str())
    front = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if fallback else [])
    trained = sorted(f["model"]["vocab"], key=f["model"]["vocab"].get)
    f["model"].update(vocab={t: i for i, t in enumerate(front + trained)}, unk_token="<unk>", byte_fallback=fallback, **model)
    f["normalizer"], f["pre_tokenizer"], f["decoder"] = normalizer, pre, decoder
    add(f, 0, [("<unk>", 1, 0, 0, 0, 0), ("<s>", 1, 0, 0, 0, 0), ("</s>", 1, 0, 0, 0, 0)])
    return f


def sequence(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
UNREPLACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
LLAMA_DECODER = sequence("decoders", UNREPLACE, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
metaspace = lambda scheme, split: {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def llama2():
    f = char_level(sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, REPLACE), None, LLAMA_DECODER, fuse_unk=True)
    add(f, 0, PLAIN)
    template(f, ["<s>"])
    return f


def mistral():
    f = char_level(None, metaspace("first", False), LLAMA_DECODER, fuse_unk=True)
    add(f, 0, PLAIN)
    template(f, ["<s>"])
    return f


def gemma():
    f = char_level(REPLACE, split({"String": " "}, "MergedWithPrevious"), sequence("decoders", UNREPLACE, {"type": "ByteFallback"}, {"type": "Fuse"}), fuse_unk=True)
    add(f, 0, PLAIN[:3] + [("▁▁", 0, 0, 0, 0, 0), ("\n\n", 0, 0, 0, 0, 0), ("▁▁▁", 0, 1, 0, 0, 0)])
    template(f, ["<s>"])
    return f


def unknowns():
    """BPE without fallback: unknown tokens, not fused, and the pre-tokenizers that leave characters out."""
    pre = sequence("pretokenizers", {"type": "Whitespace"}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "Digits", "individual_digits": False})
    f = char_level(sequence("normalizers", {"type": "NFKC"}, {"type": "Lowercase"}), pre, metaspace("never", True), fallback=False, marks=False, fuse_unk=False)
    add(f, 0, PLAIN[:3] + [("[word]", 0, 1, 0, 0, 1)])
    f["post_processor"] = {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]}
    return f


def splits():
    """Every behaviour of Split."""
    pre = sequence("pretokenizers", split(r"\n+", "Removed"), split(r"[\p{L}\p{M}]+", "MergedWithPrevious", True), split({"String": "e"}, "MergedWithNext"),
                   split(r"\p{N}", "Contiguous"), split({"String": " "}, "MergedWithPrevious"), metaspace("first", True))
    f = char_level(sequence("normalizers", {"type": "Strip", "strip_left": True, "strip_right": False}, {"type": "Replace", "pattern": {"Regex": r"[xyz]\d?"}, "content": "Q"}),
                   pre, metaspace("always", True), fallback=False, fuse_unk=True)
    add(f, 0, PLAIN)
    return f


def unigram(normalizer, pre, decoder=None):
    tok = Tokenizer(models.Unigram())
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    f = train_unigram(tok)
    f["normalizer"], f["pre_tokenizer"], f["decoder"] = normalizer, pre, decoder or metaspace("always", True)
    add(f, 0, PLAIN + [("<unk>", 1, 0, 0, 0, 0), ("<s>", 1, 0, 0, 0, 0), ("</s>", 1, 0, 0, 0, 0)])
    template(f, [], ["</s>"])
    return f


def charsmap():
    """The compiled RULES, from a SentencePiece model that was trained with them."""
    model = sentencepiece_model(model_type="unigram")
    at, spec = 0, None
    while at < len(model):  # top-level fields only: a key of one byte, a length, bytes
        key, at, shift, length = model[at], at + 1, 0, 0
        while True:
            length |= (model[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if model[at - 1] < 128:
                break
        if key == 3 << 3 | 2:
            spec = model[at:at + length]
        at += length
    start = spec.index(b"\x12")  # normalizer_spec.precompiled_charsmap, behind the name
    at, shift, length = start + 1, 0, 0
    while True:
        length |= (spec[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if spec[at - 1] < 128:
            return base64.b64encode(spec[at:at + length]).decode()


def t5():
    pre = sequence("pretokenizers", {"type": "WhitespaceSplit"}, metaspace("always", True))
    return unigram({"type": "Precompiled", "precompiled_charsmap": charsmap()}, pre)


def xlmr():
    n = sequence("normalizers", {"type": "Precompiled", "precompiled_charsmap": charsmap()}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    f = unigram(n, metaspace("always", True))
    template(f, ["<s>"], ["</s>"])
    return f


def albert():
    """Unigram that falls back on bytes, behind the normalisers that take accents and case away."""
    n = sequence("normalizers", {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True})
    f = unigram(n, metaspace("first", True), sequence("decoders", metaspace("first", True), {"type": "ByteFallback"}, {"type": "Fuse"}))
    known = {t for t, _ in f["model"]["vocab"]}
    f["added_tokens"] = []
    f["model"]["vocab"] += [[t, -30.0] for t in (f"<0x{b:02X}>" for b in range(256)) if t not in known]
    f["model"]["byte_fallback"] = True
    add(f, 0, PLAIN + [("<unk>", 1, 0, 0, 0, 0)])
    f["post_processor"] = None
    return f


def sentencepiece_model(**options):
    with tempfile.TemporaryDirectory() as d:
        rules = os.path.join(d, "rules.tsv")
        with open(rules, "w") as out:
            for k, v in RULES.items():
                out.write(" ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v) + "\n")
        options = {"vocab_size": VOCAB, "normalization_rule_tsv": rules, "character_coverage": 0.995, "hard_vocab_limit": False, **options}
        if options["normalization_rule_tsv"] is None:
            del options["normalization_rule_tsv"]
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=(t.replace("\n", " ") for t in corpus()), model_writer=model, minloglevel=2, num_threads=1, **options)
        return model.getvalue()


JSON = [llama3, qwen, phi4mini, tekken, smollm, roberta, llama2, mistral, gemma, unknowns, splits, t5, xlmr, albert]
PIECES = {
    "sp-llama2": dict(model_type="bpe", vocab_size=VOCAB + 256, byte_fallback=True, normalization_rule_tsv=None, normalization_rule_name="identity",
                      remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True),
    "sp-gemma": dict(model_type="bpe", vocab_size=VOCAB + 256, byte_fallback=True, normalization_rule_tsv=None, normalization_rule_name="identity",
                     remove_extra_whitespaces=False, add_dummy_prefix=False, user_defined_symbols=["<|start|>", "<|end|>", "▁▁", "ther", "\n"], split_by_whitespace=False),
    "sp-bpe": dict(model_type="bpe"),
    "sp-t5": dict(model_type="unigram"),
    "sp-unigram": dict(model_type="unigram", vocab_size=VOCAB + 256, byte_fallback=True, user_defined_symbols=["<|start|>", "ther", "1 2"], treat_whitespace_as_suffix=True),
}


def pack(path, data):
    with open(path, "wb") as f, gzip.GzipFile(filename="", mode="wb", fileobj=f, compresslevel=9, mtime=0) as z:
        z.write(data)


def checksums(out, dump, name, results, unknown):
    with open(os.path.join(out, name + ".crc"), "wb") as f, open(os.path.join(dump, name + ".jsonl") if dump else os.devnull, "w") as d:
        for (text, special), (ids, decoded) in results:
            data = struct.pack(f"<{len(ids)}I", *ids)
            if "\ufffd" not in decoded and unknown not in ids:
                data += decoded.encode()
            f.write(struct.pack("<I", zlib.crc32(data)))
            d.write(json.dumps([text, special, ids, decoded], ensure_ascii=False) + "\n")


def main():
    out, dump = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    os.makedirs(out, exist_ok=True)
    all = list(texts())
    pack(os.path.join(out, "texts.jsonl.gz"), "".join(json.dumps(t, ensure_ascii=False, separators=(",", ":")) + "\n" for t in all).encode())
    for make in JSON:
        name, f = make.__name__, make()
        data = json.dumps(f, ensure_ascii=False, separators=(",", ":"))
        pack(os.path.join(out, name + ".json.gz"), data.encode())
        tok = Tokenizer.from_str(data)

        def run(text, special):
            tok.encode_special_tokens = not special
            ids = tok.encode(text, add_special_tokens=True).ids
            return ids, tok.decode(ids, skip_special_tokens=False)
        unknown = tok.token_to_id("<unk>") if "<unk>" in tok.get_vocab() else -1
        checksums(out, dump, name, [(t, run(*t)) for t in all], unknown)
        print(name, len(data), tok.get_vocab_size())
    for name, options in PIECES.items():
        data = sentencepiece_model(**options)
        pack(os.path.join(out, name + ".model.gz"), data)
        sp = sentencepiece.SentencePieceProcessor(model_proto=data)

        def run(text, special):
            ids = sp.encode(text, out_type=int)
            return ids, sp.decode(ids)
        checksums(out, dump, name, [(t, run(*t)) for t in all], sp.unk_id())
        print(name, len(data), sp.get_piece_size())


if __name__ == "__main__":
    main()
