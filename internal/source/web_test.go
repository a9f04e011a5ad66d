package source

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestBorder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		to        string
		public    bool // the source is
		elsewhere bool // not its own address
		want      string
	}{
		{"203.0.113.5:443", true, true, ""},
		{"10.0.0.5:443", true, false, ""}, // its own address may have become another
		{"10.0.0.5:443", false, true, ""},
		{"127.0.0.1:5000", true, true, "leads to 127.0.0.1"},
		{"[::1]:5000", true, true, "leads to ::1"},
		{"[::ffff:127.0.0.1]:5000", true, true, "leads to 127.0.0.1"},
		{"0.0.0.0:5000", true, true, "leads to 0.0.0.0"},
		{"10.0.0.5:443", true, true, "leads to 10.0.0.5"},
		{"100.64.0.1:443", true, true, "leads to 100.64.0.1"},
		{"[fd00::1]:443", true, true, "leads to fd00::1"},
		{"169.254.169.254:80", false, false, "metadata"},
		{"[::ffff:169.254.169.254]:80", false, false, "metadata"},
		{"[fe80::1%eth0]:80", false, false, "metadata"},
		{"[fd00:ec2::254]:80", false, false, "metadata"},
	} {
		err := (&border{origin: "data.example:443", public: tt.public}).check(tt.to, tt.elsewhere)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of a source that is public %v: error %v, want %q", tt.to, tt.public, err, tt.want)
		}
	}
}

// TestRedirectInside has a source redirect to a service of this machine.
func TestRedirectInside(t *testing.T) {
	t.Parallel()
	asked := false
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked = true }))
	defer inside.Close()
	source, err := url.Parse("http://data.example/t.csv")
	if err != nil {
		t.Fatal(err)
	}
	outside := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusFound))
	defer outside.Close()
	b := &border{origin: "data.example:80", public: true}
	client := webClient(source, &Options{})
	client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == b.origin {
			return (&net.Dialer{}).DialContext(ctx, network, outside.Listener.Addr().String())
		}
		return b.dial(ctx, network, address)
	}}
	resp, err := client.Get(source.String())
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "data.example:80 is public and leads to 127.0.0.1, which is not") || asked {
		t.Errorf("error %v, asked %v", err, asked)
	}
}
