// Prefill attention for bf16 activations.

#include "attention_prefill.cuh"

ATTENTION_PREFILLS(bf16, bf16)
