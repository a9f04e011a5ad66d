package serve

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"mlops/internal/dataset"
	"mlops/internal/evaluate"
	"mlops/internal/metrics"
	"mlops/internal/model"
)

// task is how predictions of several classes, or of a value, are written and counted.
type task struct {
	outputs   int
	classes   [][]byte  // as JSON texts; nil: a value
	predicted []counter // by class; one for values
	halfWidth float64
}

// newTask returns nil for a binary model, which has the shortest way.
func newTask(m *model.Model, counters *metrics.Inference) *task {
	switch m.Spec.Task {
	case dataset.Multiclass:
		t := &task{outputs: len(m.Spec.Target.Classes)}
		for _, c := range m.Spec.Target.Classes {
			text, err := json.Marshal(c)
			if err != nil {
				panic(err) // a string
			}
			t.classes = append(t.classes, text)
			t.predicted = append(t.predicted, counters.Predicted(c))
		}
		return t
	case dataset.Regression:
		return &task{outputs: 1, predicted: []counter{counters.Predicted("value")}, halfWidth: m.Serving.Interval.HalfWidth}
	}
	return nil
}

// writeTask is write for tasks other than the binary one; it counts what it writes.
func (x *exchange) writeTask(w http.ResponseWriter, served *served) {
	t := served.task
	out := append(x.response[:0], x.frame.open...)
	whole, gone := true, false
	warnings, excluded := x.warnings, x.excluded
	counts := make([]int, len(t.predicted))
	x.explained.begin(x.body, served)
	for i, n := 0, len(x.scores)/t.outputs; i < n; i++ {
		if i > 0 {
			out = append(out, x.frame.separator)
		}
		x.explained.next()
		var full bool
		if out, full = x.room(out); full {
			whole = false
			if !gone { // else the client is gone, and what is left only counted
				_, err := w.Write(out)
				gone = err != nil
			}
			out = out[:0]
		}
		if len(excluded) > 0 && int(excluded[0].record) == i {
			out = append(out, served.excluded[excluded[0].rule].prediction...)
			excluded = excluded[1:]
			continue
		}
		scores := x.scores[i*t.outputs : (i+1)*t.outputs]
		var class []byte
		if t.classes == nil {
			counts[0]++
			out = t.appendValue(out, scores[0])
		} else {
			best := evaluate.Best(scores)
			counts[best]++
			class = t.classes[best]
			out = t.appendClasses(out, best, scores)
		}
		if len(warnings) > 0 && int(warnings[0].record) == i {
			out, warnings = x.appendWarnings(out, warnings, served)
		}
		if x.explained != nil {
			out = x.explained.append(out, i, served, class)
		}
		out = append(out, '}')
	}
	x.response = append(out, x.frame.close...)
	if whole {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(x.response))}
	}
	if !gone {
		w.Write(x.response)
	}
	for k, n := range counts {
		if n > 0 {
			t.predicted[k].Add(n)
		}
	}
}

// best is the counter of a record's prediction.
func (t *task) best(scores []float32) int {
	if t.classes == nil {
		return 0
	}
	return evaluate.Best(scores)
}

// appendValue appends a prediction without its closing brace. JSON has no infinity,
// which a record far from all training rows may get where values grow exponentially.
func (t *task) appendValue(out []byte, value float32) []byte {
	value = min(max(value, -math.MaxFloat32), math.MaxFloat32)
	out = append(out, `{"value":`...)
	out = strconv.AppendFloat(out, float64(value), 'g', -1, 32)
	out = append(out, `,"interval":[`...)
	out = strconv.AppendFloat(out, float64(value)-t.halfWidth, 'g', 9, 64)
	out = append(out, ',')
	out = strconv.AppendFloat(out, float64(value)+t.halfWidth, 'g', 9, 64)
	return append(out, ']')
}

// appendClasses appends a prediction without its closing brace.
func (t *task) appendClasses(out []byte, best int, scores []float32) []byte {
	out = append(append(out, `{"label":`...), t.classes[best]...)
	separator := `,"probabilities":{`
	for k, p := range scores {
		out = append(append(append(out, separator...), t.classes[k]...), ':')
		out = strconv.AppendFloat(out, float64(p), 'g', -1, 32)
		separator = ","
	}
	return append(out, '}')
}
