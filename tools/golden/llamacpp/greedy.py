"""What llama.cpp writes after ten prompts, greedily, with how far the second token is behind the first each time.

    python tools/golden/llamacpp/greedy.py MODEL.gguf [--tokens 64] > greedy.jsonl

needs llama-cpp-python and numpy. TestGreedyBesideLlamaCpp in stages follows it:

    HEADINFER_TEST_GREEDY=greedy.jsonl HEADINFER_TEST_MODEL=MODEL.gguf go test -v -run TestGreedyBeside ./stages
"""

import argparse
import ctypes
import json

import numpy as np
from llama_cpp import Llama, llama_get_logits_ith

PROMPTS = [
    "The capital of France is",
    "Water boils at",
    "def fibonacci(n):",
    "Once upon a time there was a",
    "1, 2, 3, 4,",
    "The three primary colours are",
    "In the morning the fishermen",
    "To bake bread you need",
    "The opposite of hot is",
    "Dear Sir or Madam,",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=64)
    args = parser.parse_args()
    model = Llama(args.model, n_ctx=1024, n_threads=2, verbose=False)
    for prompt in PROMPTS:
        ids = model.tokenize(prompt.encode(), add_bos=True, special=False)
        model.reset()
        model.eval(ids)
        out, margins = [], []
        for _ in range(args.tokens):
            pointer = llama_get_logits_ith(model.ctx, -1)
            logits = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (model.n_vocab(),))
            second, first = np.sort(logits)[-2:]
            out.append(int(logits.argmax()))
            margins.append(round(float(first - second), 4))
            model.eval(out[-1:])
        print(json.dumps({"prompt": prompt, "ids": ids, "out": out, "margins": margins}), flush=True)


main()
