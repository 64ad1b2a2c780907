"""Times PyTorch's attention on a GPU, for the figures in docs/kernels.md: FlashAttention-2 and cuDNN.

    python3 tools/peer/attention.py

needs PyTorch with CUDA. bf16, causal, 32 query heads on 8 KV heads, TFLOP/s of what the mask leaves; the backends are
timed in turns, as the kernels here are: a pause, three calls, then batches of five between two events. Figures are
medians over the rounds, with the best in brackets. A backend that does not take fewer KV heads than query heads gets
each KV head repeated beforehand, and the line says so.
"""

import argparse
import statistics
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

BACKENDS = {"FlashAttention-2": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION}
BATCH = 5


def attention(backend, q, k, v, grouped):
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)


def milliseconds(call, batches):
    """The median time of one call, after warming up."""
    # While the device is kept busy the host enqueues a batch, so that its own time is not in the figure.
    busy = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    for _ in range(3):
        call()
    times = []
    for _ in range(batches):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        busy.fill_(1)
        begin.record()
        for _ in range(BATCH):
            call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / BATCH)
    return statistics.median(times)


def calls(q, k, v, group):
    """Each backend's call on a problem, by the name to print."""
    for name, backend in BACKENDS.items():
        try:
            attention(backend, q, k, v, True)
            yield name, lambda backend=backend: attention(backend, q, k, v, True)
            continue
        except RuntimeError:
            pass
        many_k, many_v = (x.repeat_interleave(group, dim=1) for x in (k, v))
        try:
            attention(backend, q, many_k, many_v, False)
        except RuntimeError as error:
            print(f"  {name}: {str(error).splitlines()[0]}")
            continue
        yield name + ", KV heads repeated", lambda backend=backend, k=many_k, v=many_v: attention(backend, q, k, v, False)


def measure(tokens, options):
    heads, kv_heads, head_dim = options.heads, options.kv_heads, options.head_dim
    q = torch.randn(1, heads, tokens, head_dim, dtype=torch.bfloat16, device="cuda")
    k, v = (torch.randn(1, kv_heads, tokens, head_dim, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    work = 4 * heads * head_dim * tokens * (tokens + 1) / 2 * 1e-9
    print(f"head_dim {head_dim}, {heads} heads on {kv_heads}, {tokens} tokens, causal: TFLOP/s, median (best)", flush=True)
    backends = list(calls(q, k, v, heads // kv_heads))
    times = {name: [] for name, _ in backends}
    time.sleep(1)
    for turn in range(options.rounds):
        for i in range(len(backends)):
            name, call = backends[(i + turn) % len(backends)]
            time.sleep(0.3)
            times[name].append(milliseconds(call, 2))
    for name, taken in times.items():
        print(f"  {name:34} {work / statistics.median(taken):5.0f} ({work / min(taken):5.0f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16384, 32768])
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    torch.manual_seed(0)
    with torch.inference_mode():
        for tokens in options.tokens:
            measure(tokens, options)


if __name__ == "__main__":
    main()
