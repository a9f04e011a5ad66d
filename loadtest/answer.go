package loadtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"mlops/internal/api"
)

// This file saves the generator time that a server on the same machine could use:
// nearly all responses are a 200 by the same version as the last one. All others take
// the usual way through net/http and encoding/json.

// readSimpleHead reads the head of a response and returns the length of its body, if
// it is a 200 with a Content-Length on a connection that stays open, and has arrived in
// one piece. Otherwise, or if nothing arrives, it leaves everything unread.
func readSimpleHead(in *bufio.Reader) (length int, ok bool) {
	if _, err := in.Peek(1); err != nil {
		return 0, false
	}
	head, _ := in.Peek(in.Buffered())
	end := bytes.Index(head, []byte("\r\n\r\n"))
	if end < 0 || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return 0, false
	}
	length = -1
	_, rest, _ := bytes.Cut(head[:end], []byte("\r\n"))
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Transfer-Encoding")), bytes.EqualFold(name, []byte("Connection")):
			return 0, false
		case bytes.EqualFold(name, []byte("Content-Length")):
			n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 32)
			if err != nil || length >= 0 || n > maxResponse {
				return 0, false
			}
			length = int(n)
		}
	}
	if length < 0 {
		return 0, false
	}
	_, _ = in.Discard(end + 4) // it was peeked
	return length, true
}

// known is the part of a response before its predictions, which is the same in all
// responses of a version.
type known struct {
	before  []byte
	version string
}

var list = []byte(`"predictions":[`)

// check returns the version that a response's predictions are of, or what is wrong
// with the response.
func (k *known) check(body []byte, records int) (string, error) {
	if len(k.before) > 0 && bytes.HasPrefix(body, k.before) && predictions(body[len(k.before):], records) {
		return k.version, nil
	}
	version, err := check(body, records)
	if at := bytes.Index(body, list); err == nil && at >= 0 {
		k.before, k.version = append(k.before[:0], body[:at+len(list)]...), version
	}
	return version, err
}

// predictions reports whether text is that many predictions, as the server writes
// them, followed by the end of the list and of the response.
func predictions(text []byte, records int) bool {
	const label, probability = `{"label":`, `,"probability":`
	for i := range records {
		if i > 0 {
			if len(text) == 0 || text[0] != ',' {
				return false
			}
			text = text[1:]
		}
		if len(text) <= len(label) || string(text[:len(label)]) != label {
			return false
		}
		if text = text[len(label):]; text[0] != '0' && text[0] != '1' {
			return false
		}
		if text = text[1:]; len(text) < len(probability) || string(text[:len(probability)]) != probability {
			return false
		}
		text = text[len(probability):]
		end := bytes.IndexAny(text, ",}")
		if end < 1 || !json.Valid(text[:end]) { // ParseFloat accepts more than JSON's numbers
			return false
		}
		if p, err := strconv.ParseFloat(string(text[:end]), 64); err != nil || !(p >= 0 && p <= 1) {
			return false
		}
		if text = text[end:]; text[0] == ',' {
			var ok bool
			if text, ok = extras(text); !ok {
				return false
			}
		}
		text = text[1:]
	}
	return string(bytes.TrimRight(text, "\n")) == "]}"
}

// extras skips what a prediction has besides label and probability, and returns the text
// from its end on. That it is JSON is all that is looked at: decoding the contributions
// of a response would take longer than the server takes to send it.
func extras(text []byte) (rest []byte, ok bool) {
	for len(text) > 0 && text[0] == ',' {
		_, after, _ := bytes.Cut(text, []byte(":"))
		if name := string(text[1 : len(text)-len(after)]); name != `"warnings":` && name != `"contributions":` {
			return nil, false
		}
		n := size(after)
		if !json.Valid(after[:n]) {
			return nil, false
		}
		text = after[n:]
	}
	return text, len(text) > 0 && text[0] == '}'
}

// size returns the length of the object or array that text begins with, 0 if it has no end.
func size(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		if depth == 0 {
			break
		}
	}
	return 0
}

// check does the same for any response.
func check(body []byte, records int) (string, error) {
	var a api.Predictions
	if err := json.Unmarshal(body, &a); err != nil {
		return "", err
	}
	if a.Model.Number == "" {
		return "", errors.New("no model version")
	}
	if len(a.Predictions) != records {
		return "", fmt.Errorf("%d predictions for %d records", len(a.Predictions), records)
	}
	for _, p := range a.Predictions {
		if p.Probability < 0 || p.Probability > 1 {
			return "", fmt.Errorf("a probability of %v", p.Probability)
		}
		sum := 0.0
		for class, q := range p.Probabilities {
			if q < 0 || q > 1 {
				return "", fmt.Errorf("a probability of %v for %s", q, class)
			}
			sum += q
		}
		if p.Probabilities != nil && math.Abs(sum-1) > 1e-4 {
			return "", fmt.Errorf("probabilities that sum up to %v", sum)
		}
		if p.Value != nil && !(p.Interval[0] <= *p.Value && *p.Value <= p.Interval[1]) {
			return "", fmt.Errorf("a value of %v outside its interval, %v to %v", *p.Value, p.Interval[0], p.Interval[1])
		}
	}
	return a.Model.Number, nil
}
