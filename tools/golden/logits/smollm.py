"""Writes the float64 logits and greedy continuations of SmolLM2-135M-Instruct, read from its GGUF file.

    python tools/golden/logits/smollm.py --model models/SmolLM2-135M-Instruct.Q4_1.gguf --testdata testdata

needs numpy, gguf and tokenizers, 2 GB of memory and a few minutes of one core. It makes
  golden/smollm2-short.json   48 tokens of our own text, logits of the last position
  golden/smollm2-long.json    700 tokens of a corpus document, logits of the last position
  golden/smollm2-greedy.json  32 greedy tokens after each of two short prompts

Weights are dequantised by gguf-py to float32 and widened, so the reference is the function that the quantised file
defines, computed in float64; what quantisation changed in the model is not part of the comparison.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import reference

SUBSET = 4096
GREEDY = 32

SHORT = """In the spring the keeper walked along the sea wall every morning to read the tide gauge, and he wrote the
height in a small green book. One day the gauge was gone. He looked over the edge, and at the foot of the wall"""

# Chosen because no step of theirs is a near tie: the best token leads by 0.06 or more, so that any faithful
# single-precision pass must follow.
GREEDY_PROMPTS = ["One, two, three, four,", "Water boils at"]


def tokenizer_of(reader):
    """SmolLM2's byte-level BPE from the file's own vocabulary: digits stand alone, then GPT-2's words."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def load(reader):
    """The file's configuration and weights, in float64."""

    def value(key):
        return reader.fields[key].contents()

    tensors = {t.name: t for t in reader.tensors}

    def weight(name):
        t = tensors[name]
        return dequantize(t.data, t.tensor_type).astype(np.float64)

    heads = int(value("llama.attention.head_count"))
    config = reference.Config(
        layers=int(value("llama.block_count")),
        query_heads=heads,
        kv_heads=int(value("llama.attention.head_count_kv")),
        head_dim=int(value("llama.embedding_length")) // heads,
        rope_theta=float(value("llama.rope.freq_base")),
        eps=float(value("llama.attention.layer_norm_rms_epsilon")),
        interleaved=True,
    )
    layers = []
    for i in range(config.layers):
        parts = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
        layers.append(reference.Layer(*(weight(f"blk.{i}.{part}.weight") for part in parts)))
    embedding = weight("token_embd.weight")
    head = weight("output.weight") if "output.weight" in tensors else embedding
    return config, reference.Weights(embedding, layers, weight("output_norm.weight"), head)


def write(path, value):
    lines = [f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in value.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")
    print(f"{path}: {path.stat().st_size} bytes", file=sys.stderr)


def last_position(model, text, ids, row, chosen):
    """What is kept of one position's logits [V]: a sample of them, the ten best, and the log-sum-exp of all."""
    best = np.argsort(-row)[:10]
    peak = row.max()
    return {
        "model": model,
        "text": text,
        "ids": ids,
        "position": len(ids) - 1,
        "argmax": int(best[0]),
        "top": [[int(i), round(float(row[i]), 8)] for i in best],
        "logsumexp": float(peak + np.log(np.exp(row - peak).sum())),
        "vocab_ids": [int(i) for i in chosen],
        "logits": [float(f"{row[i]:.9g}") for i in chosen],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--testdata", type=pathlib.Path, required=True)
    parser.add_argument("--document", default="02k-sea-chest.txt", help="the corpus document of the long prompt")
    parser.add_argument("--seed", type=int, default=7, help="chooses which logits are kept")
    args = parser.parse_args()
    reader = GGUFReader(args.model)
    tokenizer = tokenizer_of(reader)
    config, weights = load(reader)
    golden = args.testdata / "golden"
    golden.mkdir(parents=True, exist_ok=True)
    chosen = np.sort(np.random.default_rng(args.seed).choice(len(weights.head), SUBSET, replace=False))
    document = (args.testdata / "corpus" / args.document).read_text(encoding="utf-8")
    for name, text, count in (("short", SHORT, 48), ("long", document, 700)):
        ids = tokenizer.encode(text).ids[:count]
        assert len(ids) == count, f"{name}: {len(ids)} tokens, expected {count}"
        row = reference.logits(config, weights, ids, 1)[0][0]
        kept = text if name == "short" else f"the first {count} tokens of corpus/{args.document} as it was then"
        write(golden / f"smollm2-{name}.json", last_position(args.model.name, kept, ids, row, chosen))
    runs = []
    for text in GREEDY_PROMPTS:
        ids = tokenizer.encode(text).ids
        new, margins = reference.greedy(config, weights, ids, GREEDY)
        print(f"{text!r} -> {tokenizer.decode(new)!r}, least margin {min(margins):.3f}", file=sys.stderr)
        runs.append({"text": text, "ids": ids, "continuation": new, "margins": [round(m, 4) for m in margins]})
    write(golden / "smollm2-greedy.json", {"model": args.model.name, "runs": runs})


if __name__ == "__main__":
    main()
