"""Writes tiny random models of many architectures and what Hugging Face transformers computes from them in float64.

    python tools/golden/architectures/make.py --out DIR [--only NAME ...]

needs torch, transformers (4.53 or later), safetensors and numpy, no network and no GPU. It writes
DIR/architectures.tar.gz, to be unpacked in testdata; families.py lists the architectures.
"""

import argparse
import copy
import gzip
import hashlib
import io
import json
import os
import pathlib
import sys
import tarfile
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from families import HEAD_DIM, REMOVED, VOCABULARY, architectures

# One prompt inside windows and original lengths, one past both.
PROMPTS = {
    40: [0, 1, 17, 31, 32, 38, 39],
    170: [3, 31, 32, 33, 63, 64, 65, 127, 128, 167, 168, 169],
}
SPECIAL = 4  # ids below are beginning, end and the like: no prompt and no continuation has them
GREEDY, MARGIN, DISTINCT, TRIES = 16, 0.02, 4, 200
FILE_BYTES = 150 * 1024
# float32 must agree with float64 this well, or the models are too steep to test anything with.
FLOAT32 = 1e-3


class Wide(TorchFunctionMode):
    """Makes float64 of every float32 that a model asks for by name: norms, softmax and RoPE's angles are written to be
    computed in float32 whatever the weights' type is."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
        kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return func(*args, **kwargs)


def load_config(fields):
    """The configuration as transformers reads it from a file of these fields."""
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "config.json").write_text(json.dumps(fields))
        config = AutoConfig.from_pretrained(directory)
    config._attn_implementation = "eager"
    return config


def build(config):
    """An untrained model of the configuration in torch's default type, whatever type the configuration names."""
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](copy.deepcopy(config)).eval()


# What files call the parts of a model that reads pictures, too, and what transformers calls them in memory.
PARTS = {
    "language_model.model.": "model.language_model.",
    "vision_tower.": "model.vision_tower.",
    "multi_modal_projector.": "model.multi_modal_projector.",
}


def name_in_memory(name):
    for file, memory in PARTS.items():
        if name.startswith(file):
            return memory + name.removeprefix(file)
    return name


def fill(model, weights):
    """Puts the file's weights into the model; a tied output matrix is not in the file."""
    weights = {name_in_memory(name): weight for name, weight in weights.items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    if set(missing) - tied or unexpected:
        raise ValueError(f"weights do not fit the model: missing {missing}, unexpected {unexpected}")
    return model


def reference(config, weights, embeddings=1.0):
    """The model in float64 throughout; embeddings multiplies the output of its embedding."""
    torch.set_default_dtype(torch.float64)
    try:
        with Wide():
            model = fill(build(config), weights)
    finally:
        torch.set_default_dtype(torch.float32)
    if embeddings != 1.0:
        model.get_input_embeddings().register_forward_hook(lambda module, given, out: out * embeddings)
    return model


def logits(model, ids):
    """Logits [tokens, vocabulary] of one pass over all ids."""
    with torch.no_grad(), Wide():
        out = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    if out.dtype != torch.float64:
        raise ValueError(f"logits are {out.dtype}, not float64")
    return out


LAST_NORM = ("model.norm.weight", "model.language_model.norm.weight")


def scaled_embeddings(config):
    return config.model_type.startswith("gemma")


def scale(name, shape, config):
    """The deviation of a random matrix. Queries and keys are large enough for attention to be far from uniform, so
    that masks, caps and angles show in the logits; the rest keeps activations of a few units."""
    if "embed_tokens" in name:
        return 0.12 if scaled_embeddings(config) else 0.4
    fan = shape[-1] ** -0.5
    if "q_proj" in name or "k_proj" in name:
        return 1.4 * fan
    if "lm_head" in name:
        return 3.0 * fan
    return 1.3 * fan


def random_weights(model, architecture, rng):
    """Random values for each of the model's parameters, rounded to bfloat16."""
    weights = {}
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        value = rng.standard_normal(shape)
        if "norm" in name:
            # Norms of queries and keys are what their scores' size depends on.
            middle = architecture.norm_neutral + (0.4 if "q_norm" in name or "k_norm" in name else 0.0)
            value = middle + 0.25 * value
            if name in LAST_NORM and scaled_embeddings(model.config):
                # Small embeddings, or a token would predict itself; this brings the logits back to a few units.
                value = 4.0 * value + 1.5
        elif name.endswith("bias"):
            value = 0.5 * value
        else:
            value = value * scale(name, shape, model.config)
            if "qkv_proj" in name:
                value[: -2 * HEAD_DIM] *= 1.4 / 1.3
        weights[name] = torch.from_numpy(value).to(torch.bfloat16)
    return weights


def greedy(model, ids, cached):
    """The continuation of ids by GREEDY tokens and by how much each leads the second best. cached: by transformers'
    own cache, a token at a time; else each step is a fresh pass over everything."""
    ids, margins, past = list(ids), [], None
    start = len(ids)
    while len(margins) < GREEDY:
        if cached:
            given = ids if past is None else ids[-1:]
            with torch.no_grad(), Wide():
                out = model(input_ids=torch.tensor([given]), past_key_values=past, use_cache=True)
            row, past = out.logits[0, -1], out.past_key_values
        else:
            row = logits(model, ids)[-1]
        best = torch.topk(row, 2)
        margins.append(float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
        if margins[-1] < MARGIN or ids[-1] < SPECIAL:
            return None
    return (ids[start:], margins) if len(set(ids[start:])) >= DISTINCT else None


def make_case(architecture, config, weights, tokens, rng):
    """A prompt of the length whose continuation has no near tie, its logits, and its continuation."""
    for _ in range(TRIES):
        ids = [int(i) for i in rng.integers(SPECIAL, VOCABULARY, tokens)]
        # A new model for each: dynamic scaling remembers the longest text it has seen.
        steps = greedy(reference(config, weights), ids, cached=True)
        passes = steps and greedy(reference(config, weights), ids, cached=False)
        if passes:
            break
    else:
        raise ValueError(f"no prompt of {tokens} tokens in {TRIES} has a continuation without near ties")
    rows = logits(reference(config, weights), ids)[PROMPTS[tokens]]
    case = {"ids": ids, "positions": PROMPTS[tokens], "logits": rows, "greedy": passes[0], "margins": passes[1]}
    if architecture.recomputes_keys:
        case |= {"greedy_cached": steps[0], "margins_cached": steps[1]}
    elif steps[0] != passes[0]:
        raise ValueError(f"with transformers' cache {tokens} tokens go on with {steps[0]}, without with {passes[0]}")
    return case


def changed(fields, changes):
    """The configuration's fields with some replaced."""
    fields = copy.deepcopy(fields)
    for path, value in changes.items():
        *parents, key = path.split(".")
        at = fields
        for parent in parents:
            at = at[parent]
        if value is REMOVED:
            at.pop(key)
        else:
            at[key] = value
    return fields


def sensitivities(architecture, weights, cases):
    """By feature, the greatest change of a checked logit when the feature is altered. Raises where it is too small."""
    found, blind = {}, []
    for feature in architecture.features:
        config = load_config(changed(architecture.config, feature.config))
        altered = weights
        if feature.weights:
            altered = {n: feature.weights(n, w, architecture.norm_neutral) for n, w in weights.items()}
        most = 0.0
        for case in cases:
            model = reference(config, altered, feature.embeddings)
            rows = logits(model, case["ids"])[case["positions"]]
            most = max(most, float((rows - case["logits"]).abs().max()))
        found[feature.name] = most
        if not most >= feature.least:
            blind.append(f"{feature.name} moves logits by {most:.2g}, {feature.least:.2g} expected")
    if blind:
        raise ValueError("; ".join(blind))
    return found


def check_files(directory, cases):
    """Reads the folder as a user would, in float32, and compares. Returns the greatest difference of a logit."""
    named = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    most = 0.0
    for case in cases:
        model = AutoModelForCausalLM.from_pretrained(
            directory, attn_implementation="eager", **{named: torch.float32}
        ).eval()
        with torch.no_grad():
            rows = model(input_ids=torch.tensor([case["ids"]]), use_cache=False).logits[0]
        most = max(most, float((rows[case["positions"]].double() - case["logits"]).abs().max()))
    if not most < FLOAT32:
        raise ValueError(f"the files read in float32 give logits {most:.2g} away, less than {FLOAT32} expected")
    return most


def write_json(path, text):
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def digits(values, count=7):
    return [float(f"{float(v):.{count}g}") for v in values]


def write_expected(path, architecture, cases, found, float32):
    """One row of logits a line, so that a change can be read."""
    parts = []
    for case in cases:
        lines = [f'   "ids": {json.dumps(case["ids"])}', f'   "positions": {json.dumps(case["positions"])}']
        rows = ",\n".join("    " + json.dumps(digits(row)) for row in case["logits"])
        lines.append(f'   "logits": [\n{rows}\n   ]')
        for key in ("greedy", "margins", "greedy_cached", "margins_cached"):
            if key in case:
                value = case[key] if key.startswith("greedy") else digits(case[key], 4)
                lines.append(f'   "{key}": {json.dumps(value)}')
        parts.append("  {\n" + ",\n".join(lines) + "\n  }")
    head = {
        "architecture": architecture.name,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "float32_difference": digits([float32], 2)[0],
        "changes": {name: digits([value], 3)[0] for name, value in found.items()},
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append(' "cases": [\n' + ",\n".join(parts) + "\n ]")
    write_json(path, "{\n" + ",\n".join(lines) + "\n}")


def make(architecture, directory):
    """Writes one architecture's folder; returns its line of the report."""
    began = time.monotonic()
    directory.mkdir()
    seed = int.from_bytes(hashlib.sha256(architecture.name.encode()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    config = load_config(architecture.config)
    model = build(config)
    fill(model, random_weights(model, architecture, rng)).to(torch.bfloat16).save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    (directory / "config.json").rename(directory / "config.saved.json")
    write_json(directory / "config.json", json.dumps(architecture.config, indent=2))
    weights = load_file(directory / "model.safetensors")
    size = (directory / "model.safetensors").stat().st_size
    if size > FILE_BYTES:
        raise ValueError(f"model.safetensors is {size} bytes, at most {FILE_BYTES} expected")
    saved = json.loads((directory / "config.saved.json").read_text())
    cases = [make_case(architecture, config, weights, tokens, rng) for tokens in PROMPTS]
    for case in cases:
        rows = logits(reference(load_config(saved), weights), case["ids"])[case["positions"]]
        if not torch.equal(rows, case["logits"]):
            raise ValueError("config.saved.json gives other logits than config.json")
    found = sensitivities(architecture, weights, cases)
    float32 = check_files(directory, cases)
    write_expected(directory / "expected.json", architecture, cases, found, float32)
    spread = float(torch.cat([case["logits"] for case in cases]).std())
    margin = min(min(case["margins"]) for case in cases)
    listed = ", ".join(f"{name} {value:.2g}" for name, value in found.items())
    return (
        f"{architecture.name}: weights {size} bytes, expected.json {(directory / 'expected.json').stat().st_size} bytes, "
        f"logits' deviation {spread:.2f}, least margin {margin:.3f}, float32 {float32:.1g} away; "
        f"changes: {listed}; {time.monotonic() - began:.1f} s"
    )


def pack(root, names, path):
    """An archive of the folders that depends on nothing but their contents."""
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name in names:
                for file in sorted((root / name).iterdir()):
                    data = file.read_bytes()
                    entry = tarfile.TarInfo(f"architectures/{name}/{file.name}")
                    entry.size, entry.mode = len(data), 0o644
                    archive.addfile(entry, io.BytesIO(data))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", nargs="*", help="the architectures to make; without it all")
    args = parser.parse_args()
    # The models are too small for threads to help.
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    known = architectures()
    unknown = set(args.only or ()) - {a.name for a in known}
    if unknown:
        parser.error(f"no such architecture: {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}", flush=True)
    made, failed = [], []
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        for architecture in known:
            if args.only and architecture.name not in args.only:
                continue
            try:
                print(make(architecture, root / architecture.name), flush=True)
                made.append(architecture.name)
            except Exception as err:  # whatever transformers raises: the other architectures go on
                print(f"{architecture.name}: FAILED: {type(err).__name__}: {err}", flush=True)
                failed.append(architecture.name)
        pack(root, made, args.out / "architectures.tar.gz")
    size = (args.out / "architectures.tar.gz").stat().st_size
    print(f"{len(made)} made, {len(failed)} failed{': ' + ', '.join(failed) if failed else ''}; archive {size} bytes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
