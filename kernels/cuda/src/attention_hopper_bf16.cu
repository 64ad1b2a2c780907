// Prefill attention for bf16 activations on compute capability 9.0a. Other targets have no
// such instructions, and this module is empty there.

#include "attention_hopper.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
ATTENTION_HOPPER(64)
ATTENTION_HOPPER(128)
#endif
