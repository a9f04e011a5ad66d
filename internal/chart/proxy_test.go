package chart

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"

	"mlops/internal/apikey"
	"mlops/internal/page"
	"mlops/internal/registry"
	"mlops/internal/serve"
)

// Annotations for a login proxy, as docs/operating.md gives them.
const (
	authURL    = "nginx.ingress.kubernetes.io/auth-url"
	authSignIn = "nginx.ingress.kubernetes.io/auth-signin"
)

// One login in front of page, MLflow, Argo, Grafana and Prometheus, and none in front of
// the API, whose callers have keys: the rendered Ingresses with docs/operating.md's
// annotations in an nginx, which asks a real oauth2-proxy. Inference and page are the
// real ones, the others are stand-ins.
func TestLoginProxy(t *testing.T) {
	t.Parallel()
	program := os.Getenv("MLOPS_TEST_OAUTH2_PROXY")
	nginx, err := exec.LookPath("nginx")
	if program == "" || err != nil {
		t.Skip("NOT TESTED: needs nginx, and an oauth2-proxy in MLOPS_TEST_OAUTH2_PROXY (make e2e builds one)")
	}
	eachHelm(t, func(t *testing.T, helm string) {
		front := freePort(t)
		_, port, _ := net.SplitHostPort(front)
		login := oauth2Proxy(t, program, port)
		r := render(t, helm, "mlops", "mlops", append(behindLogin,
			"--set-string", "ingress.login.annotations."+strings.ReplaceAll(authURL, ".", `\.`)+"="+login+"/oauth2/auth",
			"--set-string", "ingress.login.annotations."+strings.ReplaceAll(authSignIn, ".", `\.`)+"=http://login.example.com:"+port+"/oauth2/start?rd=$scheme://$http_host$escaped_request_uri")...)

		inference, ui, key := realServers(t)
		backends := map[string]string{"mlops-inference": inference, "mlops-ui": ui}
		for _, name := range []string{"mlflow", "argo", "grafana", "prometheus"} {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "this is "+name) }))
			t.Cleanup(s.Close)
			backends["mlops-"+name] = s.URL
		}
		startNginx(t, nginx, front, login, all[*networkingv1.Ingress](r), backends)

		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		// Every name of example.com is this nginx.
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, front)
		}
		client := &http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		get := func(host, path, key string) (*http.Response, string) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+".example.com:"+port+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if key != "" {
				req.Header.Set("Authorization", "Bearer "+key)
			}
			return do(t, client, req)
		}
		people := map[string]string{"m": "No model is being served yet", "mlflow": "this is mlflow", "argo": "this is argo", "grafana": "this is grafana", "prometheus": "this is prometheus"}
		for host, want := range people {
			res, text := get(host, "/?a=b", "")
			if to := res.Header.Get("Location"); res.StatusCode != http.StatusFound || !strings.HasPrefix(to, "http://login.example.com:") || !strings.HasSuffix(to, host+".example.com:"+port+"%2F%3Fa%3Db") && !strings.HasSuffix(to, host+".example.com:"+port+"/%3Fa%3Db") {
				t.Errorf("%s before the login: %s to %q", host, res.Status, to)
			}
			if strings.Contains(text, want) {
				t.Errorf("%s before the login: %s", host, text)
			}
			// A key is not a login.
			if res, _ := get(host, "/", key); res.StatusCode != http.StatusFound {
				t.Errorf("%s with an API key: %s", host, res.Status)
			}
		}

		form := url.Values{"username": {"ada"}, "password": {"wrong"}, "rd": {"http://m.example.com:" + port + "/"}}
		signIn := func() *http.Response {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://login.example.com:"+port+"/oauth2/sign_in", strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			res, _ := do(t, client, req)
			return res
		}
		signIn()
		if res, _ := get("m", "/", ""); res.StatusCode != http.StatusFound {
			t.Errorf("after a wrong password: %s", res.Status)
		}
		form.Set("password", "lovelace")
		if res := signIn(); res.StatusCode != http.StatusFound || res.Header.Get("Location") != form.Get("rd") {
			t.Errorf("the login: %s to %q", res.Status, res.Header.Get("Location"))
		}
		for host, want := range people {
			if _, text := get(host, "/", ""); !strings.Contains(text, want) {
				t.Errorf("%s after the login: %.300s", host, text)
			}
		}

		// Programs: a key, and nothing else.
		jar, _ = cookiejar.New(nil)
		client.Jar = jar
		if res, text := get("api", "/model", ""); res.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "API key is required") {
			t.Errorf("the API without a key: %s %s", res.Status, text)
		}
		if res, text := get("api", "/model", key); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "no version of tiny is in production yet") {
			t.Errorf("the API with a key: %s %s", res.Status, text)
		}
		if res, _ := get("api", "/metrics", ""); res.StatusCode != http.StatusNotFound {
			t.Errorf("the API's metrics from outside: %s", res.Status)
		}
	})
}

func do(t *testing.T, client *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// empty is a registry in which nothing is in production.
type empty struct{}

func (empty) Production(context.Context) (registry.Version, error) {
	return registry.Version{}, registry.ErrNoVersion
}
func (empty) Download(context.Context, registry.Version, string) error { return nil }

// realServers starts inference, which asks for keys, and the page, which presents one.
func realServers(t *testing.T) (inference, ui, key string) {
	t.Helper()
	key, k, err := apikey.New("a", []apikey.Scope{apikey.Read}, apikey.Rate{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(k.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	server := serve.New(serve.Options{Model: "tiny", Cache: t.TempDir(), Registry: empty{}, Log: slog.New(slog.DiscardHandler)})
	if err := server.RequireKeys(path); err != nil {
		t.Fatal(err)
	}
	address := freePort(t)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, l) }()
	t.Cleanup(func() { stop(); <-done })
	inference = "http://" + address
	p, err := page.New(inference, 10*time.Second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.UseKey(key)
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return inference, s.URL, key
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// oauth2Proxy starts one that knows a user, in place of an identity provider.
func oauth2Proxy(t *testing.T, program, front string) string {
	t.Helper()
	address := freePort(t)
	password := sha1.Sum([]byte("lovelace")) // what htpasswd -s writes
	users := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(users, []byte("ada:{SHA}"+base64.StdEncoding.EncodeToString(password[:])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var secret [32]byte
	rand.Read(secret[:])
	started(t, address, exec.Command(program, "--http-address="+address, "--reverse-proxy=true", "--upstream=static://202", "--email-domain=*",
		"--client-id=none", "--client-secret=none", "--htpasswd-file="+users, "--display-htpasswd-form=true",
		"--cookie-secret="+base64.URLEncoding.EncodeToString(secret[:]), "--cookie-secure=false", "--cookie-domain=.example.com",
		"--whitelist-domain=.example.com:"+front, "--redirect-url=http://login.example.com:"+front+"/oauth2/callback"))
	return "http://" + address
}

// started starts a program and waits until it listens; the test's end ends it.
func started(t *testing.T, address string, cmd *exec.Cmd) {
	t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(cmd.Path), said.String())
		}
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not listen: %v", filepath.Base(cmd.Path), err)
		}
	}
}

// startNginx starts an nginx with the rules of Ingresses and what the annotations mean to
// ingress-nginx: a subrequest to auth-url, and for a 401 from there a redirect to
// auth-signin. login.example.com leads to the login proxy.
func startNginx(t *testing.T, nginx, address, login string, ingresses []*networkingv1.Ingress, backends map[string]string) {
	t.Helper()
	const headers = " proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Uri $request_uri;\n"
	var servers strings.Builder
	fmt.Fprintf(&servers, "server { listen %s; server_name login.example.com; location / { proxy_pass %s;%s } }\n", address, login, headers)
	for _, i := range ingresses {
		for _, rule := range i.Spec.Rules {
			fmt.Fprintf(&servers, "server {\n listen %s; server_name %s;\n", address, rule.Host)
			guard := ""
			if to := i.Annotations[authURL]; to != "" {
				fmt.Fprintf(&servers, " location = /_external-auth { internal; proxy_pass %s; proxy_pass_request_body off; proxy_set_header Content-Length \"\";%s }\n", to, headers)
				signIn := strings.ReplaceAll(i.Annotations[authSignIn], "$escaped_request_uri", "$escaped")
				fmt.Fprintf(&servers, " location @signin { return 302 %s; }\n", signIn)
				guard = " auth_request /_external-auth; error_page 401 = @signin;"
			}
			for _, p := range rule.HTTP.Paths {
				for _, match := range []string{"= " + p.Path, strings.TrimSuffix(p.Path, "/") + "/"} {
					fmt.Fprintf(&servers, " location %s {%s proxy_pass %s;%s }\n", match, guard, backends[p.Backend.Service.Name], headers)
				}
			}
			if p := rule.HTTP.Paths; len(p) > 0 && p[0].Path != "/" {
				servers.WriteString(" location / { return 404; }\n")
			}
			servers.WriteString("}\n")
		}
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 1;\nevents {}\nhttp {\n access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n"+
		" map $request_uri $escaped { default /; \"~^/\\?a=b$\" /%%3Fa%%3Db; }\n%[2]s}\n", dir, servers.String())
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	started(t, address, exec.Command(nginx, "-c", conf, "-e", filepath.Join(dir, "error.log")))
}
