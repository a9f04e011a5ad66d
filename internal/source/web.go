package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mlops/internal/retry"
)

// web is a source at an HTTP or HTTPS address.
type web struct {
	url    *url.URL
	client *http.Client
}

const maxRedirects = 5

// webClient follows a few redirects, but none from https to http, and none from a public
// address into a network of one's own. All its waits are bounded, except for a body that
// stalls, which the copier handles.
func webClient(source *url.URL, opts *Options) *http.Client {
	t := transport(opts.Idle)
	port := cmp.Or(source.Port(), map[string]string{"http": "80", "https": "443"}[strings.ToLower(source.Scheme)])
	t.DialContext = (&border{origin: net.JoinHostPort(source.Hostname(), port)}).dial
	return &http.Client{
		Transport: t,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return retry.Permanent(fmt.Errorf("more than %d redirects", maxRedirects))
			}
			if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return retry.Permanent(errors.New("redirect from https to " + req.URL.Scheme))
			}
			return nil
		},
	}
}

const dialTimeout = 10 * time.Second

func transport(idle time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: idle,
		DisableCompression:    true, // the table's bytes, not the transport's
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          1,
		IdleConnTimeout:       10 * time.Second,
	}
}

// border keeps a source's server from having this machine ask others in its name: if the
// source is at a public address, a redirect has to lead to one, too. A cloud's metadata
// service (link-local addresses, and fd00:ec2::254) is no source at all.
type border struct {
	origin string // host and port of the source
	public bool   // it was reached at a public address
}

// dial opens a connection to the source, to where it redirects, or to a proxy, to which all
// connections go then.
func (b *border) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	dialer.Control = func(_, to string, _ syscall.RawConn) error { return b.check(to, address != b.origin) }
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if to, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil && address == b.origin {
		b.public = isPublic(to.Addr())
	}
	return conn, nil
}

// check is called with each address before a connection to it is opened.
func (b *border) check(address string, elsewhere bool) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	switch ip := to.Addr().Unmap().WithZone(""); {
	case ip.IsLinkLocalUnicast() || ip == awsMetadata:
		return retry.Permanent(fmt.Errorf("%s is a link-local address, as a cloud's metadata service has, and no source of tables", ip))
	case elsewhere && b.public && !isPublic(ip):
		return retry.Permanent(fmt.Errorf("%s is public and leads to %s, which is not", b.origin, ip))
	}
	return nil
}

var (
	awsMetadata = netip.MustParseAddr("fd00:ec2::254")
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
)

func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedSpace.Contains(ip)
}

func (w *web) read(ctx context.Context, offset int64, version string) (part, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url.String(), nil)
	if err != nil {
		return part{}, retry.Permanent(errors.New("the address is not valid"))
	}
	req.Header.Set("User-Agent", "mlops")
	if offset > 0 {
		// If-Range (RFC 9110, 13.1.5): the rest if it is still the same, else all of it.
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		req.Header.Set("If-Range", version)
	}
	res, err := w.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the address, which may hold secrets
		}
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			err = fmt.Errorf("unknown host %s: %w", w.url.Hostname(), err)
		}
		return part{}, err
	}
	p := part{body: res.Body, size: res.ContentLength, version: versionOf(res.Header)}
	switch res.StatusCode {
	case http.StatusOK:
		return p, nil
	case http.StatusPartialContent:
		from, size, ok := contentRange(res.Header.Get("Content-Range"))
		if ok && from == offset {
			p.from, p.size = from, size
			return p, nil
		}
		err = errors.New("the server sent another range than requested")
	case http.StatusRequestedRangeNotSatisfiable:
		res.Body.Close()
		if offset > 0 {
			return w.read(ctx, 0, "") // another, shorter content by now
		}
		return part{}, retry.Permanent(fmt.Errorf("the server responded %s", res.Status))
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		err = fmt.Errorf("the server responded %s", res.Status)
	default:
		err = fmt.Errorf("the server responded %s", res.Status)
		if res.StatusCode < 500 {
			err = retry.Permanent(err)
		}
	}
	res.Body.Close()
	return part{}, err
}

// versionOf returns a validator for If-Range: a strong ETag, or the date.
func versionOf(h http.Header) string {
	if e := h.Get("ETag"); e != "" && !strings.HasPrefix(e, "W/") {
		return e
	}
	return h.Get("Last-Modified")
}

// contentRange parses "bytes 5-9/10" (RFC 9110, 14.4); the size is -1 for "*".
func contentRange(s string) (from, size int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, whole, ok2 := strings.Cut(s, "/")
	first, _, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, false
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if whole == "*" {
		return from, -1, true
	}
	size, err = strconv.ParseInt(whole, 10, 64)
	return from, size, err == nil
}
