"""The architectures whose golden data make.py writes: a configuration in the form of the family's published files, and
what must be visible in the logits.

Sizes are the smallest that still show every pattern: 2 to 6 layers, hidden size 32 to 64, heads of 16, a vocabulary
of 96, windows of 32, and 64 positions as the length that RoPE scaling starts from. The MLP is as wide as a file of
150 KiB leaves room for.
"""

from dataclasses import dataclass, field, replace
from typing import Callable

import torch

VOCABULARY, HEAD_DIM, WINDOW, ORIGINAL = 96, 16, 32, 64
# What a change of the feature must move some checked logit by at least; finer features name their own figure.
VISIBLE = 1e-2


@dataclass(frozen=True)
class Feature:
    """One thing that an implementation could get wrong, as a change that takes it away or alters it."""

    name: str
    config: dict = field(default_factory=dict)  # key or "key.key" -> another value; REMOVED takes the key out
    weights: Callable | None = None  # (name, tensor, neutral) -> another tensor, or the same
    embeddings: float = 1.0  # what the embeddings' output is multiplied by
    least: float = VISIBLE


@dataclass(frozen=True)
class Architecture:
    name: str
    config: dict
    features: list
    norm_neutral: float = 1.0  # 0 where a norm multiplies by 1 + w
    recomputes_keys: bool = False  # the angles of old keys depend on the length so far


REMOVED = object()


def base(model_type, name, hidden, layers, mlp, tied, kv_heads=2, **fields):
    """The fields that all published files have, in their alphabetical order, and those of the family."""
    config = {
        "architectures": [name],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": mlp,
        "max_position_embeddings": 256,
        "model_type": model_type,
        "num_attention_heads": 4,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0",
        "use_cache": True,
        "vocab_size": VOCABULARY,
    }
    config |= fields
    return {key: config[key] for key in sorted(config) if config[key] is not REMOVED}


def zeroed(part):
    return lambda name, tensor, neutral: torch.zeros_like(tensor) if part in name else tensor


def neutral_norm(part):
    return lambda name, tensor, neutral: torch.full_like(tensor, neutral) if part in name else tensor


def shifted_norms(by):
    """All norms' weights moved: what confusing w and 1 + w does."""
    return lambda name, tensor, neutral: tensor + by if "norm" in name else tensor


def swapped(part, first, second):
    """The rows of two spans of a fused matrix exchanged."""

    def change(name, tensor, neutral):
        if part not in name:
            return tensor
        out = tensor.clone()
        out[first], out[second] = tensor[second], tensor[first]
        return out

    return change


def theta(to=40000.0):
    return Feature("rope_theta", {"rope_theta": to})


def norms(*parts, plus_one=False):
    features = [Feature(part, weights=neutral_norm(part)) for part in parts]
    return features + [Feature("1 + w" if plus_one else "w", weights=shifted_norms(-1.0 if plus_one else 1.0))]


LLAMA_NORMS = norms("input_layernorm", "post_attention_layernorm", "model.norm")
QK_NORMS = [Feature(part, weights=neutral_norm(part)) for part in ("q_norm", "k_norm")]


def llama(mlp, tied, rope_scaling=None, **fields):
    fields = {"attention_bias": False, "mlp_bias": False, "pretraining_tp": 1, "rope_scaling": rope_scaling} | fields
    return base("llama", "LlamaForCausalLM", 64, fields.pop("layers", 3), mlp, tied, **fields)


def scaling(**changes):
    """RoPE scaling taken away as a whole, and each of its parameters changed."""
    features = [Feature("rope_scaling", {"rope_scaling": None})]
    return features + [Feature(key, {f"rope_scaling.{key}": value}) for key, value in changes.items()]


def windows(least=1e-3):
    """The window doubled, and one token more and less: the query itself is one of the window's tokens."""
    return [
        Feature("sliding_window", {"sliding_window": 2 * WINDOW}),
        Feature("sliding_window + 1", {"sliding_window": WINDOW + 1}, least=least),
        Feature("sliding_window - 1", {"sliding_window": WINDOW - 1}, least=least),
    ]


def gelu(of):
    return [
        Feature("activation silu", {of: "silu"}),
        # The two forms of GELU differ by 5e-4 at most, so what reaches the logits is small.
        Feature("activation erf", {of: "gelu"}, least=1e-4),
    ]


LONG = [1.0, 1.3, 1.9, 2.8, 4.1, 5.9, 7.2, 8.5]
SHORT = [1.0, 1.05, 1.1, 1.2, 1.15, 1.3, 1.45, 1.6]


def phi3(partial, tied, mlp, **fields):
    pairs = int(HEAD_DIM * partial) // 2
    rope_scaling = {"long_factor": LONG[:pairs], "short_factor": SHORT[:pairs], "type": "longrope"}
    fields = {
        "attention_bias": False,
        "embd_pdrop": 0.0,
        "original_max_position_embeddings": ORIGINAL,
        "pad_token_id": 0,
        "resid_pdrop": 0.0,
        "rope_scaling": rope_scaling,
        "sliding_window": None,
    } | fields
    return base("phi3", "Phi3ForCausalLM", 64, 3, mlp, tied, **fields)


def phi3_features(config):
    q, kv = 4 * HEAD_DIM, 2 * HEAD_DIM
    mlp = config["intermediate_size"]
    pairs = len(config["rope_scaling"]["long_factor"])
    ones = [1.0] * pairs
    k, v = slice(q, q + kv), slice(q + kv, q + 2 * kv)
    return [
        theta(),
        Feature("long_factor", {"rope_scaling.long_factor": ones}),
        Feature("short_factor", {"rope_scaling.short_factor": ones}),
        # At no extension at all the factor is 1; the frequencies do not depend on this length.
        Feature("attention factor", {"max_position_embeddings": ORIGINAL}),
        Feature("original_max_position_embeddings", {"original_max_position_embeddings": 2 * ORIGINAL}),
        Feature("max_position_embeddings", {"max_position_embeddings": 1024}),
        Feature("k and v in qkv_proj", weights=swapped("qkv_proj", k, v)),
        Feature("gate and up", weights=swapped("gate_up_proj", slice(0, mlp), slice(mlp, 2 * mlp))),
        *LLAMA_NORMS,
    ]


def qwen2(layers, mlp, tied, **fields):
    fields = {
        "max_window_layers": layers,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": WINDOW,
        "use_sliding_window": False,
    } | fields
    return base("qwen2", "Qwen2ForCausalLM", 64, layers, mlp, tied, **fields)


QWEN2_FEATURES = [theta(), *(Feature(f"{p} bias", weights=zeroed(f"{p}_proj.bias")) for p in "qkv"), *LLAMA_NORMS]


def gemma(model_type, name, hidden, layers, mlp, **fields):
    """Gemma's files have no tie_word_embeddings: its embeddings are tied unless a file says otherwise."""
    fields = {
        "attention_bias": False,
        "cache_implementation": "hybrid",
        "head_dim": HEAD_DIM,
        "hidden_activation": "gelu_pytorch_tanh",
        "pad_token_id": 0,
        "rms_norm_eps": 1e-06,
        "sliding_window": WINDOW,
        "tie_word_embeddings": REMOVED,
    } | fields
    return base(model_type, name, hidden, layers, mlp, True, **fields)


def gemma_features(hidden):
    return [
        theta(),
        *windows(),
        *gelu("hidden_activation"),
        Feature("query_pre_attn_scalar", {"query_pre_attn_scalar": HEAD_DIM}),
        Feature("embedding scale", embeddings=hidden**-0.5),
        *norms(
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
            "model.norm",
            plus_one=True,
        ),
    ]


def gemma3(hidden, kv_heads, mlp, rope_scaling):
    return gemma(
        "gemma3_text",
        "Gemma3ForCausalLM",
        hidden,
        6,
        mlp,
        kv_heads=kv_heads,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        hidden_act=REMOVED,
        query_pre_attn_scalar=24,
        rope_local_base_freq=1000.0,
        rope_scaling=rope_scaling,
        rope_theta=100000.0,
        sliding_window_pattern=6,
    )


def gemma3_features(hidden, local=10000.0):
    return [
        *gemma_features(hidden),
        Feature("rope_local_base_freq", {"rope_local_base_freq": local}),
        Feature("sliding_window_pattern", {"sliding_window_pattern": 3}),
        *QK_NORMS,
    ]


def gemma3_multimodal():
    """In the form of the published files that read pictures, too: what their text_config leaves out are transformers'
    defaults, among them 8 heads, 4 KV heads and a scale of scores for heads of 256."""
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "boi_token_index": 93,
        "eoi_token_index": 94,
        "eos_token_id": [1, 2],
        "image_token_index": 95,
        "initializer_range": 0.02,
        "mm_tokens_per_image": 4,
        "model_type": "gemma3",
        "text_config": {
            "head_dim": HEAD_DIM,
            "hidden_size": 24,
            "intermediate_size": 16,
            "model_type": "gemma3_text",
            "num_hidden_layers": 6,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": WINDOW,
            "vocab_size": VOCABULARY,
        },
        "torch_dtype": "bfloat16",
        "transformers_version": "4.50.0.dev0",
        "vision_config": {
            "hidden_size": 8,
            "image_size": 8,
            "intermediate_size": 8,
            "model_type": "siglip_vision_model",
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "patch_size": 2,
            "vision_use_head": False,
        },
    }


def within(part, features):
    """The features of a model whose configuration is a part of a file's."""
    return [replace(f, config={f"{part}.{key}": value for key, value in f.config.items()}) for f in features]


def architectures():
    # With the usual 32 and 1, a head of 16 has no pair in the ramp's first half.
    yarn = {
        "beta_fast": 3.0,
        "beta_slow": 0.25,
        "factor": 4.0,
        "original_max_position_embeddings": ORIGINAL,
        "rope_type": "yarn",
    }
    llama3 = {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": ORIGINAL,
        "rope_type": "llama3",
    }
    local_first = ["sliding_attention", "full_attention"]
    phi, phi_partial = phi3(1.0, False, 40), phi3(0.75, True, 48, partial_rotary_factor=0.75)
    return [
        Architecture(
            "llama2",
            base("llama", "LlamaForCausalLM", 64, 2, 72, False, 4, pretraining_tp=1, rope_scaling=None),
            [theta(), *LLAMA_NORMS],
        ),
        Architecture(
            "llama-linear",
            llama(40, False, {"factor": 4.0, "type": "linear"}),
            [theta(), *scaling(factor=2.0), *LLAMA_NORMS],
        ),
        Architecture(
            "llama-dynamic",
            llama(48, True, {"factor": 2.0, "type": "dynamic"}, max_position_embeddings=ORIGINAL),
            [
                theta(),
                *scaling(factor=4.0),
                Feature("max_position_embeddings", {"max_position_embeddings": 2 * ORIGINAL}),
                *LLAMA_NORMS,
            ],
            recomputes_keys=True,
        ),
        Architecture(
            "llama-yarn",
            llama(40, False, yarn),
            [
                theta(),
                *scaling(
                    factor=2.0,
                    beta_fast=REMOVED,
                    beta_slow=REMOVED,
                    attention_factor=1.0,
                    truncate=False,
                    original_max_position_embeddings=4 * ORIGINAL,
                ),
                *LLAMA_NORMS,
            ],
        ),
        Architecture(
            "llama31",
            llama(48, True, llama3, head_dim=HEAD_DIM),
            [
                theta(),
                *scaling(
                    factor=4.0,
                    high_freq_factor=8.0,
                    low_freq_factor=2.0,
                    original_max_position_embeddings=2 * ORIGINAL,
                ),
                *LLAMA_NORMS,
            ],
        ),
        Architecture(
            "mistral",
            base("mistral", "MistralForCausalLM", 64, 3, 40, False, sliding_window=WINDOW),
            [theta(), *windows(), *LLAMA_NORMS],
        ),
        Architecture(
            "mistral-full",
            base("mistral", "MistralForCausalLM", 48, 4, 40, False, head_dim=HEAD_DIM, sliding_window=None),
            [theta(), Feature("sliding_window", {"sliding_window": WINDOW}), *LLAMA_NORMS],
        ),
        Architecture(
            "qwen2",
            qwen2(3, 48, True),
            [
                *QWEN2_FEATURES,
                Feature("use_sliding_window", {"use_sliding_window": True, "max_window_layers": 0}),
            ],
        ),
        Architecture(
            "qwen2-window",
            qwen2(4, 16, True, use_sliding_window=True, max_window_layers=2),
            [*QWEN2_FEATURES, *windows(), Feature("max_window_layers", {"max_window_layers": 1})],
        ),
        Architecture(
            "qwen3",
            base(
                "qwen3",
                "Qwen3ForCausalLM",
                48,
                4,
                48,
                True,
                attention_bias=False,
                head_dim=HEAD_DIM,
                max_window_layers=4,
                rms_norm_eps=1e-06,
                rope_scaling=None,
                rope_theta=1000000.0,
                sliding_window=None,
                use_sliding_window=False,
            ),
            [theta(), *QK_NORMS, *LLAMA_NORMS],
        ),
        Architecture(
            "gemma2",
            gemma(
                "gemma2",
                "Gemma2ForCausalLM",
                48,
                4,
                48,
                attn_logit_softcapping=4.0,
                final_logit_softcapping=6.0,
                hidden_act="gelu_pytorch_tanh",
                query_pre_attn_scalar=24,
            ),
            [
                *gemma_features(48),
                Feature("attn_logit_softcapping", {"attn_logit_softcapping": 6.0}),
                Feature("final_logit_softcapping", {"final_logit_softcapping": None}),
                Feature("layer_types", {"layer_types": 2 * local_first[::-1]}),
            ],
            norm_neutral=0.0,
        ),
        Architecture("gemma3", gemma3(48, 1, 16, None), gemma3_features(48), norm_neutral=0.0),
        Architecture(
            "gemma3-linear",
            gemma3(32, 2, 40, {"factor": 4.0, "rope_type": "linear"}),
            [*gemma3_features(32), *scaling(factor=2.0)],
            norm_neutral=0.0,
        ),
        Architecture(
            "gemma3-multimodal",
            gemma3_multimodal(),
            within("text_config", [*gemma3_features(24, local=1000.0), *scaling(factor=2.0)]),
            norm_neutral=0.0,
        ),
        Architecture("phi3", phi, phi3_features(phi)),
        Architecture("phi3-partial", phi_partial, phi3_features(phi_partial)),
        Architecture(
            "smollm3",
            base(
                "smollm3",
                "SmolLM3ForCausalLM",
                64,
                4,
                24,
                True,
                attention_bias=False,
                layer_types=4 * ["full_attention"],
                max_window_layers=28,
                mlp_bias=False,
                no_rope_layer_interval=4,
                no_rope_layers=[1, 1, 1, 0],
                pad_token_id=0,
                pretraining_tp=2,
                rms_norm_eps=1e-06,
                rope_scaling=None,
                rope_theta=5000000.0,
                sliding_window=None,
                use_sliding_window=False,
            ),
            [theta(), Feature("no_rope_layers", {"no_rope_layers": [1, 1, 1, 1]}), *LLAMA_NORMS],
        ),
    ]
