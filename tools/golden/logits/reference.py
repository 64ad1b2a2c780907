"""A Llama decoder in float64 NumPy: the reference that headinfer's logits are compared with.

It is written to be read, not to be fast: no KV cache, no chunks, no head groups, no spans. Every position of
the prompt goes through every layer at once, one query head at a time, with the whole causal mask.

Shapes: T tokens, E hidden size, H query heads, G KV heads (H is a multiple of G), D head_dim, F MLP size, V vocabulary.
A weight is [out, in], as checkpoints store it, and is applied as x @ w.T.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Config:
    layers: int
    query_heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    eps: float
    # False: dimensions d and d + D/2 of a head turn together (Hugging Face); True: 2d and 2d + 1 do (GGUF's llama).
    interleaved: bool


@dataclass(frozen=True)
class Layer:
    attention_norm: np.ndarray  # [E]
    q: np.ndarray  # [H*D, E]
    k: np.ndarray  # [G*D, E]
    v: np.ndarray  # [G*D, E]
    o: np.ndarray  # [E, H*D]
    mlp_norm: np.ndarray  # [E]
    gate: np.ndarray  # [F, E]
    up: np.ndarray  # [F, E]
    down: np.ndarray  # [E, F]


@dataclass(frozen=True)
class Weights:
    embedding: np.ndarray  # [V, E]
    layers: list
    norm: np.ndarray  # [E]
    head: np.ndarray  # [V, E]; the embedding itself when the two are tied


def rms_norm(x, weight, eps):
    """x [T, E] divided by its root mean square along E, times weight [E]."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rope(x, theta, interleaved):
    """Turns x [T, heads, D] by the angles of positions 0..T-1: pair j of position t by t * theta^(-2j/D)."""
    tokens, _, dim = x.shape
    frequency = theta ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
    angle = np.arange(tokens, dtype=np.float64)[:, None] * frequency[None, :]
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    if interleaved:
        first, second = np.s_[..., 0::2], np.s_[..., 1::2]
    else:
        first, second = np.s_[..., : dim // 2], np.s_[..., dim // 2 :]
    a, b = x[first], x[second]
    out = np.empty_like(x)
    out[first] = a * cos - b * sin
    out[second] = b * cos + a * sin
    return out


def attention(q, k, v):
    """Causal attention of q [T, H, D] over k and v [T, G, D], as [T, H*D]; also the mean entropy of its rows in nats."""
    tokens, heads, dim = q.shape
    shared = heads // k.shape[1]
    future = np.triu(np.ones((tokens, tokens), dtype=bool), 1)
    out = np.empty((tokens, heads, dim))
    entropy = 0.0
    for h in range(heads):
        score = q[:, h] @ k[:, h // shared].T / np.sqrt(dim)
        score[future] = -np.inf
        score -= score.max(axis=-1, keepdims=True)
        weight = np.exp(score)
        weight /= weight.sum(axis=-1, keepdims=True)
        entropy -= np.mean(np.sum(weight * np.log(np.maximum(weight, 1e-300)), axis=-1)) / heads
        out[:, h] = weight @ v[:, h // shared]
    return out.reshape(tokens, heads * dim), entropy


def logits(config, weights, ids, last):
    """Logits [last, V] of the last positions of the prompt ids, and the mean attention entropy of each layer."""
    tokens = len(ids)
    x = weights.embedding[np.asarray(ids)].astype(np.float64)
    entropies = []
    for layer in weights.layers:
        y = rms_norm(x, layer.attention_norm, config.eps)
        q = (y @ layer.q.T).reshape(tokens, config.query_heads, config.head_dim)
        k = (y @ layer.k.T).reshape(tokens, config.kv_heads, config.head_dim)
        v = (y @ layer.v.T).reshape(tokens, config.kv_heads, config.head_dim)
        q = rope(q, config.rope_theta, config.interleaved)
        k = rope(k, config.rope_theta, config.interleaved)
        mixed, entropy = attention(q, k, v)
        entropies.append(entropy)
        x = x + mixed @ layer.o.T
        y = rms_norm(x, layer.mlp_norm, config.eps)
        gate = y @ layer.gate.T
        x = x + (gate / (1.0 + np.exp(-gate)) * (y @ layer.up.T)) @ layer.down.T
    x = rms_norm(x[-last:], weights.norm, config.eps)
    return x @ weights.head.T, entropies


def greedy(config, weights, ids, count):
    """Appends count tokens, each the argmax of a fresh whole pass. Returns the new ids and, for each, how far its
    logit stood above the second best: a step with a small margin may fairly differ in another precision."""
    ids, margins = list(ids), []
    start = len(ids)
    for _ in range(count):
        row = logits(config, weights, ids, 1)[0][0]
        second, first = np.sort(row)[-2:]
        margins.append(float(first - second))
        ids.append(int(row.argmax()))
    return ids[start:], margins
