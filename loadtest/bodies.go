package loadtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"mlops/internal/api"
)

// Body is what one request sends.
type Body struct {
	JSON    []byte
	Records int // predictions that must come back
}

const maxLine = 32 << 20 // bytes; the server accepts no more

// ReadBodies reads JSON lines, each a body of POST /predict: a record, an array of
// records, or {"instances": [...]}.
func ReadBodies(r io.Reader) ([]Body, error) {
	var bodies []Body
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		records, err := countRecords(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		bodies = append(bodies, Body{bytes.Clone(line), records})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading records: %w", err)
	}
	if len(bodies) == 0 {
		return nil, errors.New("there are no records")
	}
	return bodies, nil
}

func countRecords(body []byte) (int, error) {
	var list []struct{}
	if body[0] == '[' {
		if err := json.Unmarshal(body, &list); err != nil {
			return 0, fmt.Errorf("not an array of records: %w", err)
		}
		return len(list), nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return 0, fmt.Errorf("not a record: %w", err)
	}
	instances, ok := object["instances"]
	if !ok {
		return 1, nil
	}
	if err := json.Unmarshal(instances, &list); err != nil {
		return 0, fmt.Errorf("instances is not an array of records: %w", err)
	}
	return len(list), nil
}

// Samples asks a server for its model's sample records and makes a body of each.
func Samples(ctx context.Context, target, key string) ([]Body, error) {
	model, err := api.NewClient(target, nil).WithKey(key).Model(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking for samples: %w", err)
	}
	var bodies []Body
	for _, s := range model.Samples {
		if s.Record == nil {
			continue
		}
		text, err := json.Marshal(s.Body(model.Dataset.Earlier != nil))
		if err != nil {
			return nil, fmt.Errorf("encoding a sample: %w", err)
		}
		bodies = append(bodies, Body{text, 1})
	}
	if len(bodies) == 0 {
		return nil, fmt.Errorf("GET %s/model shows no samples; give a file of records", target)
	}
	return bodies, nil
}

// status sums up a response that is not a 200, in a line.
func status(res *http.Response, body []byte) string {
	var problem api.Problem
	if json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
		return fmt.Sprintf("%s: %s", res.Status, short(problem.Detail))
	}
	return fmt.Sprintf("%s: %s", res.Status, short(string(body)))
}

// short cuts a text to what a line can show.
func short(text string) string {
	const maxRunes = 200
	text = string(bytes.ToValidUTF8([]byte(text), nil))
	if r := []rune(text); len(r) > maxRunes {
		return string(r[:maxRunes]) + "…"
	}
	return text
}
