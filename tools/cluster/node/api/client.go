// Package api is a small client of the Kubernetes API: what the cluster command
// and its provisioner need, in plain HTTP and JSON. (client-go would make each
// of them 40 MB large.)
package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Kubeconfig is a kubeconfig file, written as JSON, which is YAML too.
type Kubeconfig struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	CurrentContext string         `json:"current-context"`
	Clusters       []NamedCluster `json:"clusters"`
	Users          []NamedUser    `json:"users"`
	Contexts       []NamedContext `json:"contexts"`
}

// NamedCluster is a server and the authority that signs for it.
type NamedCluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

// NamedUser is a client certificate with its key.
type NamedUser struct {
	Name string `json:"name"`
	User struct {
		Cert []byte `json:"client-certificate-data"`
		Key  []byte `json:"client-key-data"`
	} `json:"user"`
}

// NamedContext joins a cluster and a user.
type NamedContext struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

// NewKubeconfig returns a kubeconfig of one context.
func NewKubeconfig(name, user, server string, ca, cert, key []byte) *Kubeconfig {
	k := &Kubeconfig{APIVersion: "v1", Kind: "Config", CurrentContext: name,
		Clusters: make([]NamedCluster, 1), Users: make([]NamedUser, 1), Contexts: make([]NamedContext, 1)}
	k.Clusters[0].Name = name
	k.Clusters[0].Cluster.Server, k.Clusters[0].Cluster.CA = server, ca
	k.Users[0].Name = user
	k.Users[0].User.Cert, k.Users[0].User.Key = cert, key
	k.Contexts[0].Name = name
	k.Contexts[0].Context.Cluster, k.Contexts[0].Context.User = name, user
	return k
}

// Client talks to one API server.
type Client struct {
	base string
	http *http.Client
}

// Load makes a client from a file that NewKubeconfig's value was written to.
func Load(path string) (*Client, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	var k Kubeconfig
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 {
		return nil, fmt.Errorf("reading kubeconfig %s: want one cluster and one user", path)
	}
	cert, err := tls.X509KeyPair(k.Users[0].User.Cert, k.Users[0].User.Key)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(k.Clusters[0].Cluster.CA) {
		return nil, fmt.Errorf("reading kubeconfig %s: no certificate authority", path)
	}
	return &Client{base: k.Clusters[0].Cluster.Server, http: &http.Client{Transport: &http.Transport{
		// No proxy: the server is this machine.
		TLSClientConfig:     &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 5 * time.Second,
	}}}, nil
}

// StatusError is a response other than 2xx.
type StatusError struct {
	Method, Path string
	Code         int
	Message      string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: %d: %s", e.Method, e.Path, e.Code, e.Message)
}

// IsCode reports whether the error is a response with that status.
func IsCode(err error, code int) bool {
	var s *StatusError
	return errors.As(err, &s) && s.Code == code
}

// Call sends body as JSON unless it is nil, and decodes the response into out
// unless that is nil; a *string gets the response as it is.
func (c *Client) Call(ctx context.Context, method, path string, body, out any) error {
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encoding for %s: %w", path, err)
		}
		r = bytes.NewReader(text)
	}
	resp, err := c.send(ctx, method, path, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the response of %s: %w", path, err)
	}
	switch out := out.(type) {
	case nil:
	case *string:
		*out = string(text)
	default:
		if err := json.Unmarshal(text, out); err != nil {
			return fmt.Errorf("reading the response of %s: %w", path, err)
		}
	}
	return nil
}

// Watch calls fn for each event below path (which names its parameters) until
// the server ends the watch, which it does after some minutes.
func (c *Client) Watch(ctx context.Context, path string, fn func()) error {
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		if _, err := lines.ReadSlice('\n'); errors.Is(err, bufio.ErrBufferFull) {
			continue // an event longer than the buffer
		} else if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("watching %s: %w", path, err)
		}
		fn()
	}
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", path, err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			req.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err // names method and address
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &status) != nil || status.Message == "" {
		status.Message = strings.TrimSpace(string(text))
	}
	return nil, &StatusError{Method: method, Path: path, Code: resp.StatusCode, Message: status.Message}
}
