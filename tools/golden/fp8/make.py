"""Writes model/safetensors/testdata/fp8.safetensors: matrices in fp8 with scales of
every kind, and beside each what it stands for, W.expected, in bf16.

PyTorch decodes the bytes and rounds; which number has which scale is written
out with NumPy's repeat. Needs torch and numpy:

    python tools/golden/fp8/make.py model/safetensors/testdata/fp8.safetensors
"""

import json
import struct
import sys

import numpy as np
import torch

random = np.random.default_rng(8)

FORMATS = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
SCALES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def raw(t):
    """A tensor's bytes."""
    return t.contiguous().view(torch.uint8).numpy().tobytes()


def spread(scale, rows, cols):
    """The scale of every number, [rows, cols]."""
    if scale.numel() == 1:
        return scale.reshape(1, 1).expand(rows, cols)
    if scale.shape[0] == rows:
        return scale.reshape(rows, 1).expand(rows, cols)
    blocks = np.repeat(np.repeat(scale.numpy(), 128, axis=0), 128, axis=1)
    return torch.from_numpy(np.ascontiguousarray(blocks[:rows, :cols]))


def main(path):
    entries = []  # name, dtype, shape, bytes
    for name, fmt, (rows, cols), shape, dtype, suffix in [
        ("whole", "F8_E4M3", (5, 77), [], "F32", "_scale"),
        ("one", "F8_E5M2", (16, 16), [1], "F16", "_scale"),
        ("row", "F8_E4M3", (7, 33), [7, 1], "BF16", "_scale"),
        ("vector", "F8_E5M2", (9, 31), [9], "F32", "_scale"),
        ("blocks", "F8_E4M3", (150, 300), [2, 3], "F32", "_scale_inv"),
        ("tall", "F8_E5M2", (257, 9), [3, 1], "BF16", "_scale_inv"),
    ]:
        # Every byte occurs, so every number that there is.
        data = np.arange(rows * cols, dtype=np.uint32).astype(np.uint8)
        random.shuffle(data)
        scale = torch.from_numpy(np.array(np.exp(random.normal(-4, 3, shape)), dtype=np.float32)).reshape(shape).to(SCALES[dtype])
        numbers = torch.from_numpy(data).view(FORMATS[fmt]).reshape(rows, cols).to(torch.float32)
        expected = (numbers * spread(scale.to(torch.float32), rows, cols)).to(torch.bfloat16)
        entries += [
            (name + ".weight", fmt, [rows, cols], data.tobytes()),
            (name + ".weight" + suffix, dtype, shape, raw(scale.reshape(-1))),
            (name + ".expected", "BF16", [rows, cols], raw(expected)),
        ]
    header, at = {}, 0
    for name, dtype, shape, data in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, _, data in entries))


main(sys.argv[1])
