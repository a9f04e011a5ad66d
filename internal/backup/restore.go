package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/minio/minio-go/v7"
)

// Find returns the backup of that name, or the newest one if it is empty.
func Find(ctx context.Context, p Place, name string) (*Manifest, error) {
	all, err := List(ctx, p)
	if err != nil {
		return nil, err
	}
	if name == "" && len(all) > 0 {
		return all[len(all)-1], nil
	}
	var names []string
	for _, m := range all {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s holds no backup", p)
	}
	return nil, fmt.Errorf("%s holds no backup %s; it has %v", p, name, names)
}

// Verify reads all of a backup's files and compares their digests.
func Verify(ctx context.Context, p Place, m *Manifest) error {
	done := map[string]bool{}
	for _, f := range m.files() {
		if done[f.SHA256] {
			continue
		}
		done[f.SHA256] = true
		in, err := open(ctx, p, f)
		if err == nil {
			_, err = io.Copy(io.Discard, in)
			in.Close()
		}
		if err != nil {
			return fmt.Errorf("backup %s: %w", m.Name, err)
		}
	}
	return nil
}

// Secrets returns the encrypted Secrets of a backup; nil: it has none.
func Secrets(ctx context.Context, p Place, m *Manifest) ([]byte, error) {
	if m.Secrets == nil {
		return nil, nil
	}
	in, err := open(ctx, p, *m.Secrets)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(in)
}

// Restored says what Restore did.
type Restored struct {
	Databases int
	Put       int // objects that were missing or different
	Same      int
	Extra     int // objects of the buckets that the backup does not have; they stay
}

func (r Restored) String() string {
	return fmt.Sprintf("%d databases; %d objects put, %d were there, %d of the buckets are not in the backup and stay", r.Databases, r.Put, r.Same, r.Extra)
}

// Held says which of a release's databases an earlier restore of the same backup has
// brought back, if what had to follow failed, and what the others hold that a restore
// would replace; empty: nothing.
func Held(ctx context.Context, m *Manifest, r Release) (restored []string, held string, err error) {
	if restored, err = r.Databases.Marked(ctx, r.Names, m.Name); err != nil {
		return nil, "", err
	}
	held, err = r.Databases.Contents(ctx, without(r.Names, restored))
	return restored, held, err
}

func without(names, some []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(some, name) })
}

// Restore brings a backup that Verify found whole into a release, except the databases
// that Held found restored. The objects come first, so that nothing in the databases
// refers to one that is missing. It may be interrupted and run again. Once everything
// else that has to follow is done, call Finish of the databases.
func Restore(ctx context.Context, p Place, m *Manifest, r Release, restored []string) (done Restored, err error) {
	for _, d := range m.Databases {
		if !slices.Contains(r.Names, d.Name) {
			return done, fmt.Errorf("the backup has a database %s, the release has %v", d.Name, r.Names)
		}
	}
	for _, bucket := range r.Buckets {
		if err := restoreBucket(ctx, p, m, r, bucket, &done); err != nil {
			return done, err
		}
	}
	// What refers to others was dumped first, and comes back last.
	for _, d := range slices.Backward(m.Databases) {
		if slices.Contains(restored, d.Name) {
			r.Log.Info("database was restored by an earlier attempt", "database", d.Name)
			continue
		}
		in, err := open(ctx, p, d.File)
		if err == nil {
			err = r.Databases.Restore(ctx, d.Name, m.Name, in)
			in.Close()
		}
		if err != nil {
			return done, fmt.Errorf("restoring database %s: %w", d.Name, err)
		}
		done.Databases++
		r.Log.Info("database restored", "database", d.Name, "bytes", d.Size)
	}
	return done, nil
}

func restoreBucket(ctx context.Context, p Place, m *Manifest, r Release, bucket string, done *Restored) error {
	there := map[string]minio.ObjectInfo{}
	ok, err := r.Store.BucketExists(ctx, bucket)
	if err == nil && !ok {
		err = r.Store.MakeBucket(ctx, bucket, minio.MakeBucketOptions{})
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucket, err)
	}
	for info := range r.Store.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		if info.Err != nil {
			return fmt.Errorf("listing bucket %s: %w", bucket, info.Err)
		}
		there[info.Key] = info
	}
	put, last := 0, time.Now()
	for _, o := range m.Objects {
		if o.Bucket != bucket {
			continue
		}
		info, exists := there[o.Key]
		delete(there, o.Key)
		if exists && info.ETag == o.ETag && info.Size == o.Size {
			done.Same++
			continue
		}
		in, err := open(ctx, p, o.File)
		if err == nil {
			_, err = r.Store.PutObject(ctx, bucket, o.Key, in, o.Size, minio.PutObjectOptions{ContentType: o.Type})
			in.Close()
		}
		if err != nil {
			return fmt.Errorf("restoring %s/%s: %w", bucket, o.Key, err)
		}
		done.Put++
		if put++; time.Since(last) > 4*time.Second {
			r.Log.Info("restoring objects", "bucket", bucket, "objects", put)
			last = time.Now()
		}
	}
	done.Extra += len(there)
	r.Log.Info("bucket restored", "bucket", bucket, "objects", put, "extra", len(there))
	return nil
}

// open reads a blob, and fails at its end if it is not what it should be.
func open(ctx context.Context, p Place, f File) (io.ReadCloser, error) {
	in, err := p.Get(ctx, blobs+f.SHA256)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIncomplete, err)
	}
	return &checked{in, sha256.New(), f, 0}, nil
}

type checked struct {
	io.ReadCloser
	sum  hash.Hash
	want File
	n    int64
}

func (c *checked) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.sum.Write(b[:n])
	c.n += int64(n)
	if errors.Is(err, io.EOF) && (c.n != c.want.Size || hex.EncodeToString(c.sum.Sum(nil)) != c.want.SHA256) {
		return n, fmt.Errorf("%w: file %s has %d bytes, want %d, or other content", errIncomplete, c.want.SHA256, c.n, c.want.Size)
	}
	return n, err
}
