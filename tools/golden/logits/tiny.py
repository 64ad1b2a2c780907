"""Writes the tiny Llama checkpoints and their float64 logits.

    python tools/golden/logits/tiny.py --testdata testdata [--seed 7]

needs numpy, gguf, safetensors and tokenizers. It makes
  tiny-llama/           Hugging Face layout, float32, output matrix of its own
  tiny-llama.gguf       the same weights as GGUF float32, rows of Q and K in GGUF's interleaved order
  tiny-llama-sharded/   Hugging Face layout, bfloat16, two shards and an index, embedding used as output matrix
  golden/tiny-llama.json, golden/tiny-llama-sharded.json
"""

import argparse
import json
import pathlib
import struct
import sys

import numpy as np
from gguf import GGUFWriter
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers import AddedToken

import reference

LAYERS, HIDDEN, QUERY_HEADS, KV_HEADS, HEAD_DIM, MLP, VOCABULARY = 2, 64, 8, 4, 16, 96, 320
THETA, CONTEXT, EPS = 10000.0, 2048, 1e-5
END = "<|end|>"
PROMPT_TOKENS, STORED = 200, 8

PASSAGE = """The tide had gone out past the second marker, and the mud lay bare and shining in the cold light of the
morning. Two boats leaned on their keels beside the wall; a third, the blue one, still swung at her chain in the
channel. "She will sit on the bottom by eight," the old man said, counting on his fingers, "and then you may walk to
her." The boy took his boots off, 1 then 2, and set them side by side on the stone. There was nothing to hear but the
birds, and the water running out between the stones with the sound of something being poured, slowly, for ever.
"""


def byte_letters():
    """The printable letter of each byte 0..255 in a byte-level vocabulary: printable bytes stand for themselves, and
    the others take the letters from U+0100 on, in order."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(b) if b in plain else chr(next(spare)) for b in range(256)]


def learn_merges(text, letters, count):
    """The count most frequent pairs, one after the other, over the words of text (a word keeps the space before it)."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    words = [list(word) for word, _ in split.pre_tokenize_str(text)]
    merges = []
    while len(merges) < count:
        seen = {}
        for word in words:
            for pair in zip(word, word[1:]):
                seen[pair] = seen.get(pair, 0) + 1
        best = max(seen, key=lambda pair: (seen[pair], pair))
        merges.append(best)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = ["".join(best)]
                i += 1
    assert all(letter in letters for word in words for token in word for letter in token)
    return merges


def make_tokenizer():
    """A Tokenizer of 256 bytes, 63 merges and END, with its tokens in the order of their ids and its merges."""
    letters = byte_letters()
    merges = learn_merges(PASSAGE, set(letters), VOCABULARY - 256 - 1)
    tokens = letters + ["".join(pair) for pair in merges]
    assert len(set(tokens)) == VOCABULARY - 1
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    assert tokenizer.token_to_id(END) == VOCABULARY - 1
    return tokenizer, tokens + [END], merges


def make_tensors(rng, tied):
    """Random weights by Hugging Face name, float32. The scales keep logits of a few units and attention uneven."""

    def normal(rows, columns, scale):
        return (rng.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(np.float32)

    def norm():
        return (1.0 + 0.2 * rng.standard_normal(HIDDEN)).astype(np.float32)

    tensors = {"model.embed_tokens.weight": normal(VOCABULARY, HIDDEN, np.sqrt(HIDDEN))}
    for i in range(LAYERS):
        prefix = f"model.layers.{i}."
        tensors |= {
            prefix + "input_layernorm.weight": norm(),
            prefix + "self_attn.q_proj.weight": normal(QUERY_HEADS * HEAD_DIM, HIDDEN, 1.5),
            prefix + "self_attn.k_proj.weight": normal(KV_HEADS * HEAD_DIM, HIDDEN, 1.5),
            prefix + "self_attn.v_proj.weight": normal(KV_HEADS * HEAD_DIM, HIDDEN, 1.5),
            prefix + "self_attn.o_proj.weight": normal(HIDDEN, QUERY_HEADS * HEAD_DIM, 1.5),
            prefix + "post_attention_layernorm.weight": norm(),
            prefix + "mlp.gate_proj.weight": normal(MLP, HIDDEN, 1.5),
            prefix + "mlp.up_proj.weight": normal(MLP, HIDDEN, 1.5),
            prefix + "mlp.down_proj.weight": normal(HIDDEN, MLP, 1.5),
        }
    tensors["model.norm.weight"] = norm()
    if tied:
        tensors["model.embed_tokens.weight"] *= np.float32(0.35)  # its rows are the output matrix too
    else:
        tensors["lm_head.weight"] = normal(VOCABULARY, HIDDEN, 2.5)
    return tensors


def permute(rows, heads):
    """Rows of a Q or K matrix from Hugging Face's order (a head's first halves, then its second halves) to GGUF's
    (first, second, first, second, …), which is what its interleaved RoPE expects."""
    split = rows.reshape(heads, 2, HEAD_DIM // 2, -1)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def to_bfloat16(x):
    """float32 rounded to the nearest bfloat16, ties to even, still held as float32."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def weights_of(tensors):
    """The reference's weights from tensors by Hugging Face name."""
    t = {name: value.astype(np.float64) for name, value in tensors.items()}
    layers = []
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        layers.append(
            reference.Layer(
                attention_norm=t[p + "input_layernorm.weight"],
                q=t[p + "self_attn.q_proj.weight"],
                k=t[p + "self_attn.k_proj.weight"],
                v=t[p + "self_attn.v_proj.weight"],
                o=t[p + "self_attn.o_proj.weight"],
                mlp_norm=t[p + "post_attention_layernorm.weight"],
                gate=t[p + "mlp.gate_proj.weight"],
                up=t[p + "mlp.up_proj.weight"],
                down=t[p + "mlp.down_proj.weight"],
            )
        )
    embedding = t["model.embed_tokens.weight"]
    return reference.Weights(embedding, layers, t["model.norm.weight"], t.get("lm_head.weight", embedding))


def reference_config(interleaved):
    return reference.Config(LAYERS, QUERY_HEADS, KV_HEADS, HEAD_DIM, THETA, EPS, interleaved)


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")


def write_config(directory, tied, dtype):
    write_json(
        directory / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "intermediate_size": MLP,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": QUERY_HEADS,
            "num_key_value_heads": KV_HEADS,
            "head_dim": HEAD_DIM,
            "max_position_embeddings": CONTEXT,
            "rms_norm_eps": EPS,
            "rope_theta": THETA,
            "rope_scaling": None,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": tied,
            "eos_token_id": VOCABULARY - 1,
            "vocab_size": VOCABULARY,
            "torch_dtype": dtype,
        },
    )


def write_shards(directory, tensors):
    """Two safetensors files of bfloat16 and the index that says which tensor lies in which. safetensors.numpy has no
    bfloat16, so the files are laid out here: 8 bytes of header length, the JSON header, the tensors."""
    names = sorted(tensors)
    half = len(names) // 2
    where, total = {}, 0
    for number, part in enumerate((names[:half], names[half:]), start=1):
        file = f"model-{number:05d}-of-00002.safetensors"
        header, body = {"__metadata__": {"format": "pt"}}, b""
        for name in part:
            data = (tensors[name].view(np.uint32) >> 16).astype("<u2").tobytes()
            header[name] = {
                "dtype": "BF16",
                "shape": list(tensors[name].shape),
                "data_offsets": [len(body), len(body) + len(data)],
            }
            body += data
            where[name] = file
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        (directory / file).write_bytes(struct.pack("<Q", len(text)) + text + body)
        total += len(body)
    write_json(
        directory / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))},
    )


def write_gguf(path, tensors, tokens, merges):
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny-llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(QUERY_HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(THETA)
    writer.add_layer_norm_rms_eps(EPS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(0)  # all float32
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (VOCABULARY - 1) + [3])  # 1 ordinary, 3 control
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(VOCABULARY - 1)
    writer.add_add_bos_token(False)
    parts = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    renamed = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    for i in range(LAYERS):
        for theirs, ours in parts.items():
            renamed[f"model.layers.{i}.{theirs}.weight"] = f"blk.{i}.{ours}.weight"
    stored = {}
    for name, value in tensors.items():
        if "q_proj" in name:
            value = permute(value, QUERY_HEADS)
        elif "k_proj" in name:
            value = permute(value, KV_HEADS)
        stored[name] = value
        writer.add_tensor(renamed[name], value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored


def write_golden(path, model, ids, rows, text):
    shown = [[float(f"{x:.12g}") for x in row] for row in rows]
    head = {
        "model": model,
        "text": text,
        "ids": [int(i) for i in ids],
        "first_position": len(ids) - len(rows),
        "argmax": [int(i) for i in rows.argmax(axis=-1)],
    }
    lines = [f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in head.items()]
    body = ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in shown)
    lines.append(f' "logits": [\n{body}\n ]')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8", newline="\n")


def report(name, rows, entropies, tokens):
    uniform = np.mean(np.log(np.arange(1, tokens + 1)))
    print(
        f"{name}: logits {rows.min():.2f} to {rows.max():.2f}, deviation {rows.std():.2f}; "
        f"attention entropy {', '.join(f'{e:.2f}' for e in entropies)} nats (uniform would be {uniform:.2f})",
        file=sys.stderr,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--testdata", type=pathlib.Path, required=True, help="the repository's testdata folder")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    tokenizer, tokens, merges = make_tokenizer()
    ids = tokenizer.encode(PASSAGE).ids[:PROMPT_TOKENS]
    text = tokenizer.decode(ids)
    assert len(ids) == PROMPT_TOKENS and tokenizer.encode(text).ids == ids, "cut the passage elsewhere"

    whole, sharded, golden = (args.testdata / n for n in ("tiny-llama", "tiny-llama-sharded", "golden"))
    for directory in (whole, sharded, golden):
        directory.mkdir(parents=True, exist_ok=True)
        if directory != golden:
            tokenizer.save(str(directory / "tokenizer.json"))

    tensors = make_tensors(rng, tied=False)
    write_config(whole, tied=False, dtype="float32")
    save_file(tensors, whole / "model.safetensors", metadata={"format": "pt"})
    (whole / "model.safetensors").chmod(0o644)  # save_file leaves it readable by its owner only
    rows, entropies = reference.logits(reference_config(interleaved=False), weights_of(tensors), ids, STORED)
    report("tiny-llama", rows, entropies, len(ids))
    write_golden(golden / "tiny-llama.json", "tiny-llama", ids, rows, text)

    stored = write_gguf(args.testdata / "tiny-llama.gguf", tensors, tokens, merges)
    again, _ = reference.logits(reference_config(interleaved=True), weights_of(stored), ids, STORED)
    assert np.abs(again - rows).max() < 1e-10, "interleaved RoPE on permuted rows is not the same function"

    tensors = {name: to_bfloat16(value) for name, value in make_tensors(rng, tied=True).items()}
    write_config(sharded, tied=True, dtype="bfloat16")
    write_shards(sharded, tensors)
    rows, entropies = reference.logits(reference_config(interleaved=False), weights_of(tensors), ids, STORED)
    report("tiny-llama-sharded", rows, entropies, len(ids))
    write_golden(golden / "tiny-llama-sharded.json", "tiny-llama-sharded", ids, rows, text)


if __name__ == "__main__":
    main()
