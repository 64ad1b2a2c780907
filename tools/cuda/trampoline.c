/* A libcuda for machines with and without one.
 *
 * gorgonia.org/cu wants libcuda at link time and calls cuInit before main,
 * ending the process if that fails. This archive takes the library's place in
 * the link: it defines every driver function that the binary calls as a jump
 * through a table. At first the table answers for a machine without devices
 * (cuInit succeeds, cuDeviceGetCount counts none, all else is not
 * initialized), so that starting costs nothing and never fails.
 * headinfer_cuda_load then opens the real library, starts it and, if that went
 * well, points the table at its functions.
 *
 * trampoline.sh makes symbols.h from what the binary's objects leave
 * undefined: SYMBOL(index, name) for each function. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "the trampoline is written for Linux on x86-64; on another system link the driver's own libcuda"
#endif

/* Of cuda.h, whose prototypes would stand in the way here. */
enum { SUCCESS = 0, NOT_INITIALIZED = 3, STUB_LIBRARY = 34, NOT_FOUND = 500 };

#define SYMBOL(index, name) INDEX_##name = index,
enum {
#include "symbols.h"
	COUNT
};
#undef SYMBOL

static int succeed(void) { return SUCCESS; }
static int not_initialized(void) { return NOT_INITIALIZED; }
static int not_found(void) { return NOT_FOUND; }
static int no_devices(int *count) {
	*count = 0;
	return SUCCESS;
}

/* Which of the answers above each function gives before the driver is there. */
static void *first_answer(int index) {
	switch (index) {
	case INDEX_cuInit:
		return (void *)succeed;
	case INDEX_cuDeviceGetCount:
		return (void *)no_devices;
	default:
		return (void *)not_initialized;
	}
}

__attribute__((visibility("hidden"))) void *headinfer_cuda_table[COUNT];

/* Before any Go code, and in one thread. */
__attribute__((constructor)) static void fill(void) {
	for (int i = 0; i < COUNT; i++)
		headinfer_cuda_table[i] = first_answer(i);
}

#define SYMBOL(index, name)                                   \
	__asm__(".text\n"                                     \
		".p2align 4\n"                                \
		".globl " #name "\n"                          \
		".type " #name ", @function\n"                \
		#name ":\n"                                   \
		"	endbr64\n"                            \
		"	jmp *headinfer_cuda_table+8*" #index "(%rip)\n" \
		".size " #name ", .-" #name "\n");
#include "symbols.h"
#undef SYMBOL

#define SYMBOL(index, name) #name,
static const char *const names[COUNT] = {
#include "symbols.h"
};
#undef SYMBOL

/* By name as the system finds it, then where containers and WSL put it. */
static const char *const libraries[] = {
	"libcuda.so.1",
	"/usr/lib/wsl/lib/libcuda.so.1",
	"/usr/local/nvidia/lib64/libcuda.so.1",
	"/run/opengl-driver/lib/libcuda.so.1",
};

/* Opens and starts the driver. Returns 0, or else CUDA's code (34, "stub
 * library", without a driver) with the reason in words. Not for two threads at
 * once, nor while another calls the driver. */
int headinfer_cuda_load(char *reason, size_t reason_bytes) {
	void *library = NULL;
	char first[256] = "";
	for (size_t i = 0; !library && i < sizeof libraries / sizeof *libraries; i++) {
		library = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);
		if (!library && !*first) {
			const char *why = dlerror();
			snprintf(first, sizeof first, "%s", why ? why : "no reason given");
		}
	}
	if (!library) {
		snprintf(reason, reason_bytes, "no NVIDIA driver: %s", first);
		return STUB_LIBRARY;
	}
	int (*init)(unsigned) = (int (*)(unsigned))dlsym(library, "cuInit");
	int result = init ? init(0) : NOT_FOUND;
	if (result != SUCCESS) {
		const char *name = NULL;
		int (*error_name)(int, const char **) = (int (*)(int, const char **))dlsym(library, "cuGetErrorName");
		if (!error_name || error_name(result, &name) != SUCCESS || !name)
			name = "an unknown error";
		const char *hint = result == 100 ? "; no device is visible (CUDA_VISIBLE_DEVICES? /dev/nvidia*?)"
			: result == 803 || result == 804 ? "; the library does not fit the kernel's driver"
			: result == 999 ? "; try nvidia-smi, and restart the machine after a driver update"
			: "";
		snprintf(reason, reason_bytes, "the NVIDIA driver does not start: cuInit: %s (%d)%s", name, result, hint);
		return result;
	}
	for (int i = 0; i < COUNT; i++) {
		void *function = dlsym(library, names[i]);
		/* A driver older than our header lacks what is new in it. */
		headinfer_cuda_table[i] = function ? function : (void *)not_found;
	}
	return SUCCESS;
}
