"""The network, a Llama with head_dim 64, and its export as a Hugging Face directory.

Training keeps f32 weights and computes in bf16. Evaluation keeps a cache of keys and values, [heads, tokens, head_dim] a
layer, and merges partial attention over it by log-sum-exp, so a text is read once for all questions about it.
"""

import json
import pathlib
import struct

import torch
import torch.nn.functional as F
from torch import nn

from bpe import BEGIN, END

CONTEXT = 1_064_960  # 1 Mi tokens, and room for questions and answers

# A user's turn is a text and "Question: …"; the blank line between turns is the one before a question.
TEMPLATE = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}"
            "{{ ' ' + message['content'] + eos_token }}{% else %}{% if not loop.first %}{{ '\n\n' }}{% endif %}"
            "{{ message['content'] + '\nAnswer:' }}{% endif %}{% endfor %}")


class Shape:
    """Dimensions; the rotary base is large so that low frequencies still tell content from position at 1 Mi tokens."""

    def __init__(self, vocab, hidden=256, layers=4, heads=8, head_dim=64, ffn=512, base=1e8, eps=1e-5):
        self.vocab, self.hidden, self.layers, self.heads = vocab, hidden, layers, heads
        self.head_dim, self.ffn, self.base, self.eps = head_dim, ffn, base, eps


class Layer(nn.Module):
    """A layer's weights, under the names that Hugging Face gives them."""

    def __init__(self, s):
        super().__init__()
        width = s.heads * s.head_dim
        self.input_layernorm = nn.Parameter(torch.ones(s.hidden))
        self.post_attention_layernorm = nn.Parameter(torch.ones(s.hidden))
        for name, rows, columns in (("q_proj", width, s.hidden), ("k_proj", width, s.hidden), ("v_proj", width, s.hidden),
                                    ("o_proj", s.hidden, width), ("gate_proj", s.ffn, s.hidden), ("up_proj", s.ffn, s.hidden),
                                    ("down_proj", s.hidden, s.ffn)):
            self.register_parameter(name, nn.Parameter(torch.randn(rows, columns) * 0.02))


def rotate(x, cos, sin):
    """Turns x, [rows, heads, tokens, head_dim], by angles [rows, 1, tokens, head_dim/2]."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def before(x, norm, q, k, v, cos, sin, sharp, head_dim, eps):
    """Normalises x, [rows, tokens, hidden], and gives queries, keys and values, [rows, heads, tokens, head_dim].

    sharp scales the queries: below 1, attention is flatter than the exported model's will be.
    """
    rows, tokens, _ = x.shape
    h = F.rms_norm(x, norm.shape, norm, eps).to(torch.bfloat16)

    def heads(weight):
        return F.linear(h, weight.to(torch.bfloat16)).view(rows, tokens, -1, head_dim).transpose(1, 2)

    return rotate(heads(q), cos * sharp, sin * sharp), rotate(heads(k), cos, sin), heads(v)


def after(x, attended, o, norm, gate, up, down, eps):
    """Adds the attention's output and the feed-forward's to x."""
    rows, tokens, _ = x.shape
    flat = attended.transpose(1, 2).reshape(rows, tokens, -1)
    x = x + F.linear(flat, o.to(torch.bfloat16))
    h = F.rms_norm(x, norm.shape, norm, eps).to(torch.bfloat16)
    h = F.silu(F.linear(h, gate.to(torch.bfloat16))) * F.linear(h, up.to(torch.bfloat16))
    return x + F.linear(h, down.to(torch.bfloat16))


class Model(nn.Module):
    """The whole network; logits come from the embedding's own weights."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Parameter(torch.randn(shape.vocab, shape.hidden) * 0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.hidden))
        for layer in self.layers:
            for name in ("o_proj", "down_proj"):
                getattr(layer, name).data /= (2 * shape.layers) ** 0.5
        frequency = shape.base ** (-torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim)
        self.register_buffer("frequency", frequency, persistent=False)
        self.before, self.after = before, after

    def angles(self, positions):
        """cos and sin of positions, [rows, tokens], computed in float64."""
        turn = positions[:, None, :, None].double() * self.frequency
        return turn.cos().to(torch.bfloat16), turn.sin().to(torch.bfloat16)

    def run(self, tokens, positions, sharp, attend):
        """The normalised last hidden states; attend(layer, q, k, v) gives a layer's attention."""
        cos, sin = self.angles(positions)
        x = F.embedding(tokens, self.embed_tokens)
        for i, w in enumerate(self.layers):
            q, k, v = self.before(x, w.input_layernorm, w.q_proj, w.k_proj, w.v_proj, cos, sin, sharp, self.shape.head_dim,
                                  self.shape.eps)
            x = self.after(x, attend(i, q, k, v), w.o_proj, w.post_attention_layernorm, w.gate_proj, w.up_proj, w.down_proj,
                           self.shape.eps)
        return F.rms_norm(x, self.norm.shape, self.norm, self.shape.eps)

    def logits(self, hidden):
        return F.linear(hidden.to(torch.bfloat16), self.embed_tokens.to(torch.bfloat16))

    def forward(self, tokens, positions, sharp):
        """Logits, [rows, tokens, vocab], of whole sequences."""
        hidden = self.run(tokens, positions, sharp,
                          lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return self.logits(hidden)


def partial(q, k, v, causal):
    """Attention and its log-sum-exp, [rows, heads, tokens]."""
    if q.is_cuda:
        out = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal, False)
    else:
        out = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal)
    return out[0], out[1]


def merge(a, b):
    """One attention out of two over different keys."""
    (x, s), (y, t) = a, b
    total = torch.logaddexp(s, t)
    return (x.float() * (s - total).exp()[..., None] + y.float() * (t - total).exp()[..., None]).to(x.dtype), total


class Reader:
    """Reads a text once, and says which questions about it are answered right, all of them together."""

    def __init__(self, model, tokens, chunk=16384):
        self.model, self.device = model, model.embed_tokens.device
        s = model.shape
        size = (1, s.heads, len(tokens), s.head_dim)
        self.length = len(tokens)
        self.keys = [torch.empty(size, dtype=torch.bfloat16, device=self.device) for _ in range(s.layers)]
        self.values = [torch.empty(size, dtype=torch.bfloat16, device=self.device) for _ in range(s.layers)]
        tokens = torch.as_tensor(tokens, dtype=torch.long, device=self.device)
        for start in range(0, self.length, chunk):
            end = min(start + chunk, self.length)

            def attend(i, q, k, v, start=start, end=end):
                own = partial(q, k, v, True)
                if start:
                    own = merge(partial(q, self.keys[i][:, :, :start], self.values[i][:, :, :start], False), own)
                self.keys[i][:, :, start:end], self.values[i][:, :, start:end] = k, v
                return own[0]

            model.run(tokens[None, start:end], torch.arange(start, end, device=self.device)[None], 1.0, attend)

    def right(self, prompts, answers):
        """Whether greedy decoding gives exactly answers[i] after prompts[i], both lists of tokens; a list of bools.

        All are read in one pass, padded behind: a greedy answer is right when each of its tokens is the likeliest after
        the right ones before it.
        """
        s, rows = self.model.shape, len(prompts)
        longest = max(len(p) + len(a) for p, a in zip(prompts, answers))
        fed = torch.tensor([[*p, *a] + [0] * (longest - len(p) - len(a)) for p, a in zip(prompts, answers)], device=self.device)

        def attend(i, q, k, v):
            # The rows share the text: their queries go over its keys as one row.
            flat = q.transpose(0, 1).reshape(1, s.heads, rows * longest, s.head_dim)
            x, lse = partial(flat, self.keys[i], self.values[i], False)
            x = x.reshape(s.heads, rows, longest, s.head_dim).transpose(0, 1)
            lse = lse.reshape(s.heads, rows, longest).transpose(0, 1)
            return merge((x, lse), partial(q, k, v, True))[0]

        where = torch.arange(self.length, self.length + longest, device=self.device).expand(rows, longest)
        likeliest = self.model.logits(self.model.run(fed, where, 1.0, attend)).argmax(-1).tolist()
        return [likeliest[i][len(p) - 1:len(p) + len(a) - 1] == list(a) for i, (p, a) in enumerate(zip(prompts, answers))]


def export(model, tokenizer, folder):
    """Writes config.json, tokenizer.json, tokenizer_config.json and model.safetensors; returns their bytes in all."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    s = model.shape
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": s.hidden,
        "intermediate_size": s.ffn, "num_hidden_layers": s.layers, "num_attention_heads": s.heads,
        "num_key_value_heads": s.heads, "head_dim": s.head_dim, "vocab_size": s.vocab, "max_position_embeddings": CONTEXT,
        "rms_norm_eps": s.eps, "rope_theta": s.base, "rope_scaling": None, "attention_bias": False, "mlp_bias": False,
        "attention_dropout": 0.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True,
        "bos_token_id": tokenizer.begin, "eos_token_id": tokenizer.end,
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BEGIN, "eos_token": END, "add_bos_token": True,
                "model_max_length": CONTEXT, "clean_up_tokenization_spaces": False, "chat_template": TEMPLATE}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    compact = json.dumps(tokenizer.json(), ensure_ascii=False, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(compact, encoding="utf-8")
    header, data, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in sorted(names(model).items()):
        raw = tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy().astype("<i2").tobytes()
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))
    return sum(f.stat().st_size for f in folder.iterdir())


def names(model):
    """The model's tensors under the names of Hugging Face's Llama."""
    out = {"model.embed_tokens.weight": model.embed_tokens, "model.norm.weight": model.norm}
    for i, layer in enumerate(model.layers):
        for name, tensor in layer.named_parameters():
            part = "self_attn." if name[0] in "qkvo" and name[1] == "_" else "mlp." if name.endswith("_proj") else ""
            out[f"model.layers.{i}.{part}{name}.weight"] = tensor
    return out


def restore(model, path):
    """Loads the weights of a model.safetensors that export wrote."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    for name, tensor in names(model).items():
        entry = header.get(name)
        if entry is None or entry["shape"] != list(tensor.shape):
            raise ValueError(f"{path}: {name} is {entry and entry['shape']}, expected {list(tensor.shape)}; "
                             "use a model of this shape")
        start, end = entry["data_offsets"]
        raw = torch.frombuffer(bytearray(data[8 + size + start:8 + size + end]), dtype=torch.bfloat16)
        with torch.no_grad():
            tensor.copy_(raw.view(tensor.shape))
