// The evaluators that are called from C, for inprocess.py: no interpreter stands
// between the clock and them. Each function scores all rows once and returns 0,
// or another number where something went wrong; failure() says what.
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static char text[1024];

const char *failure(void) { return text; }

static void *find(void *library, const char *name) {
	void *symbol = library ? dlsym(library, name) : NULL;
	if (!symbol) snprintf(text, sizeof text, "%s", dlerror());
	return symbol;
}

// libxgboost's C API, as its header c_api.h declares it.
static const char *(*last_error)(void);
static int (*predict_dense)(void *booster, const char *values, const char *config, void *matrix,
                            const uint64_t **shape, uint64_t *dimensions, const float **result);
static void *booster, *proxy;
static size_t written; // by the last call

static int check(int code) {
	if (code) snprintf(text, sizeof text, "%s", last_error());
	return code;
}

int open_xgboost(const char *path, const char *model) {
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	int (*create)(const void *, uint64_t, void **) = find(library, "XGBoosterCreate");
	int (*load)(void *, const char *) = find(library, "XGBoosterLoadModel");
	int (*set)(void *, const char *, const char *) = find(library, "XGBoosterSetParam");
	int (*create_proxy)(void **) = find(library, "XGProxyDMatrixCreate");
	last_error = find(library, "XGBGetLastError");
	predict_dense = find(library, "XGBoosterPredictFromDense");
	if (!create || !load || !set || !create_proxy || !last_error || !predict_dense) return -1;
	// A proxy that is kept: without one, each call makes and frees its own.
	return check(create(NULL, 0, &booster)) || check(load(booster, model)) ||
	       check(set(booster, "nthread", "1")) || check(create_proxy(&proxy));
}

static int dense(const float *rows, size_t n, size_t width, float *out) {
	char values[160];
	snprintf(values, sizeof values, "{\"data\":[%zu,true],\"shape\":[%zu,%zu],\"typestr\":\"<f4\",\"version\":3}",
	         (size_t)rows, n, width);
	static const char config[] = "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,"
	                             "\"strict_shape\":false,\"missing\":NaN}";
	const uint64_t *shape;
	uint64_t dimensions;
	const float *result;
	if (check(predict_dense(booster, values, config, proxy, &shape, &dimensions, &result))) return -1;
	uint64_t outputs = 1; // of all rows
	for (uint64_t i = 0; i < dimensions; i++) outputs *= shape[i];
	memcpy(out, result, outputs * sizeof *out); // it is libxgboost's own until the next call
	written = outputs;
	return 0;
}

int xgboost_batch(const float *rows, size_t n, size_t width, float *out) { return dense(rows, n, width, out); }

int xgboost_one(const float *rows, size_t n, size_t width, float *out) {
	for (size_t i = 0; i < n; i++, out += written)
		if (dense(rows + i * width, 1, width, out)) return -1;
	return 0;
}

// What tl2cgen 1.0 generates: -1 in missing, which as a float is a NaN of all
// ones, is the only NaN that it knows.
union Entry {
	int missing;
	float fvalue;
	int qvalue;
};

static void (*predict)(union Entry *data, int margin, float *result);

int open_tl2cgen(const char *path, int width) {
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	int32_t (*features)(void) = find(library, "get_num_feature");
	predict = find(library, "predict");
	if (!features || !predict) return -1;
	if (features() != width) {
		snprintf(text, sizeof text, "the compiled model takes %d features", features());
		return -1;
	}
	return 0;
}

// A batch is the same loop: tl2cgen's own runtime, too, goes row after row.
int tl2cgen_rows(const float *rows, size_t n, size_t width, float *out) {
	union Entry data[width];
	for (size_t i = 0; i < n; i++, rows += width) {
		// Counted, since callers have floats: predict overwrites what it is given.
		for (size_t j = 0; j < width; j++) {
			if (isnan(rows[j])) data[j].missing = -1;
			else data[j].fvalue = rows[j];
		}
		out[i] = 0; // it adds to what is there
		predict(data, 0, out + i);
	}
	return 0;
}
