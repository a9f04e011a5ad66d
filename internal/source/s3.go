package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"mlops/internal/retry"
)

// object is a source in S3 or a compatible store.
type object struct {
	core        *minio.Core
	bucket, key string
}

func newObject(u *url.URL, s S3) (*object, error) {
	o := &object{bucket: u.Host, key: strings.TrimPrefix(u.Path, "/")}
	if o.bucket == "" || o.key == "" {
		return nil, errors.New("an S3 address must be s3://bucket/key")
	}
	c, err := s.Client()
	if err != nil {
		return nil, err
	}
	o.core = &minio.Core{Client: c}
	return o, nil
}

// Client returns a client of the server. It sends nothing yet.
func (s S3) Client() (*minio.Client, error) {
	endpoint, secure := "s3.amazonaws.com", true
	if s.Endpoint != "" {
		e, err := url.Parse(s.Endpoint)
		if err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" {
			return nil, errors.New("the S3 endpoint must be a URL that starts with http:// or https://")
		}
		endpoint, secure = e.Host, e.Scheme == "https"
	}
	c, err := minio.New(endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Secure:     secure,
		Region:     s.Region,
		Transport:  s.Transport,
		MaxRetries: 1, // the caller tries again, and logs it
	})
	if err != nil {
		return nil, fmt.Errorf("setting up S3: %w", err)
	}
	return c, nil
}

func (o *object) read(ctx context.Context, offset int64, version string) (part, error) {
	var opts minio.GetObjectOptions
	if offset > 0 {
		if err := opts.SetRange(offset, 0); err != nil {
			return part{}, err
		}
		if err := opts.SetMatchETag(version); err != nil {
			return part{}, err
		}
	}
	body, info, header, err := o.core.GetObject(ctx, o.bucket, o.key, opts)
	if err != nil {
		res := minio.ToErrorResponse(err)
		switch {
		case offset > 0 && (res.StatusCode == http.StatusPreconditionFailed || res.StatusCode == http.StatusRequestedRangeNotSatisfiable):
			return o.read(ctx, 0, "") // the object has changed
		case res.StatusCode >= 400 && res.StatusCode < 500 && res.StatusCode != http.StatusRequestTimeout && res.StatusCode != http.StatusTooManyRequests:
			return part{}, retry.Permanent(fmt.Errorf("S3 responded %d %s: %s", res.StatusCode, res.Code, res.Message))
		}
		return part{}, err
	}
	p := part{body: body, size: info.Size, version: info.ETag}
	if offset > 0 {
		from, size, ok := contentRange(header.Get("Content-Range"))
		if !ok || from != offset {
			body.Close()
			return part{}, errors.New("S3 sent another range than requested")
		}
		p.from, p.size = from, size
	}
	return p, nil
}
