package loadtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBodies is how many bytes of bodies a target keeps; a file's later records are left
// out, and Load says how many were read.
const maxBodies = 64 << 20

// Load reads the targets' records, and asks the server for samples where a target
// needs them. Headers apply to that request too. Notes say what was left out.
func (p *Plan) Load(ctx context.Context) (notes []string, err error) {
	for i := range p.Targets {
		t := &p.Targets[i]
		note, err := t.load(ctx)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", t.Name, err)
		}
		if note != "" {
			notes = append(notes, t.Name+": "+note)
		}
	}
	return notes, nil
}

func (t *Target) load(ctx context.Context) (note string, err error) {
	switch {
	case len(t.Bodies) > 0:
	case t.Records != "":
		f, err := os.Open(t.Records)
		if err != nil {
			return "", fmt.Errorf("records: %w", err)
		}
		defer f.Close()
		t.Bodies, note, err = ReadRecords(f, t.Body)
		if err != nil {
			return "", fmt.Errorf("%s: %w", t.Records, err)
		}
		return note, nil
	case t.Body != "":
		t.Bodies = []Body{{[]byte(t.Body), 1}}
		if t.predicts() {
			if t.Bodies[0].Records, err = countRecords(bytes.TrimSpace([]byte(t.Body))); err != nil {
				return "", err
			}
		}
	case t.predicts():
		key := ""
		for name, value := range t.Headers {
			if strings.EqualFold(name, "Authorization") {
				key = strings.TrimPrefix(value, "Bearer ")
			}
		}
		t.Bodies, err = Samples(ctx, strings.TrimSuffix(t.URL, "/predict"), key)
		return "", err
	default:
		t.Bodies = []Body{{nil, 0}}
	}
	return "", nil
}

// ReadRecords reads the records of a CSV file with a header, or JSON lines, as bodies:
// each an object of its row, or the template with the row's values: {{column}} as a JSON text,
// {{column|number}} as a number, null if it is empty, and {{column|raw}} as it is. The note
// says if the file has more records than are kept.
func ReadRecords(r io.Reader, template string) (bodies []Body, note string, err error) {
	in := bufio.NewReader(r)
	start, _ := in.Peek(64)
	if text := bytes.TrimLeft(start, "\xef\xbb\xbf \r\n\t"); len(text) > 0 && (text[0] == '{' || text[0] == '[') {
		if template != "" {
			return nil, "", errors.New("a body template needs the rows of a CSV file, and these are JSON lines, which are bodies already")
		}
		bodies, err = ReadBodies(in)
		return bodies, "", err
	}
	rows := csv.NewReader(in)
	rows.ReuseRecord = true
	first, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, "", errors.New("there are no records")
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the header: %w", err)
	}
	columns := slices.Clone(first)
	columns[0] = strings.TrimPrefix(columns[0], "\ufeff")
	render, err := newRender(template, columns)
	if err != nil {
		return nil, "", err
	}
	size := 0
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, "", fmt.Errorf("reading records: %w", err) // has the line
		}
		if size > maxBodies {
			return bodies, fmt.Sprintf("only the first %d records are sent: they take %d MiB", len(bodies), maxBodies>>20), nil
		}
		body, err := render(row)
		if err != nil {
			line, _ := rows.FieldPos(0)
			return nil, "", fmt.Errorf("line %d: %w", line, err)
		}
		size += len(body)
		bodies = append(bodies, Body{body, 1})
	}
	if len(bodies) == 0 {
		return nil, "", errors.New("there are no records below the header")
	}
	return bodies, "", nil
}

// newRender returns what makes a body of a row.
func newRender(template string, columns []string) (func(row []string) ([]byte, error), error) {
	if template == "" {
		return func(row []string) ([]byte, error) {
			body := []byte{'{'}
			for i, c := range columns {
				if i > 0 {
					body = append(body, ',')
				}
				body = append(append(append(body, quoted(c)...), ':'), quoted(row[i])...)
			}
			return append(body, '}'), nil
		}, nil
	}
	type place struct {
		column int
		as     string
	}
	var texts []string // before, between and after the places
	var places []place
	rest := template
	for {
		before, after, found := strings.Cut(rest, "{{")
		if !found {
			texts = append(texts, rest)
			break
		}
		inner, tail, closed := strings.Cut(after, "}}")
		name, as := strings.TrimSpace(inner), ""
		i := slices.Index(columns, name)
		if bar := strings.LastIndex(inner, "|"); i < 0 && bar >= 0 {
			name, as = strings.TrimSpace(inner[:bar]), strings.TrimSpace(inner[bar+1:])
			i = slices.Index(columns, name)
		}
		if !closed || i < 0 {
			return nil, fmt.Errorf("body: {{%s}} names no column; there are %s", short(name), short(strings.Join(columns, ", ")))
		}
		if !slices.Contains([]string{"", "number", "raw"}, as) {
			return nil, fmt.Errorf("body: {{%s}}: a value is number or raw, or without such a word a text", short(inner))
		}
		texts, places, rest = append(texts, before), append(places, place{i, as}), tail
	}
	return func(row []string) ([]byte, error) {
		body := []byte(texts[0])
		for i, p := range places {
			value := []byte(row[p.column])
			switch p.as {
			case "":
				value = quoted(row[p.column])
			case "number":
				var err error
				if value, err = number(row[p.column]); err != nil {
					return nil, fmt.Errorf("%s: %w", columns[p.column], err)
				}
			}
			body = append(append(body, value...), texts[i+1]...)
		}
		return body, nil
	}, nil
}

// quoted is a text as JSON.
func quoted(s string) []byte {
	text, _ := json.Marshal(s) // a string
	return text
}

// number is a number as JSON, and an empty one null.
func number(s string) ([]byte, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return []byte("null"), nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return nil, fmt.Errorf("%q is not a number", short(s))
	}
	if json.Valid([]byte(s)) {
		return []byte(s), nil // all of its digits
	}
	return json.Marshal(v)
}

// prepared is a target with its requests as they go over the wire.
type prepared struct {
	*endpoint
	name     string
	perRound int // its turns in an order of targets
	requests []request
}

func (t *Target) prepare(timeout Span) (*prepared, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	p := &prepared{endpoint: endpointOf(u, time.Duration(timeout)), name: t.Name, perRound: max(t.Weight, 1)}
	if !t.predicts() {
		p.check = func([]byte, int) (string, error) { return "", nil }
		p.accepts = func(status int) bool {
			if len(t.Status) > 0 {
				return slices.Contains(t.Status, status)
			}
			return status < 400
		}
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", t.Method, u.RequestURI(), u.Host)
	given := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		given[http.CanonicalHeaderKey(name)] = true
		head += name + ": " + t.Headers[name] + "\r\n"
	}
	if !given["User-Agent"] {
		head += "User-Agent: mlops-loadtest\r\n"
	}
	for _, b := range t.Bodies {
		wire := []byte(head)
		if len(b.JSON) > 0 || t.Method != http.MethodGet {
			if len(b.JSON) > 0 && !given["Content-Type"] {
				wire = append(wire, "Content-Type: application/json\r\n"...)
			}
			wire = fmt.Appendf(wire, "Content-Length: %d\r\n", len(b.JSON))
		}
		wire = append(append(wire, "\r\n"...), b.JSON...)
		p.requests = append(p.requests, request{wire, b.Records})
	}
	return p, nil
}
