"""Writes kernels/cpu/simd/testdata/quants.json.gz: blocks of GGUF's K encodings and of IQ4_NL, with the numbers that
the gguf package decodes them to.

    python make.py OUT.json.gz [BLOCKS]        (pip install numpy gguf==0.19.0 llama-cpp-python==0.3.36)

For each encoding there are blocks of random bits, blocks of random bits whose scales are special (infinite, NaN, zero
of either sign, subnormal), and blocks that ggml quantises from numbers as weights have them: normal, of few outliers,
of one sign, all zero. ggml's own decoder, in C, is held to the gguf package's first: they agree in every bit but in
what a NaN carries. The random numbers come from a fixed seed, so a second run writes the same file.

BLOCKS, 3 by default, is how many of each kind: the Go test TestGoldenQuants reads a larger file from
HEADINFER_QUANTS.
"""

import base64
import ctypes
import gzip
import json
import pathlib
import sys

import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

SEED = 20260311
# The bytes of a block that are its scales in half precision.
HALVES = {"Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0]}
SPECIAL = [0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF]

folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
ggml = ctypes.CDLL(str(folder / "libggml-base.so"))
ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
ggml.ggml_quantize_chunk.argtypes = [
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
]


def from_c(name, blocks):
    """What ggml's decoder makes of the blocks."""
    out = np.empty((len(blocks), GGML_QUANT_SIZES[Type[name]][0]), np.float32)
    decode = getattr(ggml, "dequantize_row_" + name.replace("Q", "q").replace("NL", "nl").replace("I", "i"))
    decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    decode.restype = None
    decode(blocks.ctypes.data, out.ctypes.data, out.size)
    return out


def quantised(rng, name, count):
    size, length = GGML_QUANT_SIZES[Type[name]]
    x = rng.standard_normal((count, size)).astype(np.float32) * 0.05
    kind = np.arange(count) % 4
    outliers = rng.random(x.shape) < 0.01
    x[kind == 1] *= np.where(outliers[kind == 1], 20, 1)
    x[kind == 2] = np.abs(x[kind == 2])
    x[kind == 3, : size // 2] = 0
    out = np.zeros((count, length), np.uint8)
    written = ggml.ggml_quantize_chunk(Type[name].value, x.ctypes.data, out.ctypes.data, 0, count, size, None)
    if written != out.size:
        sys.exit(f"{name}: ggml wrote {written} bytes, and {out.size} were expected")
    return out


def main():
    path, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    rng = np.random.default_rng(SEED)
    answer = {}
    for name, halves in HALVES.items():
        size, length = GGML_QUANT_SIZES[Type[name]]
        many = count * max(1, 64 // size)
        anything, special = rng.integers(0, 256, (2, many, length), np.uint8)
        for at in halves:
            special[:, at : at + 2] = rng.choice(np.array(SPECIAL, "<u2"), many).reshape(-1, 1).view(np.uint8)
        blocks = np.concatenate([anything, special, quantised(rng, name, many)])
        with np.errstate(all="ignore"):
            floats = dequantize(blocks, Type[name])
        other = from_c(name, blocks)
        same = (floats.view(np.uint32) == other.view(np.uint32)) | np.isnan(floats) & np.isnan(other)
        if not same.all():
            sys.exit(f"{name}: the gguf package and ggml differ in {(~same).sum()} numbers")
        if np.isfinite(floats).mean() < 0.5 or np.isfinite(floats).all():
            sys.exit(f"{name}: {np.isfinite(floats).mean():.0%} of the numbers are finite")
        answer[name.lower()] = {
            "blocks": base64.b64encode(blocks.tobytes()).decode(),
            "floats": base64.b64encode(floats.astype("<f4").tobytes()).decode(),
        }
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
        z.write(json.dumps(answer, sort_keys=True).encode())


main()
