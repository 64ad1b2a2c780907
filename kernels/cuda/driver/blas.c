//go:build cuda && cgo && linux

#define _GNU_SOURCE // dlinfo

#include "blas.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is used of cublasLt.h, which comes with a library of half a gigabyte
// that the build does not need otherwise. These have been the same in all
// versions from 11 to 13.
enum {
	SUCCESS = 0,
	ALLOC_FAILED = 3,
	INVALID_VALUE = 7,
	NOT_SUPPORTED = 15,

	OPERATION_T = 1,
	COMPUTE_F32 = 68,
	TYPE_F32 = 0,

	DESCRIPTION_TRANSA = 3,

	PREFERENCE_WORKSPACE = 1,
	PREFERENCE_ALIGN_A = 5,
	PREFERENCE_ALIGN_B = 6,
	PREFERENCE_ALIGN_C = 7,
	PREFERENCE_ALIGN_D = 8,
};

typedef struct {
	uint64_t data[8];
} algorithm;

typedef struct {
	algorithm algo;
	size_t workspace;
	int state;
	float waves;
	int reserved[4];
} heuristic;

struct hi_blas {
	void *library;
	void *handle;
	int (*destroy)(void *);
	size_t (*version)(void);
	const char *(*status_string)(int);
	int (*description_create)(void **, int compute, int scale);
	int (*description_set)(void *, int attribute, const void *, size_t);
	int (*description_destroy)(void *);
	int (*layout_create)(void **, int type, uint64_t rows, uint64_t columns, int64_t stride);
	int (*layout_destroy)(void *);
	int (*preference_create)(void **);
	int (*preference_set)(void *, int attribute, const void *, size_t);
	int (*preference_destroy)(void *);
	int (*choose)(void *, void *, void *, void *, void *, void *, void *, int, heuristic *, int *);
	int (*run)(void *, void *, const void *alpha, const void *a, void *, const void *b, void *, const void *beta,
		const void *c, void *, void *d, void *, const algorithm *, void *workspace, size_t, void *stream);
};

struct hi_plan {
	void *description, *w, *x, *y;
	algorithm algo;
	size_t workspace;
};

hi_blas *hi_blas_open(hi_binding b, const char *path, char *reason, size_t reason_bytes) {
	int bound = hi_bind(b);
	if (bound) {
		snprintf(reason, reason_bytes, "the device can't be used (CUDA error %d)", bound);
		return NULL;
	}
	hi_blas *blas = calloc(1, sizeof *blas);
	if (!blas) {
		snprintf(reason, reason_bytes, "out of memory");
		return NULL;
	}
	blas->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!blas->library) {
		const char *why = dlerror();
		snprintf(reason, reason_bytes, "%s", why ? why : "no reason given");
		free(blas);
		return NULL;
	}
	int (*create)(void **) = NULL;
	struct {
		const char *name;
		void *to;
	} functions[] = {
		{"cublasLtCreate", &create},
		{"cublasLtDestroy", &blas->destroy},
		{"cublasLtGetVersion", &blas->version},
		{"cublasLtGetStatusString", &blas->status_string},
		{"cublasLtMatmulDescCreate", &blas->description_create},
		{"cublasLtMatmulDescSetAttribute", &blas->description_set},
		{"cublasLtMatmulDescDestroy", &blas->description_destroy},
		{"cublasLtMatrixLayoutCreate", &blas->layout_create},
		{"cublasLtMatrixLayoutDestroy", &blas->layout_destroy},
		{"cublasLtMatmulPreferenceCreate", &blas->preference_create},
		{"cublasLtMatmulPreferenceSetAttribute", &blas->preference_set},
		{"cublasLtMatmulPreferenceDestroy", &blas->preference_destroy},
		{"cublasLtMatmulAlgoGetHeuristic", &blas->choose},
		{"cublasLtMatmul", &blas->run},
	};
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		void *f = dlsym(blas->library, functions[i].name);
		if (!f) {
			snprintf(reason, reason_bytes, "it has no function %s", functions[i].name);
			goto failed;
		}
		memcpy(functions[i].to, &f, sizeof f);
	}
	int status = create(&blas->handle);
	if (status == SUCCESS)
		return blas;
	snprintf(reason, reason_bytes, "cublasLtCreate: %s", blas->status_string(status));
failed:
	dlclose(blas->library);
	free(blas);
	return NULL;
}

// The library stays open: closing it under its own threads is not safe.
void hi_blas_close(hi_binding b, hi_blas *blas) {
	if (hi_bind(b) == 0)
		blas->destroy(blas->handle);
	free(blas);
}

const char *hi_blas_file(hi_blas *blas) {
	struct link_map *map = NULL;
	return dlinfo(blas->library, RTLD_DI_LINKMAP, &map) == 0 && map ? map->l_name : "";
}

uint64_t hi_blas_version(hi_blas *blas) { return blas->version(); }

const char *hi_blas_error(hi_blas *blas, int status) { return blas->status_string(status); }

void hi_blas_plan_free(hi_blas *blas, hi_plan *plan) {
	if (plan->description)
		blas->description_destroy(plan->description);
	if (plan->w)
		blas->layout_destroy(plan->w);
	if (plan->x)
		blas->layout_destroy(plan->x);
	if (plan->y)
		blas->layout_destroy(plan->y);
	free(plan);
}

#define TRY(call)                        \
	do {                             \
		status = (call);         \
		if (status != SUCCESS)   \
			goto done;       \
	} while (0)

// cuBLASLt thinks in columns: our row-major w[n, k] is its w[k, n], transposed
// in the product, x[m, k] its x[k, m], and y[m, n] = x w^T its y[n, m].
int hi_blas_plan(hi_binding b, hi_blas *blas, hi_product p, hi_plan **out) {
	*out = NULL;
	if (hi_bind(b))
		return INVALID_VALUE;
	hi_plan *plan = calloc(1, sizeof *plan);
	if (!plan)
		return ALLOC_FAILED;
	int status, found = 0;
	int32_t transpose = OPERATION_T;
	void *preference = NULL;
	heuristic best;
	memset(&best, 0, sizeof best);
	TRY(blas->description_create(&plan->description, COMPUTE_F32, TYPE_F32));
	TRY(blas->description_set(plan->description, DESCRIPTION_TRANSA, &transpose, sizeof transpose));
	TRY(blas->layout_create(&plan->w, p.type, p.k, p.n, p.w_stride));
	TRY(blas->layout_create(&plan->x, p.type, p.k, p.m, p.x_stride));
	TRY(blas->layout_create(&plan->y, p.y_type, p.n, p.m, p.y_stride));
	TRY(blas->preference_create(&preference));
	TRY(blas->preference_set(preference, PREFERENCE_WORKSPACE, &p.workspace, sizeof p.workspace));
	TRY(blas->preference_set(preference, PREFERENCE_ALIGN_A, &p.w_align, sizeof p.w_align));
	TRY(blas->preference_set(preference, PREFERENCE_ALIGN_B, &p.x_align, sizeof p.x_align));
	TRY(blas->preference_set(preference, PREFERENCE_ALIGN_C, &p.y_align, sizeof p.y_align));
	TRY(blas->preference_set(preference, PREFERENCE_ALIGN_D, &p.y_align, sizeof p.y_align));
	TRY(blas->choose(blas->handle, plan->description, plan->w, plan->x, plan->y, plan->y, preference, 1, &best, &found));
	if (found < 1 || best.state != SUCCESS) {
		status = NOT_SUPPORTED;
		goto done;
	}
	plan->algo = best.algo;
	plan->workspace = best.workspace;
	*out = plan;
done:
	if (preference)
		blas->preference_destroy(preference);
	if (status != SUCCESS)
		hi_blas_plan_free(blas, plan);
	return status;
}

int hi_blas_run(hi_binding b, hi_blas *blas, hi_plan *plan, int accumulate,
	uint64_t x, uint64_t w, uint64_t y, uint64_t workspace, uint64_t workspace_bytes, void *stream) {
	if (hi_bind(b) || workspace_bytes < plan->workspace)
		return INVALID_VALUE;
	float alpha = 1, beta = accumulate ? 1 : 0;
	return blas->run(blas->handle, plan->description, &alpha,
		(void *)(uintptr_t)w, plan->w, (void *)(uintptr_t)x, plan->x, &beta,
		(void *)(uintptr_t)y, plan->y, (void *)(uintptr_t)y, plan->y,
		&plan->algo, (void *)(uintptr_t)workspace, workspace_bytes, stream);
}
