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
	"net/http"
	"net/url"
	"os"
	"slices"
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
// each an object of its row, or the template with {{column}} replaced by the row's
// value as JSON. The note says if the file has more records than are kept.
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
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, "", fmt.Errorf("reading records: %w", err) // has the line
		}
		if size > maxBodies {
			return bodies, fmt.Sprintf("only the first %d records are sent: they take %d MiB", len(bodies), maxBodies>>20), nil
		}
		body := render(row)
		size += len(body)
		bodies = append(bodies, Body{body, 1})
	}
	if len(bodies) == 0 {
		return nil, "", errors.New("there are no records below the header")
	}
	return bodies, "", nil
}

// newRender returns what makes a body of a row.
func newRender(template string, columns []string) (func(row []string) []byte, error) {
	quoted := func(s string) []byte {
		text, _ := json.Marshal(s) // a string
		return text
	}
	if template == "" {
		return func(row []string) []byte {
			body := []byte{'{'}
			for i, c := range columns {
				if i > 0 {
					body = append(body, ',')
				}
				body = append(append(append(body, quoted(c)...), ':'), quoted(row[i])...)
			}
			return append(body, '}')
		}, nil
	}
	var texts []string // before, between and after the columns
	var places []int
	rest := template
	for {
		before, after, found := strings.Cut(rest, "{{")
		if !found {
			texts = append(texts, rest)
			break
		}
		name, tail, closed := strings.Cut(after, "}}")
		i := slices.Index(columns, strings.TrimSpace(name))
		if !closed || i < 0 {
			return nil, fmt.Errorf("body: {{%s}} names no column; there are %s", short(strings.TrimSpace(name)), short(strings.Join(columns, ", ")))
		}
		texts, places, rest = append(texts, before), append(places, i), tail
	}
	return func(row []string) []byte {
		body := []byte(texts[0])
		for i, p := range places {
			body = append(append(body, quoted(row[p])...), texts[i+1]...)
		}
		return body
	}, nil
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
