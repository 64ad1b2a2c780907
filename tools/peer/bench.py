"""Measures headinfer and llama.cpp on the same machine, file and threads, in turns, and prints both and their ratio.

    python3 tools/peer/bench.py --model models/SmolLM2-135M-Instruct.Q4_1.gguf --headinfer bin/headinfer

llama-cpp-python is installed, from source and for this processor, into a virtual environment under out/ the first time
(some ten minutes on two cores). Each round runs headinfer bench and then llamacpp.py, both with one measurement a
context; figures are medians over the rounds, so a machine that slows down slows both.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEER = "llama-cpp-python==0.3.36"
METHODS = ["chunked-prefill", "adaptive"]
ROUNDED = "chunked-prefill, products: bf16 (lossy)"


def peer_python(given):
    """The interpreter that has the peer, installing it if need be."""
    if given:
        return given
    home = ROOT / "out" / "peer-venv"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
    found = subprocess.run([python, "-c", "import llama_cpp"], capture_output=True)
    if found.returncode != 0:
        print(f"building {PEER} into {home}", file=sys.stderr)
        env = dict(os.environ, CMAKE_ARGS="-DGGML_NATIVE=ON")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy", PEER], check=True, env=env)
    return str(python)


def ours(args):
    """Yields the figures of our methods, and of rounded products if these are asked for."""
    for (name, what, context), value in bench(args, METHODS):
        yield (name, what, context), value
    if args.rounded:
        for (name, what, context), value in bench(args, METHODS[:1], "--set", "device.products=bf16"):
            if name != "limit":
                yield (ROUNDED, what, context), value


def bench(args, methods, *more):
    command = [args.headinfer, "bench", "--json", "--device", "cpu", "--decode-tokens", str(args.decode), *more]
    command += ["--context", ",".join(map(str, args.contexts)), "--model", args.model, "--method", ",".join(methods)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT).stdout
    for row in json.loads(out)["rows"]:
        if "error" in row:
            sys.exit(f"{row['pipeline']} at {row['context_tokens']} tokens: {row['error']}")
        for what in ("prefill", "decode"):
            phase = row[what]
            yield (row["pipeline"], what, row["context_tokens"]), phase["tokens_per_second"]
            # What arithmetic and memory allow, wherever the cache lies.
            tokens = phase["tokens_per_second"] * phase["seconds"]
            yield ("limit", what, row["context_tokens"]), tokens / phase["limit"]["compute_seconds"]


def theirs(args, python):
    command = [python, str(HERE / "llamacpp.py"), args.model, "--runs", "1", "--decode", str(args.decode)]
    command += ["--threads", str(args.threads), "--contexts", *map(str, args.contexts)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT).stdout
    for line in out.splitlines():
        row = json.loads(line)
        name = "llama.cpp, flash attention" if row["flash_attention"] else "llama.cpp"
        yield (name, row["what"], row["context"]), row["tokens_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--headinfer", required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--contexts", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rounded", action="store_true", help="measure device.products: bf16 too, as the peer multiplies bf16")
    parser.add_argument("--peer-python", help="an interpreter that has llama_cpp, instead of making one")
    args = parser.parse_args()
    python = peer_python(args.peer_python)
    figures = {}
    for _ in range(args.rounds):
        for key, value in [*ours(args), *theirs(args, python)]:
            figures.setdefault(key, []).append(value)
    median = {key: statistics.median(values) for key, values in figures.items()}
    print(f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {args.threads} threads, "
          f"{pathlib.Path(args.model).name}, {PEER}, medians of {args.rounds} rounds, tokens/s\n")
    methods = [*METHODS, ROUNDED] if args.rounded else METHODS
    names = ["limit", "llama.cpp", "llama.cpp, flash attention", *methods]
    print("| | " + " | ".join(f"{what} {n}" for what in ("prefill", "decode") for n in args.contexts) + " |")
    print("|---" * (1 + 2 * len(args.contexts)) + "|")
    for name in names:
        cells = []
        for what in ("prefill", "decode"):
            for n in args.contexts:
                value = median[(name, what, n)]
                best = max(median[("llama.cpp", what, n)], median[("llama.cpp, flash attention", what, n)])
                ratio = f" ({value / best:.2f}×)" if name in methods else ""
                cells.append(f"{value:.1f}{ratio}")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\nRatios are to the better of llama.cpp's two.")


if __name__ == "__main__":
    main()
