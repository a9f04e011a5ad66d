package origin

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"mlops/internal/dataset"
	"mlops/internal/program"
	"mlops/internal/synthetic"
)

// syntheticRows is the size of a synthetic table.
const syntheticRows = 20_000

// Invented is a data set of made-up rows: another one than the real, with tables,
// a model and a title of its own, so that the two never meet.
type Invented struct {
	Spec  *dataset.Spec
	Path  string // of its YAML
	Table Table
}

// Invent writes the YAML of a data set's synthetic twin and a table of the
// generator for it, which is always the same, into a folder.
func Invent(spec *dataset.Spec, dir string) (*Invented, error) {
	text, err := twin(spec)
	if err != nil {
		return nil, fmt.Errorf("making a synthetic data set of %s: %w", spec.Name, err)
	}
	made, err := dataset.Parse(text)
	if err != nil {
		return nil, program.Input(fmt.Errorf("making a synthetic data set of %s: %w", spec.Name, err))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a synthetic table: %w", err)
	}
	out := &Invented{Spec: made, Path: filepath.Join(dir, made.Name+".yaml")}
	if err := os.WriteFile(out.Path, text, 0o644); err != nil {
		return nil, fmt.Errorf("making a synthetic data set: %w", err)
	}
	table := filepath.Join(dir, made.Name+".csv")
	var rows bytes.Buffer
	if err := synthetic.Write(&rows, made, syntheticRows, 1); err != nil {
		return nil, err
	}
	// A table that is the same already is left alone: someone may be reading it.
	if old, err := os.ReadFile(table); err != nil || !bytes.Equal(old, rows.Bytes()) {
		if err := os.WriteFile(table, rows.Bytes(), 0o644); err != nil {
			return nil, fmt.Errorf("making a synthetic table: %w", err)
		}
	}
	out.Table = Table{URL: fileURL(table), From: table}
	return out, nil
}

// twin is the YAML of the synthetic twin: that of the real one with other names,
// the mark, and no source.
func twin(spec *dataset.Spec) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(spec.Text(), &doc); err != nil {
		return nil, err
	}
	top := doc.Content[0]
	name := spec.Name[:min(len(spec.Name), 40-len(dataset.SyntheticSuffix))] + dataset.SyntheticSuffix
	set := map[string]string{"name": name, "model": spec.Model + "-synthetic", "title": "SYNTHETIC ROWS: " + spec.Title}
	var content []*yaml.Node
	for i := 0; i+1 < len(top.Content); i += 2 {
		switch key := top.Content[i].Value; key {
		case "source", "synthetic", "name", "model", "title":
		default:
			content = append(content, top.Content[i], top.Content[i+1])
		}
	}
	head := []*yaml.Node{}
	for _, key := range []string{"name", "title", "model"} {
		head = append(head, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: set[key]})
	}
	head = append(head, &yaml.Node{Kind: yaml.ScalarNode, Value: "synthetic"}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
	top.Content = append(head, content...)
	return yaml.Marshal(&doc)
}
