package xgboost

import (
	"errors"
	"os"

	"github.com/ebitengine/purego"
)

// loadModel makes a booster of a saved model, UBJ or JSON. Programs don't: package
// tree reads what they score with.
func (l *Library) loadModel(model []byte) (*Booster, error) {
	handle, err := purego.Dlopen(os.Getenv("MLOPS_XGBOOST"), purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	var load func(booster uintptr, data []byte, n uint64) int32
	purego.RegisterLibFunc(&load, handle, "XGBoosterLoadModelFromBuffer")
	b, err := l.newBooster(nil)
	if err != nil {
		return nil, err
	}
	err = l.call("loading a model", func() int32 { return load(b.handle, model, uint64(len(model))) })
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// predictMargin returns each row's sum of leaves, before the objective's link: for
// binary:logistic the log-odds.
func (b *Booster) predictMargin(m *Matrix) ([]float32, error) { return b.predict(m, 1) }

// saveJSON returns the model in XGBoost's JSON form.
func (b *Booster) saveJSON() ([]byte, error) { return b.save("json") }
