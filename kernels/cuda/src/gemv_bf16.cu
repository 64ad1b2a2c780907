// Linear layers for few rows of bf16 activations.

#include "gemv.cuh"

FOR_WEIGHTS(GEMV, bf16, bf16)
