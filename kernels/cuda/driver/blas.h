// Matrix products by cuBLASLt, opened at run time.

#ifndef HEADINFER_DRIVER_BLAS_H
#define HEADINFER_DRIVER_BLAS_H

#include "shim.h"

typedef struct hi_blas hi_blas;
typedef struct hi_plan hi_plan;

// y[m, n] = x[m, k] * w[n, k]^T (+ y): types as cudaDataType counts them, row
// strides in elements, alignments in bytes.
typedef struct {
	uint64_t m, n, k;
	int64_t x_stride, w_stride, y_stride;
	int32_t type, y_type;
	uint32_t x_align, w_align, y_align;
	uint64_t workspace;
} hi_product;

// Opens one library. On failure returns NULL with the reason in words.
hi_blas *hi_blas_open(hi_binding b, const char *path, char *reason, size_t reason_bytes);
void hi_blas_close(hi_binding b, hi_blas *blas);
// The file that the library is, where the loader says so; otherwise "".
const char *hi_blas_file(hi_blas *blas);
uint64_t hi_blas_version(hi_blas *blas);
const char *hi_blas_error(hi_blas *blas, int status);

// Chooses how to do a product; *out is NULL where the status is not 0.
int hi_blas_plan(hi_binding b, hi_blas *blas, hi_product p, hi_plan **out);
void hi_blas_plan_free(hi_blas *blas, hi_plan *plan);
int hi_blas_run(hi_binding b, hi_blas *blas, hi_plan *plan, int accumulate,
	uint64_t x, uint64_t w, uint64_t y, uint64_t workspace, uint64_t workspace_bytes, void *stream);

#endif
