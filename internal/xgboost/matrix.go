package xgboost

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// Matrix is a table of features with labels in the library's memory, XGBoost's
// DMatrix. At these sizes it is faster to make and to train on than a
// QuantileDMatrix, which only saves memory.
type Matrix struct {
	lib    *Library
	handle uintptr
	rows   int
	names  []string
	types  []string // "q" a quantity, "c" a category
}

// NewMatrix copies a dense table into the library. data holds rows*cols values,
// row by row, NaN for a missing value. names are the features' names;
// nil leaves them out. categorical says which columns hold category codes, whole
// numbers from 0 up; nil means none does.
func (l *Library) NewMatrix(data []float32, rows, cols int, names []string, categorical []bool) (*Matrix, error) {
	const doing = "making a matrix"
	switch {
	case rows <= 0 || cols <= 0:
		return nil, fmt.Errorf("%s: %d rows by %d columns, want at least one of each", doing, rows, cols)
	case len(data)%cols != 0 || len(data)/cols != rows:
		return nil, fmt.Errorf("%s: %d values do not fill %d rows by %d columns", doing, len(data), rows, cols)
	case names != nil && len(names) != cols:
		return nil, fmt.Errorf("%s: %d names for %d columns", doing, len(names), cols)
	case categorical != nil && len(categorical) != cols:
		return nil, fmt.Errorf("%s: %d kinds for %d columns", doing, len(categorical), cols)
	}
	seen := make(map[string]bool, len(names))
	for _, n := range names {
		// Python's reader rejects these and should be able to read the models.
		if n == "" || strings.ContainsAny(n, "[]<\x00") {
			return nil, fmt.Errorf("%s: feature name %q is empty or has one of [ ] < NUL", doing, n)
		}
		if seen[n] {
			return nil, fmt.Errorf("%s: duplicate feature name %q", doing, n)
		}
		seen[n] = true
	}

	m := &Matrix{lib: l, rows: rows, names: names, types: make([]string, cols)}
	for i := range m.types {
		m.types[i] = "q"
		if categorical != nil && categorical[i] {
			m.types[i] = "c"
		}
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	err := l.call(doing, func() int32 {
		return l.c.matrixFromDense(arrayInterface(&pinner, data, rows, cols),
			`{"missing":NaN,"nthread":0,"data_split_mode":0}`, &m.handle)
	})
	if err != nil {
		return nil, err
	}
	for _, info := range []struct {
		field  string
		values []string
	}{{"feature_name", m.names}, {"feature_type", m.types}} {
		if info.values == nil {
			continue
		}
		err := l.call(doing, func() int32 {
			return l.c.matrixSetFeatures(m.handle, info.field, cStrings(&pinner, info.values), uint64(cols))
		})
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
	}
	return m, nil
}

// SetLabels gives each row its label, for a binary objective 0 or 1.
func (m *Matrix) SetLabels(labels []float32) error { return m.setInfo("label", labels) }

// SetWeights says how much each row counts, in boosting and in the metric of a round.
func (m *Matrix) SetWeights(weights []float32) error { return m.setInfo("weight", weights) }

func (m *Matrix) setInfo(field string, values []float32) error {
	if len(values) != m.rows {
		return fmt.Errorf("setting %ss: %d %ss for %d rows", field, len(values), field, m.rows)
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return m.lib.call("setting "+field+"s", func() int32 {
		return m.lib.c.matrixSetInfo(m.handle, field, arrayInterface(&pinner, values, len(values)))
	})
}

// Close frees the matrix. A booster that was made with it keeps what it needs.
func (m *Matrix) Close() error {
	if m == nil || m.handle == 0 {
		return nil
	}
	handle := m.handle
	m.handle = 0
	return m.lib.call("freeing a matrix", func() int32 { return m.lib.c.matrixFree(handle) })
}
