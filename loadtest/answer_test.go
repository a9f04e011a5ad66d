package loadtest

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
)

func TestReadSimpleHead(t *testing.T) {
	for _, test := range []struct {
		because, head string
		want          int // -1: the usual way
	}{
		{"the server's own", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: x\r\nContent-Length: 12\r\n\r\n", 12},
		{"names in another case", "HTTP/1.1 200 OK\r\ncontent-length:7\r\n\r\n", 7},
		{"nothing in it", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0},
		{"not a 200", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\n", -1},
		{"older HTTP, which closes", "HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n", -1},
		{"the connection ends", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n", -1},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", -1},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", -1},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Length: 13\r\n\r\n", -1},
		{"no number", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", -1},
		{"past all bounds", "HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n", -1},
		{"not whole", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n", -1},
		{"nothing comes", "", -1},
	} {
		in := bufio.NewReader(strings.NewReader(test.head + "body"))
		if test.head == "" {
			in = bufio.NewReader(strings.NewReader(""))
		}
		got, ok := readSimpleHead(in)
		if ok != (test.want >= 0) || ok && got != test.want {
			t.Errorf("%s: %d, %v, want %d", test.because, got, ok, test.want)
		}
		left, rest := 0, ""
		if left = in.Buffered(); left > 0 {
			b, _ := in.Peek(left)
			rest = string(b)
		}
		if want := map[bool]string{true: "body", false: test.head + "body"}[ok]; test.head != "" && rest != want {
			t.Errorf("%s: %q is left, want %q", test.because, rest, want)
		}
	}
}

// What is known of the last response must not change what is found wrong.
func TestKnownAnswers(t *testing.T) {
	answer := func(version, predictions string) string {
		return fmt.Sprintf(`{"model":{"name":"m","version":"%s","run_id":"r"},"predictions":[%s]}`+"\n", version, predictions)
	}
	const p, q = `{"label":0,"probability":0.25}`, `{"label":1,"probability":1}`
	for _, test := range []struct{ because, body string }{
		{"the same", answer("1", p+","+q)},
		{"another version", answer("2", p+","+q)},
		{"one too few", answer("1", p)},
		{"one too many", answer("1", p+","+q+","+p)},
		{"no comma", answer("1", p+q)},
		{"a comma at the end", answer("1", p+","+q+",")},
		{"a probability above 1", answer("1", p+`,{"label":1,"probability":1.5}`)},
		{"a negative one", answer("1", p+`,{"label":1,"probability":-0.5}`)},
		{"a small one", answer("1", p+`,{"label":1,"probability":1.5e-10}`)},
		{"no number", answer("1", p+`,{"label":1,"probability":NaN}`)},
		{"a number that JSON doesn't know", answer("1", p+`,{"label":1,"probability":0x1p-2}`)},
		{"null", answer("1", p+`,{"label":1,"probability":null}`)},
		{"no label", answer("1", p+`,{"probability":0.5}`)},
		{"contributions", answer("1", `{"label":0,"probability":0.25,"contributions":{"scale":"a \\"}","base":1,"features":[{"feature":"]","value":null}]}},`+q)},
		{"warnings and contributions", answer("1", p+`,{"label":1,"probability":1,"warnings":[{"column":"","kind":"k","detail":"{"}],"contributions":{"base":1}}`)},
		{"contributions that are no JSON", answer("1", p+`,{"label":1,"probability":1,"contributions":{"base":1,}}`)},
		{"contributions that don't end", answer("1", p+`,{"label":1,"probability":1,"contributions":{"base":"1}`)},
		{"contributions without a value", answer("1", p+`,{"label":1,"probability":1,"contributions":}`)},
		{"a probability behind contributions", answer("1", p+`,{"label":1,"probability":1,"contributions":{},"probability":7}`)},
		{"a member that nobody knows", answer("1", p+`,{"label":1,"probability":1,"other":{}}`)},
		{"a comma behind contributions", answer("1", p+`,{"label":1,"probability":1,"contributions":{},}`)},
		{"a comma behind a probability", answer("1", p+`,{"label":1,"probability":1,}`)},
		{"members the other way round", answer("1", p+`,{"probability":0.5,"label":1}`)},
		{"more behind it", answer("1", p+","+q) + "x"},
		{"cut short", strings.TrimSuffix(answer("1", p+","+q), "}\n")},
		{"cut in the label", strings.SplitAfter(answer("1", p), `{"label":`)[0]},
		{"an empty list", answer("1", "")},
		{"empty", ""},
	} {
		var k known
		if version, err := k.check([]byte(answer("1", p+","+q)), 2); version != "1" || err != nil {
			t.Fatal(version, err)
		}
		got, err := k.check([]byte(test.body), 2)
		want, wrong := check([]byte(test.body), 2)
		if got != want || (err == nil) != (wrong == nil) {
			t.Errorf("%s: %q, %v; by the usual way %q, %v", test.because, got, err, want, wrong)
		}
	}
}
