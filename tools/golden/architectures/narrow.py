"""How far transformers itself gets from the expected logits when it computes a tiny model in bf16.

    python tools/golden/architectures/narrow.py testdata/architectures

needs PyTorch and transformers, as make.py does. It writes narrow.json into the folder: for each model the greatest
difference of a checked logit, as a share of the largest logit there. Tests on devices that compute in bf16 are held
to that.
"""

import json
import pathlib
import sys

import torch
import transformers


def difference(directory):
    expected = json.loads((directory / "expected.json").read_text())
    named = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, attn_implementation="eager", **{named: torch.bfloat16}
    ).eval()
    worst = 0.0
    for case in expected["cases"]:
        with torch.no_grad():
            rows = model(torch.tensor([case["ids"]])).logits[0, case["positions"]].double()
        for got, want in zip(rows, torch.tensor(case["logits"], dtype=torch.float64)):
            worst = max(worst, ((got - want).abs().max() / want.abs().max()).item())
    return worst


def main():
    root = pathlib.Path(sys.argv[1])
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    found = {d.name: float(f"{difference(d):.2g}") for d in sorted(root.iterdir()) if d.is_dir()}
    (root / "narrow.json").write_text(json.dumps(found, indent=1) + "\n")
    for name, value in found.items():
        print(f"{name}: {value}")


main()
