package tree

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

// reference is libxgboost as these tests compare with it: saved models in, margins
// and other formats out. Programs need neither, so package xgboost has neither.
type reference struct {
	lastError      func() string
	matrix         func(data, config string, out *uintptr) int32
	matrixTypes    func(matrix uintptr, field string, values []*byte, n uint64) int32
	matrixFree     func(matrix uintptr) int32
	booster        func(matrices []uintptr, n uint64, out *uintptr) int32
	boosterParam   func(booster uintptr, name, value string) int32
	boosterLoad    func(booster uintptr, data []byte, n uint64) int32
	boosterSave    func(booster uintptr, config string, n *uint64, out **byte) int32
	boosterPredict func(booster, matrix uintptr, config string, shape **uint64, dim *uint64, out **float32) int32
	boosterFree    func(booster uintptr) int32
}

func newReference(t testing.TB) *reference {
	t.Helper()
	path := os.Getenv("MLOPS_XGBOOST")
	if path == "" {
		t.Skip("NOT COMPARED WITH LIBXGBOOST: MLOPS_XGBOOST, the path of libxgboost.so, is not set")
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		t.Fatal(err)
	}
	r := &reference{}
	for name, fn := range map[string]any{
		"XGBGetLastError":              &r.lastError,
		"XGDMatrixCreateFromDense":     &r.matrix,
		"XGDMatrixSetStrFeatureInfo":   &r.matrixTypes,
		"XGDMatrixFree":                &r.matrixFree,
		"XGBoosterCreate":              &r.booster,
		"XGBoosterSetParam":            &r.boosterParam,
		"XGBoosterLoadModelFromBuffer": &r.boosterLoad,
		"XGBoosterSaveModelToBuffer":   &r.boosterSave,
		"XGBoosterPredictFromDMatrix":  &r.boosterPredict,
		"XGBoosterFree":                &r.boosterFree,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			t.Fatal(err)
		}
		purego.RegisterFunc(fn, symbol)
	}
	return r
}

// do makes the calls, which must stay on one thread: the last error and buffers
// that are returned belong to it.
func (r *reference) do(calls ...func() int32) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, call := range calls {
		if call() != 0 {
			return errors.New(r.lastError())
		}
	}
	return nil
}

// open loads a saved model and hands it to the calls.
func (r *reference) open(model []byte, calls func(booster uintptr) []func() int32) error {
	var b uintptr
	err := r.do(func() int32 { return r.booster(nil, 0, &b) },
		func() int32 { return r.boosterParam(b, "nthread", "1") },
		func() int32 { return r.boosterLoad(b, model, uint64(len(model))) })
	if err == nil {
		err = r.do(calls(b)...)
	}
	r.boosterFree(b)
	return err
}

// json returns a saved model in XGBoost's JSON form.
func (r *reference) json(model []byte) (text []byte, err error) {
	err = r.open(model, func(b uintptr) []func() int32 {
		return []func() int32{func() int32 {
			var n uint64
			var out *byte
			code := r.boosterSave(b, `{"format":"json"}`, &n, &out)
			if code == 0 {
				text = append(text, unsafe.Slice(out, n)...)
			}
			return code
		}}
	})
	return text, err
}

// margins returns what a saved model gives the rows of a table, before the link
// function: a margin per row and output.
func (r *reference) margins(model []byte, t table) (out []float32, err error) {
	return r.predict(model, t, 1)
}

// contributions returns, per row and output, what each feature adds to the margin, and
// the margin that they add to.
func (r *reference) contributions(model []byte, t table) (out []float32, err error) {
	return r.predict(model, t, 2)
}

// predict predicts what kind is the number of in libxgboost.
func (r *reference) predict(model []byte, t table, kind int) (out []float32, err error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&t.data[0])
	data := fmt.Sprintf(`{"data":[%d,true],"shape":[%d,%d],"strides":null,"typestr":"<f4","version":3}`,
		uintptr(unsafe.Pointer(&t.data[0])), t.rows, len(t.kinds))
	strings := func(text func(j int) string) []*byte {
		list := make([]*byte, len(t.kinds))
		for j := range list {
			c := append([]byte(text(j)), 0)
			pinner.Pin(&c[0])
			list[j] = &c[0]
		}
		return list
	}
	names := strings(func(j int) string { return fmt.Sprintf("f%d", j) })
	types := strings(func(j int) string {
		if t.kinds[j] > 0 {
			return "c"
		}
		return "q"
	})
	var m uintptr
	defer func() { r.matrixFree(m) }()
	err = r.open(model, func(b uintptr) []func() int32 {
		return []func() int32{
			func() int32 { return r.matrix(data, `{"missing":NaN,"nthread":1,"data_split_mode":0}`, &m) },
			func() int32 { return r.matrixTypes(m, "feature_name", names, uint64(len(names))) },
			func() int32 { return r.matrixTypes(m, "feature_type", types, uint64(len(types))) },
			func() int32 {
				var shape *uint64
				var dim uint64
				var p *float32
				config := fmt.Sprintf(`{"type":%d,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false}`, kind)
				code := r.boosterPredict(b, m, config, &shape, &dim, &p)
				if code == 0 {
					n := 1
					for _, d := range unsafe.Slice(shape, dim) {
						n *= int(d)
					}
					out = append(out, unsafe.Slice(p, n)...)
				}
				return code
			},
		}
	})
	return out, err
}
