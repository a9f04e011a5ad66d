// Package xgboost trains gradient-boosted trees with XGBoost's shared library. It
// calls the library's C API (xgboost/c_api.h, version 3) through purego, so that no
// program needs cgo. Only training uses it; package tree scores with the result.
package xgboost

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Library is a loaded libxgboost. It and its matrices and boosters are safe for
// concurrent use, but none may be used during or after its Close. The library stays
// loaded until the process ends, as OpenMP's threads do.
//
// All calls run one after the other on a thread of the library's own. Its last
// error is kept for each thread, and OpenMP starts a team for each thread that
// calls it: two teams would be more threads than processors, which makes OpenMP
// wait in a slower way. Trainings at the same time take turns there with the same
// random numbers: to get the same model again, train one after another.
type Library struct {
	version string
	calls   chan func()
	c       functions
}

// functions are the functions of the C API in use. Each returns 0, or -1 and
// leaves a message for lastError.
type functions struct {
	lastError func() string
	version   func(major, minor, patch *int32)

	matrixFromDense   func(data, config string, out *uintptr) int32
	matrixSetInfo     func(matrix uintptr, field, data string) int32
	matrixSetFeatures func(matrix uintptr, field string, values []*byte, n uint64) int32
	matrixFree        func(matrix uintptr) int32

	boosterCreate      func(matrices []uintptr, n uint64, out *uintptr) int32
	boosterFree        func(booster uintptr) int32
	boosterSetParam    func(booster uintptr, name, value string) int32
	boosterSetFeatures func(booster uintptr, field string, values []*byte, n uint64) int32
	boosterUpdate      func(booster uintptr, round int32, matrix uintptr) int32
	boosterEval        func(booster uintptr, round int32, matrices []uintptr, names []*byte, n uint64, out **byte) int32
	boosterPredict     func(booster, matrix uintptr, config string, shape **uint64, dim *uint64, out **float32) int32
	boosterSlice       func(booster uintptr, begin, end, step int32, out *uintptr) int32
	boosterRounds      func(booster uintptr, out *int32) int32
	boosterSave        func(booster uintptr, config string, n *uint64, out **byte) int32
	boosterSetAttr     func(booster uintptr, key, value string) int32
	boosterScore       func(booster uintptr, config string, n *uint64, names ***byte, dim *uint64, shape **uint64, scores **float32) int32
	boosterAttr        func(booster uintptr, key string, out **byte, found *int32) int32
}

// Load opens the shared library at path, libxgboost.so of version 3.
func Load(path string) (*Library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("loading XGBoost: %w", err)
	}
	l := &Library{calls: make(chan func())}
	for _, f := range []struct {
		name string
		fn   any
	}{
		{"XGBGetLastError", &l.c.lastError},
		{"XGBoostVersion", &l.c.version},
		{"XGDMatrixCreateFromDense", &l.c.matrixFromDense},
		{"XGDMatrixSetInfoFromInterface", &l.c.matrixSetInfo},
		{"XGDMatrixSetStrFeatureInfo", &l.c.matrixSetFeatures},
		{"XGDMatrixFree", &l.c.matrixFree},
		{"XGBoosterCreate", &l.c.boosterCreate},
		{"XGBoosterFree", &l.c.boosterFree},
		{"XGBoosterSetParam", &l.c.boosterSetParam},
		{"XGBoosterSetStrFeatureInfo", &l.c.boosterSetFeatures},
		{"XGBoosterUpdateOneIter", &l.c.boosterUpdate},
		{"XGBoosterEvalOneIter", &l.c.boosterEval},
		{"XGBoosterPredictFromDMatrix", &l.c.boosterPredict},
		{"XGBoosterSlice", &l.c.boosterSlice},
		{"XGBoosterBoostedRounds", &l.c.boosterRounds},
		{"XGBoosterSaveModelToBuffer", &l.c.boosterSave},
		{"XGBoosterSetAttr", &l.c.boosterSetAttr},
		{"XGBoosterFeatureScore", &l.c.boosterScore},
		{"XGBoosterGetAttr", &l.c.boosterAttr},
	} {
		symbol, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("loading XGBoost from %s: %w", path, err)
		}
		purego.RegisterFunc(f.fn, symbol)
	}
	var major, minor, patch int32
	l.c.version(&major, &minor, &patch)
	if major != 3 {
		return nil, fmt.Errorf("loading XGBoost from %s: version %d.%d.%d, want 3", path, major, minor, patch)
	}
	l.version = fmt.Sprintf("%d.%d.%d", major, minor, patch)
	go func() {
		runtime.LockOSThread()
		for f := range l.calls {
			f()
		}
	}()
	return l, nil
}

// Version returns the library's version, such as "2.1.0".
func (l *Library) Version() string { return l.version }

// call runs a function of the C API and reads its error.
func (l *Library) call(doing string, f func() int32) error {
	done := make(chan error)
	l.calls <- func() {
		if f() == 0 {
			done <- nil
			return
		}
		// "[12:00:00] /src/file.cc:12: message", then a stack trace.
		message, _, _ := strings.Cut(l.c.lastError(), "\nStack trace:")
		done <- fmt.Errorf("%s: XGBoost: %s", doing, strings.TrimSpace(message))
	}
	return <-done
}

// arrayInterface describes a slice to the library in NumPy's array interface,
// https://numpy.org/doc/stable/reference/arrays.interface.html. The library
// copies the data during the call; until then pinner keeps it in its place.
func arrayInterface(pinner *runtime.Pinner, data []float32, shape ...int) string {
	pinner.Pin(&data[0])
	dims := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(shape)), ","), "[]")
	return fmt.Sprintf(`{"data":[%d,true],"shape":[%s],"strides":null,"typestr":"<f4","version":3}`,
		uintptr(unsafe.Pointer(&data[0])), dims)
}

// cStrings makes an array of C strings that lives until pinner is unpinned.
func cStrings(pinner *runtime.Pinner, values []string) []*byte {
	pointers := make([]*byte, len(values))
	for i, v := range values {
		text := append([]byte(v), 0)
		pinner.Pin(&text[0])
		pointers[i] = &text[0]
	}
	return pointers
}

// goString copies a C string.
func goString(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
