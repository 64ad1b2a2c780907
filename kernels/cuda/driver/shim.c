//go:build cuda && cgo && linux

#include "shim.h"

#include <cuda.h>
#include <string.h>

// The trampoline's. Weak, so that a build against a real libcuda links too.
__attribute__((weak)) int headinfer_cuda_load(char *reason, size_t reason_bytes);

int hi_load(char *reason, size_t reason_bytes) {
	if (headinfer_cuda_load)
		return headinfer_cuda_load(reason, reason_bytes);
	CUresult result = cuInit(0);
	if (result != CUDA_SUCCESS) {
		strncpy(reason, "the NVIDIA driver does not start", reason_bytes - 1);
		reason[reason_bytes - 1] = 0;
	}
	return result;
}

int hi_bind(hi_binding b) {
	static _Thread_local uint64_t bound;
	if (bound == b.id)
		return CUDA_SUCCESS;
	CUresult result = cuCtxSetCurrent((CUcontext)b.context);
	bound = result == CUDA_SUCCESS ? b.id : 0;
	return result;
}

#define BIND(b)                                       \
	do {                                          \
		int bind_result = hi_bind(b);         \
		if (bind_result != CUDA_SUCCESS)      \
			return bind_result;           \
	} while (0)

const char *hi_error_name(int code) {
	const char *s = NULL;
	return cuGetErrorName((CUresult)code, &s) == CUDA_SUCCESS ? s : NULL;
}

const char *hi_error_text(int code) {
	const char *s = NULL;
	return cuGetErrorString((CUresult)code, &s) == CUDA_SUCCESS ? s : NULL;
}

int hi_host_alloc(hi_binding b, size_t bytes, void **out) {
	BIND(b);
	return cuMemHostAlloc(out, bytes, CU_MEMHOSTALLOC_PORTABLE);
}

int hi_host_free(hi_binding b, void *p) {
	BIND(b);
	return cuMemFreeHost(p);
}

int hi_host_register(hi_binding b, void *p, size_t bytes) {
	BIND(b);
	return cuMemHostRegister(p, bytes, CU_MEMHOSTREGISTER_PORTABLE);
}

int hi_host_unregister(hi_binding b, void *p) {
	BIND(b);
	return cuMemHostUnregister(p);
}

int hi_copy_in(hi_binding b, uint64_t dst, const void *src, size_t bytes, void *stream) {
	BIND(b);
	return cuMemcpyHtoDAsync(dst, src, bytes, (CUstream)stream);
}

int hi_copy_out(hi_binding b, void *dst, uint64_t src, size_t bytes, void *stream) {
	BIND(b);
	return cuMemcpyDtoHAsync(dst, src, bytes, (CUstream)stream);
}

int hi_copy_within(hi_binding b, uint64_t dst, uint64_t src, size_t bytes, void *stream) {
	BIND(b);
	return cuMemcpyDtoDAsync(dst, src, bytes, (CUstream)stream);
}

int hi_copy_rect(hi_binding b, int direction, hi_rect r, void *host, void *stream) {
	BIND(b);
	CUDA_MEMCPY2D copy;
	memset(&copy, 0, sizeof copy);
	copy.srcMemoryType = direction == HI_IN ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
	copy.dstMemoryType = direction == HI_OUT ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
	copy.srcHost = host;
	copy.srcDevice = r.src;
	copy.srcPitch = r.src_pitch;
	copy.dstHost = host;
	copy.dstDevice = r.dst;
	copy.dstPitch = r.dst_pitch;
	copy.WidthInBytes = r.width;
	copy.Height = r.rows;
	return cuMemcpy2DAsync(&copy, (CUstream)stream);
}

int hi_fill(hi_binding b, uint64_t dst, uint8_t value, size_t bytes, void *stream) {
	BIND(b);
	return cuMemsetD8Async(dst, value, bytes, (CUstream)stream);
}

int hi_record(hi_binding b, void *event, void *stream) {
	BIND(b);
	return cuEventRecord((CUevent)event, (CUstream)stream);
}

int hi_wait(hi_binding b, void *stream, void *event) {
	BIND(b);
	return cuStreamWaitEvent((CUstream)stream, (CUevent)event, 0);
}

int hi_module_load(hi_binding b, const void *image, void **module, char *log, size_t log_bytes) {
	BIND(b);
	CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {log, (void *)(uintptr_t)log_bytes};
	return cuModuleLoadDataEx((CUmodule *)module, image, 2, options, values);
}

int hi_module_unload(hi_binding b, void *module) {
	BIND(b);
	return cuModuleUnload((CUmodule)module);
}

int hi_module_function(hi_binding b, void *module, const char *name, void **function) {
	BIND(b);
	return cuModuleGetFunction((CUfunction *)function, (CUmodule)module, name);
}

int hi_function_attribute(hi_binding b, void *function, int attribute, int *value) {
	BIND(b);
	return cuFuncGetAttribute(value, (CUfunction_attribute)attribute, (CUfunction)function);
}

int hi_function_set_shared(hi_binding b, void *function, int bytes) {
	BIND(b);
	return cuFuncSetAttribute((CUfunction)function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
}

int hi_function_parameters(hi_binding b, void *function, int *lead, int *words, int *narrow) {
	BIND(b);
	*lead = 0;
	*words = -1;
	*narrow = -1;
#if CUDA_VERSION >= 12040
	size_t end = 0;
	for (int i = 0;; i++) {
		size_t offset = 0, bytes = 0;
		CUresult result = cuFuncGetParamInfo((CUfunction)function, (size_t)i, &offset, &bytes);
		if (result == CUDA_ERROR_INVALID_VALUE) {
			*words = (int)(end / sizeof(uint64_t)) - *lead;
			return CUDA_SUCCESS;
		}
		// The trampoline's answer for what an older driver does not have.
		if (result == CUDA_ERROR_NOT_FOUND)
			return CUDA_SUCCESS;
		if (result != CUDA_SUCCESS)
			return result;
		if (i == 0 && offset % sizeof(uint64_t) == 0) {
			*lead = (int)(offset / sizeof(uint64_t));
			end = offset;
		}
		if ((offset != end || bytes % sizeof(uint64_t) != 0) && *narrow < 0)
			*narrow = i;
		end = offset + bytes;
	}
#endif
	return CUDA_SUCCESS;
}

int hi_tensor_map(hi_binding b, uint64_t address, hi_boxes boxes, uint64_t *map) {
	BIND(b);
	CUtensorMap made;
	const uint32_t steps[] = {1, 1, 1};
	CUresult result = cuTensorMapEncodeTiled(&made, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, (void *)(uintptr_t)address,
		boxes.size, boxes.pitch, boxes.box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
		CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
	memcpy(map, &made, sizeof made);
	return result;
}

int hi_occupancy(hi_binding b, void *function, int threads, size_t shared, int *blocks) {
	BIND(b);
	return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, (CUfunction)function, threads, shared);
}

int hi_launch(hi_binding b, void *function, hi_shape shape, const uint64_t *args, void *stream) {
	BIND(b);
	size_t bytes = shape.args * sizeof *args;
	void *packed[] = {
		CU_LAUNCH_PARAM_BUFFER_POINTER, (void *)args,
		CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
		CU_LAUNCH_PARAM_END,
	};
	if (shape.dependent) {
		CUlaunchAttribute early;
		memset(&early, 0, sizeof early);
		early.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
		early.value.programmaticStreamSerializationAllowed = 1;
		CUlaunchConfig config;
		memset(&config, 0, sizeof config);
		config.gridDimX = shape.grid[0];
		config.gridDimY = shape.grid[1];
		config.gridDimZ = shape.grid[2];
		config.blockDimX = shape.block[0];
		config.blockDimY = shape.block[1];
		config.blockDimZ = shape.block[2];
		config.sharedMemBytes = shape.shared;
		config.hStream = (CUstream)stream;
		config.attrs = &early;
		config.numAttrs = 1;
		CUresult result = cuLaunchKernelEx(&config, (CUfunction)function, NULL, packed);
		// The trampoline's answer for what an older driver does not have.
		if (result != CUDA_ERROR_NOT_FOUND)
			return result;
	}
	return cuLaunchKernel((CUfunction)function,
		shape.grid[0], shape.grid[1], shape.grid[2],
		shape.block[0], shape.block[1], shape.block[2],
		shape.shared, (CUstream)stream, NULL, packed);
}
