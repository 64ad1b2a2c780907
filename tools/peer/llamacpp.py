"""Measures llama.cpp on a GGUF file: prefill and decode speeds, one JSON line each.

    python tools/peer/llamacpp.py models/SmolLM2-135M-Instruct.Q4_1.gguf --threads 2

needs llama-cpp-python (CMAKE_ARGS="-DGGML_NATIVE=ON" when it is built from source). For every context length, and with
flash attention off (llama-cpp-python's default) and on:
  prefill  tokens of the context divided by the time to evaluate them from an empty cache, in batches of --batch
  decode   --decode tokens, one at a time, after that context, divided by their time; only evaluation is timed: the
           tokens are given, so no sampling is in it
Each line is the median of --runs after one run that is thrown away, and gives the slowest and the fastest beside it:
far apart, they say that the machine was not quiet. Speeds are tokens a second.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

import llama_cpp
import numpy as np


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(model, ids, context, decode):
    """Seconds of one prefill of context tokens and of the decode tokens after them."""

    def one_by_one():
        for token in ids[context : context + decode]:
            model.eval([token])

    model.reset()
    prefill = seconds(lambda: model.eval(ids[:context]))
    return prefill, seconds(one_by_one)


def row(what, context, tokens, times, args, flash):
    speeds = sorted(tokens / t for t in times)
    return {
        "peer": "llama.cpp",
        "version": f"llama-cpp-python {llama_cpp.__version__}",
        "model": args.model.name,
        "what": what,
        "context": context,
        "tokens": tokens,
        "threads": args.threads,
        "batch": args.batch,
        "flash_attention": flash,
        "tokens_per_second": round(statistics.median(speeds), 2),
        "slowest": round(speeds[0], 2),
        "fastest": round(speeds[-1], 2),
        "runs": len(speeds),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--contexts", type=int, nargs="+", default=[512, 4096], help="tokens")
    parser.add_argument("--decode", type=int, default=32, help="tokens timed after each context")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--flash", choices=["off", "on", "both"], default="both")
    parser.add_argument("--seed", type=int, default=1, help="chooses the tokens, which do not change the work")
    args = parser.parse_args()
    longest = max(args.contexts) + args.decode
    for flash in {"off": [False], "on": [True], "both": [False, True]}[args.flash]:
        model = llama_cpp.Llama(
            str(args.model),
            n_ctx=longest,
            n_batch=args.batch,
            n_threads=args.threads,
            n_threads_batch=args.threads,
            flash_attn=flash,
            verbose=False,
        )
        vocabulary = model.n_vocab()
        ids = np.random.default_rng(args.seed).integers(vocabulary // 10, vocabulary, longest).tolist()
        for context in args.contexts:
            times = [measure(model, ids, context, args.decode) for _ in range(args.runs + 1)][1:]
            print(json.dumps(row("prefill", context, context, [t[0] for t in times], args, flash)), flush=True)
            print(json.dumps(row("decode", context, args.decode, [t[1] for t in times], args, flash)), flush=True)
        model.close()


if __name__ == "__main__":
    sys.exit(main())
