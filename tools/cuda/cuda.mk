# The CUDA build. Included by the Makefile; needs a C compiler and binutils.
#
# make cuda            bin/headinfer that uses an NVIDIA GPU where there is one
# make cuda-sdk        CUDA's compiler and headers, from Python wheels, in .cuda/
# make cuda-images     compiles kernels/cuda/src into kernels/cuda/images
# make cuda-check      vets the tagged build; are the images those of the sources?
# make gpu-test-build  the GPU packages' tests as programs, in .gpu/
# make gpu-test        builds and runs them

# The toolkit: CUDA_HOME if set, else the system's, else ours. Images are
# compiled with ours alone, so that they come out the same everywhere.
CUDA_SDK   := $(CURDIR)/.cuda
CUDA_HOME  ?= $(firstword $(patsubst %/include/cuda.h,%,$(wildcard /usr/local/cuda/include/cuda.h /opt/cuda/include/cuda.h)) $(CUDA_SDK))
CUDA_STUB  := $(CUDA_SDK)/stub
CUDA_BUILD := CGO_ENABLED=1 \
	CGO_CFLAGS="-O2 -g -I$(CURDIR)/tools/cuda/include -I$(CUDA_HOME)/include" \
	CGO_LDFLAGS="-L$(CUDA_STUB) -lcuda -ldl -lpthread"
# What is tested on a GPU: packages, and of those that have other tests too,
# which (PACKAGE=TESTS; in make a $ is two). Tests of faults and soaks take the
# best device there is, so they mean something with and without a GPU.
GPU_TESTED := ./kernels/cuda/... './stages=^TestGPU' './cmd/headinfer=^Test(GPU|Fault|Soak)'

.PHONY: cuda cuda-sdk cuda-images cuda-check gpu-test gpu-test-build

cuda: $(CUDA_STUB)/libcuda.a
	$(CUDA_BUILD) $(GO) build -tags cuda -ldflags="-s -w" -o bin/headinfer ./cmd/headinfer

cuda-sdk:
	PYTHON="$(PYTHON)" tools/cuda/sdk.sh "$(CUDA_SDK)"

# A toolkit that is not there yet can only be ours.
$(CUDA_HOME)/include/cuda.h:
	PYTHON="$(PYTHON)" tools/cuda/sdk.sh "$(CUDA_SDK)"

$(CUDA_STUB)/libcuda.a: tools/cuda/trampoline.c tools/cuda/trampoline.sh tools/cuda/include/cuda.h go.mod \
		$(wildcard kernels/cuda/driver/*.c kernels/cuda/driver/*.h) | $(CUDA_HOME)/include/cuda.h
	$(CUDA_BUILD) GO="$(GO)" tools/cuda/trampoline.sh "$(CUDA_STUB)"

cuda-images: cuda-sdk
	tools/cuda/images.sh "$(CUDA_SDK)"

cuda-check: $(CUDA_STUB)/libcuda.a
	tools/cuda/images.sh --check "$(CUDA_SDK)"
	$(CUDA_BUILD) $(GO) vet -tags cuda ./...

gpu-test-build: $(CUDA_STUB)/libcuda.a
	$(CUDA_BUILD) GO="$(GO)" tools/cuda/gpu-test-build.sh .gpu $(GPU_TESTED)

gpu-test: gpu-test-build
	tools/cuda/gpu-test.sh .gpu
