// Linear layers for few rows of f16 activations.

#include "gemv.cuh"

FOR_WEIGHTS(GEMV, f16, f16)
