// Screenshots takes the pictures of the documentation from a running demo: the web
// page after a prediction. It needs Chromium or Chrome.
//
//	make demo screenshots
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"mlops/internal/program"
)

func main() { program.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	var page, out string
	var width, height int
	err := program.Flags(os.Args[1:], func(f *flag.FlagSet) {
		f.StringVar(&page, "page", "http://127.0.0.1:8501", "address of the page")
		f.StringVar(&out, "out", "docs/images", "folder for the pictures")
		f.IntVar(&width, "width", 1100, "width in pixels")
		f.IntVar(&height, "height", 820, "height in pixels")
	})
	if err != nil {
		return err
	}
	base, err := url.Parse(page)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	browser, err := find("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: submitted(base), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with the program
	defer server.Close()

	file := filepath.Join(out, "page.png")
	if err := shoot(ctx, browser, "http://"+l.Addr().String()+"/", file, width, height); err != nil {
		return err
	}
	log.Info("picture taken", "file", file)
	return nil
}

// submitted serves the page as it is after its form was sent unchanged:
// Chromium takes pictures of addresses only.
func submitted(base *url.URL) http.Handler {
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(base) }}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		body, err := predicted(r.Context(), base.String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(body)
	})
	return mux
}

// predicted returns the page's HTML with a prediction for its first sample.
func predicted(ctx context.Context, page string) ([]byte, error) {
	form, err := fetch(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, err
	}
	values, err := fields(bytes.NewReader(form))
	if err != nil {
		return nil, fmt.Errorf("reading the form: %w", err)
	}
	return fetch(ctx, http.MethodPost, page, values)
}

func fetch(ctx context.Context, method, address string, form url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		return nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the page (is the demo running?): %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %s", method, address, res.Status)
	}
	return io.ReadAll(res.Body)
}

func find(names ...string) (string, error) {
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("none of %q is in PATH: install Chromium", names)
}

// shoot lets the browser, without any network but this machine's, write a
// picture of an address.
func shoot(ctx context.Context, browser, address, file string, width, height int) error {
	dir, err := os.MkdirTemp("", "screenshots-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	raw := filepath.Join(dir, "raw.png")
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-extensions", "--disable-domain-reliability", "--disable-client-side-phishing-detection",
		"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
		"--force-color-profile=srgb", "--user-data-dir="+filepath.Join(dir, "profile"),
		fmt.Sprintf("--window-size=%d,%d", width, height), "--timeout=3000", "--screenshot="+raw, address)
	cmd.WaitDelay = 5 * time.Second
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", browser, err, bytes.TrimSpace(said))
	}
	picture, err := decode(raw)
	if err != nil {
		return fmt.Errorf("the browser's picture: %w", err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, flat(picture)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, small.Bytes(), 0o644)
}

func decode(file string) (image.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return png.Decode(f)
}
