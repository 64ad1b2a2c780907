"""Evaluation: needles by length and depth, each task at a few lengths, and the questions of testdata/corpus.

    python3 tools/train/evaluate.py MODEL_DIR [--lengths 1024,4096] [--seconds 60] [--out evaluation.json]

An answer is right when greedy decoding would give the whole expected sentence. Positions, weights (bf16) and prompts are
those of the exported model.
"""

import argparse
import json
import pathlib
import random
import time

import numpy as np
import torch

import bpe
import model as net
import prose
import tasks

CORPUS = pathlib.Path(__file__).resolve().parents[2] / "testdata" / "corpus"
LENGTHS = [1024 << i for i in range(11)]
DEPTHS = 8


def needles(filler, length, count, rng, family=None):
    """A text of length tokens with count facts at evenly spread depths: tokens, tasks, and the depth of each, 0 to 1."""
    t, scene = filler.tokenizer, tasks.Scene(rng)
    asked = [tasks.plain(scene) for _ in range(count)]
    facts = [t.array(" " + task[0][0]) for task in asked]
    body = tasks.trimmed(filler.pieces(length, rng, family), length - 1 - sum(map(len, facts)))
    depths = [(i + rng.random()) / count for i in range(count)]
    at, out, planted = [int(d * len(body)) for d in depths], [], 0
    for i, piece in enumerate(body):
        while planted < count and at[planted] <= i:
            out.append(facts[planted])
            planted += 1
        out.append(piece)
    return np.concatenate([[t.begin], *out, *facts[planted:]]), asked, depths


def planted(filler, task, length, count, rng):
    """A text with count instances of one task and as many of others."""
    t, scene = filler.tokenizer, tasks.Scene(rng)
    asked = [task(scene) for _ in range(count)]
    others = [tasks.simple(scene) for _ in range(count)]
    facts, used = tasks.encoded([x[0] for x in asked + others], t, rng)
    body = tasks.trimmed(filler.pieces(length, rng), length - 1 - used)
    return np.concatenate([[t.begin], *tasks.place_facts(body, facts, rng)]), asked


def ask(model, tokenizer, tokens, asked):
    """Which of the tasks are answered right after the text."""
    prompts = [tokenizer.encode(tasks.QUESTION + question + tasks.ASKED) for _, question, _, _ in asked]
    answers = [tokenizer.encode(" " + answer) + [tokenizer.end] for _, _, answer, _ in asked]
    return net.Reader(model, tokens).right(prompts, answers)


def corpus(model, tokenizer):
    """How many questions of testdata/corpus are answered right, and of how many."""
    right, files = 0, sorted(CORPUS.glob("*.txt"))
    for path in files:
        question = path.with_suffix(".question").read_text(encoding="utf-8").strip()
        key = path.with_suffix(".answer").read_text(encoding="utf-8").strip()
        answer = question.replace("What is the", "The", 1).rstrip("?") + f" is {key}."
        tokens = [tokenizer.begin] + tokenizer.encode(path.read_text(encoding="utf-8"))
        right += ask(model, tokenizer, tokens, [([], question, answer, [key])])[0]
    return right, len(files)


def evaluate(model, tokenizer, filler, seconds, lengths=LENGTHS, seed=20_000_000, say=print):
    """Runs what fits into seconds and returns it as a dict; say prints lines."""
    start, rng = time.time(), random.Random(seed)
    result = {"seed": seed, "needle": [], "tasks": {}}
    with torch.inference_mode():
        result["corpus"] = dict(zip(("right", "of"), corpus(model, tokenizer)))
        say(f"eval corpus {result['corpus']['right']} of {result['corpus']['of']}")
        for name, task in tasks.TASKS.items():
            row = {}
            for length in (4096, 16384, 65536):
                if length > max(lengths) or time.time() - start > 0.4 * seconds:
                    continue
                right = [r for _ in range(2) for r in ask(model, tokenizer, *planted(filler, task, length, 32, rng))]
                row[length] = sum(right) / len(right)
            result["tasks"][name] = row
            say(f"eval task {name:12s} " + "  ".join(f"{k // 1024}K {v:.3f}" for k, v in row.items()))
        spent = 0.0
        for length in lengths:
            if time.time() - start + 4 * spent > seconds:
                say(f"eval needle {length}: left out, {seconds:.0f} s are over")
                continue
            documents = 6 if length <= 65536 else 3 if length <= 262144 else 1
            count, began = min(32, length // 64), time.time()
            right, by_depth = 0, np.zeros((DEPTHS, 2), int)
            for d in range(documents):
                tokens, asked, depths = needles(filler, length, count, rng, 0.1 if d % 3 == 0 else None)
                for ok, depth in zip(ask(model, tokenizer, tokens, asked), depths):
                    by_depth[min(int(depth * DEPTHS), DEPTHS - 1)] += (ok, 1)
                    right += ok
            spent = (time.time() - began) / documents
            entry = {"tokens": length, "right": int(right), "of": documents * count, "by_depth": by_depth.tolist()}
            result["needle"].append(entry)
            depth = " ".join(f"{100 * a // max(b, 1):3d}" for a, b in by_depth.tolist())
            say(f"eval needle {length:8d}: {right}/{entry['of']} = {right / entry['of']:.3f}  by depth % {depth}  "
                f"{spent:.1f} s a text")
    result["seconds"] = round(time.time() - start, 1)
    return result


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--seed", type=int, default=20_000_000)
    p.add_argument("--out", type=pathlib.Path)
    a = p.parse_args()
    tokenizer = bpe.load(a.folder / "tokenizer.json")
    c = json.loads((a.folder / "config.json").read_text(encoding="utf-8"))
    shape = net.Shape(len(tokenizer), c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"], c["head_dim"],
                      c["intermediate_size"], c["rope_theta"], c["rms_norm_eps"])
    model = net.Model(shape).to("cuda" if torch.cuda.is_available() else "cpu")
    net.restore(model, a.folder / "model.safetensors")
    result = evaluate(model, tokenizer, prose.Filler(tokenizer, a.seed), a.seconds,
                      [int(x) for x in a.lengths.split(",")], a.seed)
    if a.out:
        a.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
