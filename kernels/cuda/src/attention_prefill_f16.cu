// Prefill attention for f16 activations.

#include "attention_prefill.cuh"

ATTENTION_PREFILLS(f16, f16)
