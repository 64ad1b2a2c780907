// Decode attention for f16 activations.

#include "attention_decode.cuh"

ATTENTION_DECODES(f16, f16)
