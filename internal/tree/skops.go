package tree

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// skopsBegin is how a ZIP archive begins.
const skopsBegin = "PK\x03\x04"

// maxSchema bounds the text of a skops file.
const maxSchema = 256 << 20

// parseSkops reads a scikit-learn wrapper of LightGBM from the file that skops writes
// (skops/io): an archive whose schema.json has each object with its attributes, the
// Booster's text among them. Nothing in it is run.
func parseSkops(data []byte) (*Model, error) {
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("reading skops file: %w", err)
	}
	f, err := archive.Open("schema.json")
	if err != nil {
		return nil, fmt.Errorf("reading skops file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSchema+1))
	if err != nil || len(text) > maxSchema {
		return nil, fmt.Errorf("reading skops file: schema.json is damaged or has more than %d bytes: %w", maxSchema, err)
	}
	var root skopsNode
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("reading skops file: schema.json: %w", err)
	}
	booster := root.attribute("_Booster")
	var model string
	if booster == nil || booster.attribute("_handle").read(&model) != nil || !strings.HasPrefix(model, lightGBMBegin) {
		return nil, errors.New("reading skops file: it has no trained model of LightGBM")
	}
	// A wrapper that stopped early keeps all trees, and predicts with the first ones.
	iterations := 0
	if best := booster.attribute("best_iteration"); best != nil {
		if err := best.read(&iterations); err != nil {
			return nil, fmt.Errorf("reading skops file: best_iteration: %w", err)
		}
	}
	m, err := parseLightGBM(model, max(0, iterations))
	if err != nil {
		return nil, err
	}
	if classes := root.attribute("_class_map"); classes != nil && string(classes.Content) != `"null"` { // a classifier's
		if m.classes, err = classes.keys(); err != nil {
			return nil, fmt.Errorf("reading skops file: _class_map: %w", err)
		}
		if want := max(2, m.Outputs()); len(m.classes) != want {
			return nil, fmt.Errorf("reading skops file: it has %d classes, its trees have %d", len(m.classes), want)
		}
	}
	return m, nil
}

// skopsNode is an object in schema.json.
type skopsNode struct {
	Content json.RawMessage `json:"content"`
}

// attribute returns an attribute of an object, nil if it has none of that name.
func (n *skopsNode) attribute(name string) *skopsNode {
	var state skopsNode // the object's, a dict
	var attributes map[string]json.RawMessage
	if json.Unmarshal(n.Content, &state) != nil || json.Unmarshal(state.Content, &attributes) != nil {
		return nil
	}
	found := &skopsNode{}
	if json.Unmarshal(attributes[name], found) != nil {
		return nil
	}
	return found
}

// keys returns the keys of a dict in their order.
func (n *skopsNode) keys() ([]string, error) {
	d := json.NewDecoder(bytes.NewReader(n.Content))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return nil, errors.New("it is not a dict")
	}
	var keys []string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		keys = append(keys, key.(string)) // an object's keys are
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// read reads a text or a number, which is kept as JSON within a string.
func (n *skopsNode) read(to any) error {
	if n == nil {
		return errors.New("it is not there")
	}
	var text string
	if err := json.Unmarshal(n.Content, &text); err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), to)
}
