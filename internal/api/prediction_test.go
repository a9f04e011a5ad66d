package api

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPredictionsOfEveryTask(t *testing.T) {
	t.Parallel()
	value := 3.5
	for text, want := range map[string]Prediction{
		`{"label":1,"probability":0.75}`:                                                     {Label: 1, Probability: 0.75},
		`{"label":"b","probabilities":{"a":0.25,"b":0.75}}`:                                  {Class: "b", Probabilities: map[string]float64{"a": 0.25, "b": 0.75}},
		`{"value":3.5,"interval":[1,6]}`:                                                     {Value: &value, Interval: &[2]float64{1, 6}},
		`{"excluded":"not ours"}`:                                                            {Excluded: "not ours"},
		`{"value":3.5,"interval":[1,6],"warnings":[{"column":"a","kind":"k","detail":"d"}]}`: {Value: &value, Interval: &[2]float64{1, 6}, Warnings: []Warning{{"a", "k", "d"}}},
	} {
		var got Prediction
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		if back, err := json.Marshal(got); err != nil || string(back) != text {
			t.Errorf("%s came back as %s, %v", text, back, err)
		}
	}
	for _, text := range []string{
		`{}`, `{"label":1}`, `{"label":"a"}`, `{"probability":0.5}`, `{"value":3}`, `{"interval":[1,2]}`, `{"label":"c","probabilities":{"a":1}}`,
		`{"label":1,"probability":0.5,"value":3,"interval":[1,2]}`, `{"excluded":"x","value":3,"interval":[1,2]}`, `{"label":"b","probability":0.5}`,
	} {
		if err := json.Unmarshal([]byte(text), new(Prediction)); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}
