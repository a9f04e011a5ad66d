package xgboost

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unsafe"
)

// Booster is a model that is or was trained.
type Booster struct {
	lib    *Library
	handle uintptr
}

// newBooster makes an untrained model. params are XGBoost's parameters by name,
// in order (eval_metric may occur several times); a parameter that XGBoost does
// not know is a warning in its log, a wrong value an error of the first Update.
// matrices are those that it will be trained and evaluated on: their
// predictions are then kept from round to round, and the model takes the
// features' names and types from the first.
func (l *Library) newBooster(params [][2]string, matrices ...*Matrix) (*Booster, error) {
	const doing = "making a booster"
	b := &Booster{lib: l}
	handles := make([]uintptr, len(matrices))
	for i, m := range matrices {
		handles[i] = m.handle
	}
	err := l.call(doing, func() int32 { return l.c.boosterCreate(handles, uint64(len(handles)), &b.handle) })
	if err != nil {
		return nil, err
	}
	if len(matrices) > 0 {
		if err := b.setFeatures(matrices[0]); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", doing, err), b.Close())
		}
	}
	for _, p := range append(params[:len(params):len(params)], [2]string{"validate_parameters", "1"}) {
		if err := b.setParam(p[0], p[1]); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", doing, err), b.Close())
		}
	}
	return b, nil
}

func (b *Booster) setFeatures(m *Matrix) error {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	for _, info := range []struct {
		field  string
		values []string
	}{{"feature_name", m.names}, {"feature_type", m.types}} {
		if info.values == nil {
			continue
		}
		err := b.lib.call("setting the "+info.field+"s", func() int32 {
			return b.lib.c.boosterSetFeatures(b.handle, info.field, cStrings(&pinner, info.values), uint64(len(info.values)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// setParam sets one of XGBoost's parameters.
func (b *Booster) setParam(name, value string) error {
	return b.lib.call("setting parameter "+name, func() int32 {
		return b.lib.c.boosterSetParam(b.handle, name, value)
	})
}

// update boosts one more round, numbered from 0, on a matrix with labels.
func (b *Booster) update(round int, m *Matrix) error {
	return b.lib.call(fmt.Sprintf("boosting round %d", round), func() int32 {
		return b.lib.c.boosterUpdate(b.handle, int32(round), m.handle)
	})
}

// eval computes the model's metrics (eval_metric) on a matrix. It returns them
// by their names.
func (b *Booster) eval(round int, m *Matrix) (map[string]float64, error) {
	const name = "m"
	var pinner runtime.Pinner
	defer pinner.Unpin()
	doing := fmt.Sprintf("evaluating round %d", round)
	var text string
	err := b.lib.call(doing, func() int32 {
		var out *byte
		code := b.lib.c.boosterEval(b.handle, int32(round), []uintptr{m.handle}, cStrings(&pinner, []string{name}), 1, &out)
		if code == 0 {
			text = goString(out)
		}
		return code
	})
	if err != nil {
		return nil, err
	}
	// "[0]\tm-auc:0.5\tm-logloss:0.6"
	metrics := make(map[string]float64)
	for _, field := range strings.Split(text, "\t")[1:] {
		colon := strings.LastIndexByte(field, ':')
		if !strings.HasPrefix(field, name+"-") || colon < 0 {
			return nil, fmt.Errorf("%s: XGBoost returned %q", doing, text)
		}
		v, err := strconv.ParseFloat(field[colon+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: XGBoost returned %q: %w", doing, text, err)
		}
		metrics[field[len(name)+1:colon]] = v
	}
	return metrics, nil
}

// Predict returns each row's prediction: for binary:logistic the probability.
func (b *Booster) Predict(m *Matrix) ([]float32, error) { return b.predict(m, 0) }

// predict returns predictions of XGBoost's type 0, probabilities, or 1, margins.
func (b *Booster) predict(m *Matrix, kind int) ([]float32, error) {
	config := fmt.Sprintf(`{"type":%d,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false}`, kind)
	var result []float32
	err := b.lib.call("predicting", func() int32 {
		var shape *uint64
		var dim uint64
		var out *float32
		code := b.lib.c.boosterPredict(b.handle, m.handle, config, &shape, &dim, &out)
		if code == 0 {
			n := 1
			for _, d := range unsafe.Slice(shape, dim) {
				n *= int(d)
			}
			// The library's buffer holds until the next call on this thread.
			result = append(result, unsafe.Slice(out, n)...)
		}
		return code
	})
	return result, err
}

// slice returns a copy with the rounds in [begin, end) only.
func (b *Booster) slice(begin, end int) (*Booster, error) {
	doing := fmt.Sprintf("cutting the model to rounds [%d, %d)", begin, end)
	rounds, err := b.Rounds()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	if begin < 0 || end <= begin || end > rounds {
		return nil, fmt.Errorf("%s: it has %d", doing, rounds)
	}
	s := &Booster{lib: b.lib}
	err = b.lib.call(doing, func() int32 {
		return b.lib.c.boosterSlice(b.handle, int32(begin), int32(end), 1, &s.handle)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Rounds returns how many rounds the model was boosted.
func (b *Booster) Rounds() (int, error) {
	var n int32
	err := b.lib.call("counting rounds", func() int32 { return b.lib.c.boosterRounds(b.handle, &n) })
	return int(n), err
}

// SaveUBJ returns the model in XGBoost's binary form, universal binary JSON.
func (b *Booster) SaveUBJ() ([]byte, error) { return b.save("ubj") }

func (b *Booster) save(format string) ([]byte, error) {
	var model []byte
	err := b.lib.call("saving the model", func() int32 {
		var n uint64
		var out *byte
		code := b.lib.c.boosterSave(b.handle, `{"format":"`+format+`"}`, &n, &out)
		if code == 0 {
			model = append(model, unsafe.Slice(out, n)...)
		}
		return code
	})
	return model, err
}

// Gain returns, by name, how much the splits on a feature lower the loss on average. A
// feature without a split is left out.
func (b *Booster) Gain() (map[string]float64, error) {
	gain := map[string]float64{}
	err := b.lib.call("reading the features' gain", func() int32 {
		var n, dim uint64
		var names **byte
		var shape *uint64
		var scores *float32
		code := b.lib.c.boosterScore(b.handle, `{"importance_type":"gain"}`, &n, &names, &dim, &shape, &scores)
		if code == 0 && n > 0 {
			values := unsafe.Slice(scores, n) // one per feature: trees have no other importance
			for i, name := range unsafe.Slice(names, n) {
				gain[goString(name)] = float64(values[i])
			}
		}
		return code
	})
	return gain, err
}

// setAttr stores a text with the model, which the saved forms keep.
func (b *Booster) setAttr(key, value string) error {
	return b.lib.call("setting attribute "+key, func() int32 { return b.lib.c.boosterSetAttr(b.handle, key, value) })
}

// Close frees the booster.
func (b *Booster) Close() error {
	if b == nil || b.handle == 0 {
		return nil
	}
	handle := b.handle
	b.handle = 0
	return b.lib.call("freeing a booster", func() int32 { return b.lib.c.boosterFree(handle) })
}
