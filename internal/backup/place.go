package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/minio/minio-go/v7"
)

// Place is where backups are kept. Names have slashes.
type Place interface {
	// Put stores a file, whole or not at all.
	Put(ctx context.Context, name string, from io.Reader, size int64) error
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	List(ctx context.Context, prefix string) ([]Entry, error)
	Delete(ctx context.Context, name string) error
	String() string // for people
}

// Entry is a file of a place.
type Entry struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Folder is a place on this machine.
type Folder string

func (f Folder) String() string { return string(f) }

func (f Folder) path(name string) string { return filepath.Join(string(f), filepath.FromSlash(name)) }

// Put implements Place. Files are readable by their owner only.
func (f Folder) Put(_ context.Context, name string, from io.Reader, _ int64) error {
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	t, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer t.Cleanup()
	if _, err := io.Copy(t, from); err != nil {
		return err
	}
	return t.CloseAtomicallyReplace()
}

// Get implements Place.
func (f Folder) Get(_ context.Context, name string) (io.ReadCloser, error) {
	return os.Open(f.path(name))
}

// List implements Place.
func (f Folder) List(_ context.Context, prefix string) (all []Entry, err error) {
	entries, err := os.ReadDir(f.path(prefix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(e.Name(), ".") { // of an interrupted write
			all = append(all, Entry{prefix + e.Name(), info.Size(), info.ModTime()})
		}
	}
	return all, err
}

// Delete implements Place.
func (f Folder) Delete(_ context.Context, name string) error { return os.Remove(f.path(name)) }

// Bucket is a place in S3 or a compatible store.
type Bucket struct {
	Client *minio.Client
	Name   string
	Prefix string // with a slash at its end; empty: the bucket's root
}

// ParseBucket splits s3://bucket/prefix.
func ParseBucket(address string) (name, prefix string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return "", "", fmt.Errorf("%q is not the address of a bucket; write s3://bucket or s3://bucket/folder", address)
	}
	if prefix = strings.Trim(u.Path, "/"); prefix != "" {
		prefix += "/"
	}
	return u.Host, prefix, nil
}

func (b Bucket) String() string { return "s3://" + b.Name + "/" + b.Prefix }

// Put implements Place.
func (b Bucket) Put(ctx context.Context, name string, from io.Reader, size int64) error {
	_, err := b.Client.PutObject(ctx, b.Name, b.Prefix+name, from, size, minio.PutObjectOptions{ContentType: "application/octet-stream"})
	return err
}

// Get implements Place.
func (b Bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	o, err := b.Client.GetObject(ctx, b.Name, b.Prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	if _, err := o.Stat(); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// List implements Place.
func (b Bucket) List(ctx context.Context, prefix string) (all []Entry, err error) {
	for o := range b.Client.ListObjects(ctx, b.Name, minio.ListObjectsOptions{Prefix: b.Prefix + prefix}) {
		if o.Err != nil {
			return nil, o.Err
		}
		all = append(all, Entry{strings.TrimPrefix(o.Key, b.Prefix), o.Size, o.LastModified})
	}
	return all, nil
}

// Delete implements Place.
func (b Bucket) Delete(ctx context.Context, name string) error {
	return b.Client.RemoveObject(ctx, b.Name, b.Prefix+name, minio.RemoveObjectOptions{})
}
