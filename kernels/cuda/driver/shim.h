// The functions that gorgonia.org/cu does not have, or has too slowly. They
// return CUDA's result code, and make their context current first.

#ifndef HEADINFER_DRIVER_SHIM_H
#define HEADINFER_DRIVER_SHIM_H

#include <stddef.h>
#include <stdint.h>

// A context and a number that no other context of this process has or had.
typedef struct {
	void *context;
	uint64_t id;
} hi_binding;

typedef struct {
	uint32_t grid[3];
	uint32_t block[3];
	uint32_t shared;
	uint32_t args; // words of 8 bytes
	uint32_t dependent; // may begin before the kernel ahead in the stream has ended
} hi_shape;

// A tensor of three dimensions, the innermost first.
typedef struct {
	uint64_t size[3];
	uint64_t pitch[2]; // bytes from one to the next of the outer dimensions
	uint32_t box[3];
} hi_boxes;

// Lengths are in bytes; a pitch is the distance of two rows.
typedef struct {
	uint64_t dst, dst_pitch;
	uint64_t src, src_pitch;
	uint64_t width, rows;
} hi_rect;

enum { HI_IN, HI_OUT, HI_WITHIN };

// Opens the real driver; without one writes why to reason and returns non-zero.
int hi_load(char *reason, size_t reason_bytes);

int hi_bind(hi_binding b);
const char *hi_error_name(int code);
const char *hi_error_text(int code);

int hi_host_alloc(hi_binding b, size_t bytes, void **out);
int hi_host_free(hi_binding b, void *p);
int hi_host_register(hi_binding b, void *p, size_t bytes);
int hi_host_unregister(hi_binding b, void *p);

int hi_copy_in(hi_binding b, uint64_t dst, const void *src, size_t bytes, void *stream);
int hi_copy_out(hi_binding b, void *dst, uint64_t src, size_t bytes, void *stream);
int hi_copy_within(hi_binding b, uint64_t dst, uint64_t src, size_t bytes, void *stream);
int hi_copy_rect(hi_binding b, int direction, hi_rect r, void *host, void *stream);
int hi_fill(hi_binding b, uint64_t dst, uint8_t value, size_t bytes, void *stream);

int hi_record(hi_binding b, void *event, void *stream);
int hi_wait(hi_binding b, void *stream, void *event);

int hi_module_load(hi_binding b, const void *image, void **module, char *log, size_t log_bytes);
int hi_module_unload(hi_binding b, void *module);
int hi_module_function(hi_binding b, void *module, const char *name, void **function);
int hi_function_attribute(hi_binding b, void *function, int attribute, int *value);
int hi_function_set_shared(hi_binding b, void *function, int bytes);
// Counts the words of a function's parameters, or returns -1 in words where the
// driver is too old to say. *lead are the words before the first, if that one is
// aligned to more than a word. *narrow is the first that is not whole words of 8
// bytes right after those before it, or -1.
int hi_function_parameters(hi_binding b, void *function, int *lead, int *words, int *narrow);
int hi_occupancy(hi_binding b, void *function, int threads, size_t shared, int *blocks);
int hi_launch(hi_binding b, void *function, hi_shape shape, const uint64_t *args, void *stream);
// Writes how a tensor of bf16 at an address, with sizes from the innermost
// dimension on and bytes from one to the next of each but that, is copied in
// boxes, whose rows of 128 bytes are swizzled in shared memory.
int hi_tensor_map(hi_binding b, uint64_t address, hi_boxes boxes, uint64_t *map);

#endif
