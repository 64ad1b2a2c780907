"""Trains the built-in model on one GPU, within a time budget, and evaluates it.

    python3 tools/train/train.py --out OUT [--seconds 840] [--resume OUT/checkpoint.pt]

Sequences grow from 256 to 32768 tokens by stages, each a share of the time; a stage that is learned ends early and
leaves its time to those after it. OUT gets model/ (a Hugging Face directory), checkpoint.pt (f32 weights), log.txt and
evaluation.json; model/ and checkpoint.pt are also written at 80% of the time.
"""

import argparse
import collections
import json
import math
import multiprocessing
import os
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F

import bpe
import evaluate
import model as net
import prose
import tasks

# (share of the time, tokens a sequence, sequences a step, share of random copies)
STAGES = ((0.30, 256, 512, 0.20), (0.16, 512, 256, 0.12), (0.16, 2048, 64, 0.03), (0.16, 8192, 16, 0.0),
          (0.12, 16384, 8, 0.0), (0.10, 32768, 4, 0.0))
# A stage ends early when this share of the answers' digits is right.
LEARNED = 0.99
REVIEW = 0.25  # share of the steps that go back to an earlier stage
QUEUE = 48
filler = None  # each worker's copy, made before the workers are


def make(arguments):
    return tasks.batch(filler, *arguments)


class Feed:
    """Batches from worker processes, made ahead of need, in the order of their seeds."""

    def __init__(self, pool, seed, stages):
        self.pool, self.seed, self.stages = pool, seed, stages
        self.queue = collections.deque()

    def next(self, stage):
        while len(self.queue) < QUEUE:
            self.seed += 1
            draw = np.random.default_rng(self.seed)
            at = int(draw.integers(0, stage)) if stage and draw.random() < REVIEW else stage
            _, length, rows, copying = self.stages[at]
            # The shortest sequences learn to look back first; far positions come from the second stage on, and in reviews.
            limit = length if stage == 0 else net.CONTEXT
            self.queue.append((at, self.pool.apply_async(make, ((self.seed, length, rows, limit, copying),))))
        at, result = self.queue.popleft()
        return at, result.get()


def losses(logits, targets, weights):
    """The loss to descend; and over answers the mean loss, and of digits the share that is right."""
    each = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none").view(targets.shape)
    answers = weights >= 0.5
    strong = torch.where(answers, weights, 0.0)
    weak = weights - strong
    loss = (each * strong).sum() / strong.sum().clamp(min=1) + (each * weak).sum() / (weak > 0).sum().clamp(min=1)
    return loss, each, weights == 1


def train(a, say):
    global filler
    tokenizer = bpe.load(pathlib.Path(__file__).resolve().parent / "tokenizer.json")
    torch.manual_seed(a.seed)
    model = net.Model(net.Shape(len(tokenizer)))
    seed = a.seed * 1_000_000
    if a.resume:
        saved = torch.load(a.resume, map_location="cpu", weights_only=True)
        model.load_state_dict(saved["model"])
        seed = saved["seed"]
    filler = prose.Filler(tokenizer, a.seed)
    stages = [(s, n, max(1, rows // a.shrink), c) for s, n, rows, c in STAGES]
    pool = multiprocessing.get_context("fork").Pool(a.workers)
    feed = Feed(pool, seed, stages)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    digits = torch.tensor([tokenizer.ids[c] for c in "0123456789"], device=device)
    if a.compile:
        model.before, model.after = torch.compile(net.before, dynamic=True), torch.compile(net.after, dynamic=True)
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    optimiser = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
                                  lr=a.rate, betas=(0.9, 0.95), fused=device == "cuda")
    say(f"{sum(p.numel() for p in model.parameters())} parameters, {len(tokenizer)} tokens, seed {a.seed}, {a.seconds:.0f} s, "
        f"{device}, torch {torch.__version__}")
    stage, left_at, right, step, seen, half = a.first_stage, 0.0, 0.0, 0, 0, False
    first = feed.next(stage)  # the workers are warm before the clock starts
    start = shown = time.time()
    while (fraction := (time.time() - start) / a.seconds) < 1:
        rest = sum(s for s, *_ in stages[stage:])
        over = fraction >= left_at + (1 - left_at) * stages[stage][0] / rest
        if stage < len(stages) - 1 and (over or right >= LEARNED):
            say(f"stage {stage} ({stages[stage][1]} tokens) ends at {fraction * a.seconds:.0f} s, digits {right:.4f}")
            stage, left_at, right = stage + 1, fraction, 0.0
        at, (tokens, weights, positions) = first or feed.next(stage)
        first = None
        rate = a.rate * min(1, (step + 1) / 200) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * fraction)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        tokens = torch.from_numpy(tokens).to(device).long()
        weights = torch.from_numpy(weights).to(device).float() / tasks.SCALE
        positions = torch.from_numpy(positions).to(device)
        targets, weights = tokens.roll(-1, 1), weights.roll(-1, 1)
        weights[:, -1] = 0
        # Long sequences learn with flatter attention than the exported model has, which so holds among more tokens.
        draw = np.random.default_rng(feed.seed + step)
        sharp = torch.tensor(1.0 if stages[at][1] <= 512 or draw.random() < 0.2 else draw.uniform(0.72, 1.0), device=device)
        logits = model(tokens, positions, sharp)
        loss, each, answers = losses(logits, targets, weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step, seen = step + 1, seen + tokens.numel()
        if step % 20 == 0 and at == stage:
            with torch.no_grad():
                numbers = answers & torch.isin(targets, digits)
                now = ((logits.argmax(-1) == targets)[numbers].sum() / numbers.sum().clamp(min=1)).item()
            right = now if right == 0 else 0.8 * right + 0.2 * now
        if time.time() - shown > a.report:
            shown = time.time()
            say(f"{shown - start:6.1f} s step {step} tokens {seen / 1e6:.0f}M length {tokens.shape[1]} "
                f"answers {each[answers].mean().item():.4f} text {each[~answers & (weights > 0)].mean().item():.3f} "
                f"digits {right:.4f} norm {norm.item():.2f} rate {rate:.5f} {seen / (shown - start) / 1e3:.0f}K tokens/s")
        if not half and fraction > 0.8:
            half = True
            save(a, model, tokenizer, feed.seed)
    say(f"{step} steps, {seen / 1e6:.0f}M tokens, {time.time() - start:.0f} s, digits {right:.4f}")
    pool.terminate()
    total = save(a, model, tokenizer, feed.seed)
    say(f"model: {total} bytes")
    model.before, model.after = net.before, net.after
    net.restore(model, a.out / "model" / "model.safetensors")  # what was exported is what is evaluated
    result = evaluate.evaluate(model, tokenizer, prose.Filler(tokenizer, a.seed + 1), a.evaluation, a.lengths, say=say)
    result["trained"] = {"seconds": a.seconds, "steps": step, "tokens": seen, "seed": a.seed, "bytes": total}
    (a.out / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def save(a, model, tokenizer, seed):
    torch.save({"model": model.state_dict(), "seed": seed}, a.out / "checkpoint.pt")
    return net.export(model, tokenizer, a.out / "model")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, required=True, help="folder for the model, the log and the evaluation")
    p.add_argument("--seconds", type=float, default=float(os.environ.get("TRAIN_SECONDS", 840)), help="of training")
    p.add_argument("--evaluation", type=float, default=60, help="seconds of evaluation")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate; 1e-3 suits --resume")
    p.add_argument("--resume", type=pathlib.Path, help="a checkpoint.pt to go on from")
    p.add_argument("--first-stage", type=int, default=0, help="2 or later suits --resume")
    p.add_argument("--compile", action="store_true", help="compile the layers, half a minute of the time")
    p.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    p.add_argument("--shrink", type=int, default=1, help="divides the sequences of a step, to try the script on a small machine")
    p.add_argument("--lengths", type=lambda s: [int(x) for x in s.split(",")], default=evaluate.LENGTHS, help="of the needle texts")
    p.add_argument("--report", type=float, default=10, help="seconds between lines of the log")
    a = p.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    with open(a.out / "log.txt", "w", encoding="utf-8") as log:
        def say(line):
            print(line, flush=True)
            log.write(line + "\n")
            log.flush()
        train(a, say)


if __name__ == "__main__":
    main()
