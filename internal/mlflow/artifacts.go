package mlflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/google/renameio/v2"
)

const proxy = "api/2.0/mlflow-artifacts/artifacts"

// Artifact is a file or folder below another.
type Artifact struct {
	Path string // its name, without the folder that was listed
	Dir  bool
	Size int64 // bytes; 0 for a folder
}

// ArtifactPath turns a mlflow-artifacts: URI, such as Run.ArtifactURI, into the path
// that the artifact calls take. A URI of another scheme or another server is an
// error: only the server has the keys of its store.
func (c *Client) ArtifactPath(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "mlflow-artifacts" {
		return "", fmt.Errorf("artifacts at %q can't be read through MLflow's artifact proxy (want mlflow-artifacts:/...; is the server started with --serve-artifacts?)", uri)
	}
	if u.Host != "" && u.Host != c.base.Host {
		return "", fmt.Errorf("artifacts at %q are on another server than %s", uri, c.base.Host)
	}
	return strings.Trim(u.Path, "/"), nil
}

// checkPath rejects paths that MLflow rejects or would misread: it decodes a path
// once more than HTTP does and stores "50%2F.txt" as ".txt" in the folder "50".
func checkPath(p string) error {
	bad := ""
	switch decoded, err := url.PathUnescape(p); {
	case p == "":
		bad = "is empty"
	case strings.ContainsAny(p, `#\`):
		bad = `holds "#" or "\"`
	case strings.ContainsFunc(p, unicode.IsControl):
		bad = "holds a control character"
	case err == nil && decoded != p:
		bad = `holds "%" and two hexadecimal digits`
	case path.Clean("/"+p) != "/"+p:
		bad = `holds an empty part, "." or ".."`
	default:
		return nil
	}
	return fmt.Errorf("artifact path %q %s", p, bad)
}

func proxyPath(p string) string {
	parts := strings.Split(p, "/")
	for i, s := range parts {
		parts[i] = url.PathEscape(s)
	}
	return proxy + "/" + strings.Join(parts, "/")
}

// UploadArtifact stores the whole body as the file at path
// ("1/<run>/artifacts/model/MLmodel"; see ArtifactPath). An existing file is
// replaced; a reader sees the old or the new one, never a part.
func (c *Client) UploadArtifact(ctx context.Context, path string, body io.ReadSeeker) error {
	if err := checkPath(path); err != nil {
		return err
	}
	return c.do(ctx, request{method: http.MethodPut, path: proxyPath(path), upload: body})
}

// DeleteArtifact deletes the file or folder at path.
func (c *Client) DeleteArtifact(ctx context.Context, path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	return c.do(ctx, request{method: http.MethodDelete, path: proxyPath(path)})
}

// ListArtifacts returns what is directly below a folder. To MLflow a folder that
// does not exist is an empty one.
func (c *Client) ListArtifacts(ctx context.Context, path string) ([]Artifact, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	var out struct {
		Files []struct {
			Path string
			Dir  bool  `json:"is_dir"`
			Size int64 `json:"file_size"`
		}
	}
	err := c.do(ctx, request{
		method: http.MethodGet, path: proxy, query: url.Values{"path": {path}}, read: decoder(&out),
	})
	if err != nil {
		return nil, err
	}
	list := make([]Artifact, 0, len(out.Files))
	for _, f := range out.Files {
		list = append(list, Artifact{Path: f.Path, Dir: f.Dir, Size: f.Size})
	}
	return list, nil
}

// DownloadArtifact copies the file at path into a local file, atomically: after an
// error the local file is what it was. The error is ErrNotFound if there is no file
// at path and ErrTooLarge if it has more than limit bytes.
func (c *Client) DownloadArtifact(ctx context.Context, path, file string, limit int64) error {
	tmp, err := renameio.NewPendingFile(file, renameio.WithTempDir(filepath.Dir(file)), renameio.WithStaticPermissions(0o644))
	if err != nil {
		return fmt.Errorf("downloading artifact %s: %w", path, err)
	}
	defer tmp.Cleanup()
	err = c.download(ctx, path, limit, func(r io.Reader) error {
		if _, err := tmp.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if err := tmp.Truncate(0); err != nil {
			return err
		}
		_, err := io.Copy(tmp, r)
		return err
	})
	if err != nil {
		return err
	}
	if err := tmp.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("downloading artifact %s: %w", path, err)
	}
	return nil
}

// download streams the file at path to read, which starts over at each attempt.
func (c *Client) download(ctx context.Context, file string, limit int64, read func(io.Reader) error) error {
	if err := checkPath(file); err != nil {
		return err
	}
	limit = max(limit, 0)
	var size, length int64
	r := request{method: http.MethodGet, path: proxyPath(file), read: func(a *answer) error {
		l := &limited{r: a, left: limit, limit: limit}
		err := read(l)
		size, length = limit-l.left, a.length
		return err
	}}
	err := c.do(ctx, r)

	// With S3 behind it, the proxy responds 500 INTERNAL_ERROR for a file that does
	// not exist, and with a truncated 200 without a length for a folder or when it
	// fails half-way. Its listing is right.
	var e *Error
	unsure := errors.As(err, &e) && e.Status == http.StatusInternalServerError
	if !unsure && (err != nil || length >= 0) || !strings.Contains(file, "/") {
		return err
	}
	list, failed := c.ListArtifacts(ctx, path.Dir(file))
	switch {
	case failed != nil && unsure:
		return err
	case failed != nil:
		return fmt.Errorf("checking the length of artifact %s: %w", file, failed)
	}
	i := slices.IndexFunc(list, func(a Artifact) bool { return a.Path == path.Base(file) })
	switch {
	case unsure:
		e.missing = i < 0
	case i < 0 || list[i].Dir:
		return fmt.Errorf("artifact %s is not a file", file)
	case list[i].Size != size:
		return fmt.Errorf("artifact %s: got %d of %d bytes", file, size, list[i].Size)
	}
	return err
}

// limited is a reader that, unlike io.LimitReader, fails if there is more.
type limited struct {
	r           io.Reader
	left, limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%w of %d bytes", ErrTooLarge, l.limit)
	}
	return n, err
}
