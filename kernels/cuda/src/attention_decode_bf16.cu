// Decode attention for bf16 activations.

#include "attention_decode.cuh"

ATTENTION_DECODES(bf16, bf16)
