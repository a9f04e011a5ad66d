// Package backup keeps copies of what a release must not lose, its databases and
// buckets, in a folder or in another bucket, and brings them back.
//
// A place has two parts:
//
//	backups/NAME.json   the manifest of one backup: written last, so a backup is whole or absent
//	blobs/SHA256        a dump or an object, by its digest; shared by all backups
//
// Objects are never changed by the platform, so a second backup stores only what is
// new. The databases are dumped one after another, each before those that it refers
// to, and the objects last: whatever a copy refers to is in the same backup.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// Databases dumps and restores one release's databases.
type Databases interface {
	// Dump writes a database in the format that Restore reads.
	Dump(ctx context.Context, database string, to io.Writer) error
	// Restore replaces a database by a dump, as a whole or not at all, and marks it as
	// coming from that backup.
	Restore(ctx context.Context, database, backup string, from io.Reader) error
	// Marked says which of some databases are marked as coming from a backup.
	Marked(ctx context.Context, names []string, backup string) ([]string, error)
	// Finish takes the marks of some databases away.
	Finish(ctx context.Context, names []string) error
	// Contents says what some databases hold that Restore would replace; empty: nothing.
	Contents(ctx context.Context, names []string) (string, error)
}

// Names are a release's databases, each before those that its rows refer to: clean
// rows come from raw ones, a version names the rows that it learnt from, and a
// finished workflow names all of them.
var Names = []string{"argo", "mlflow", "clean", "raw"}

// Release is what is backed up or restored.
type Release struct {
	Databases Databases
	Names     []string // of the databases, each before those that its rows refer to
	Store     *minio.Client
	Buckets   []string
	Log       *slog.Logger
}

// File is one dump or object of a backup.
type File struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
}

// Database is one database of a backup.
type Database struct {
	Name string `json:"name"`
	File
}

// Object is one object of a backup.
type Object struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	Type   string `json:"type,omitempty"` // media type
	ETag   string `json:"etag"`
	File
}

// Manifest describes one backup.
type Manifest struct {
	Format    int        `json:"format"`   // 1
	Platform  string     `json:"platform"` // version of the platform that wrote it
	Began     time.Time  `json:"began"`
	Ended     time.Time  `json:"ended"`
	Signers   string     `json:"signers,omitempty"` // public keys that the versions are signed with, in PEM
	Secrets   *File      `json:"secrets,omitempty"` // encrypted
	Databases []Database `json:"databases"`
	Objects   []Object   `json:"objects"`

	Name string `json:"-"` // in its place
}

// String says what the backup holds, for people.
func (m *Manifest) String() string {
	return fmt.Sprintf("%s: %d databases, %d objects, %.1f MB", m.Name, len(m.Databases), len(m.Objects), float64(m.Bytes())/1e6)
}

// Bytes is the size of everything in the backup.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.files() {
		n += f.Size
	}
	return n
}

func (m *Manifest) files() []File {
	var all []File
	if m.Secrets != nil {
		all = append(all, *m.Secrets)
	}
	for _, d := range m.Databases {
		all = append(all, d.File)
	}
	for _, o := range m.Objects {
		all = append(all, o.File)
	}
	return all
}

const (
	format    = 1
	manifests = "backups/"
	blobs     = "blobs/"
)

// errIncomplete is returned for a backup whose files are not all there and unchanged.
var errIncomplete = errors.New("the backup is damaged; restore another one")

// Write makes a backup. The manifest's Platform, Signers and Secrets are taken from
// about; secrets is stored as it is.
func Write(ctx context.Context, p Place, r Release, about Manifest, secrets []byte) (*Manifest, error) {
	m := about
	m.Format, m.Began, m.Secrets = format, time.Now().UTC().Truncate(time.Second), nil
	m.Name = m.Began.Format("2006-01-02T15-04-05Z")
	all, err := List(ctx, p)
	if err != nil {
		return nil, err
	}
	known := map[Object]File{} // objects that an earlier backup has, without their digests
	for _, earlier := range all {
		for _, o := range earlier.Objects {
			f := o.File
			o.SHA256 = ""
			known[o] = f
		}
	}
	stored, err := sizes(ctx, p)
	if err != nil {
		return nil, err
	}
	if len(secrets) > 0 {
		f, err := store(ctx, p, stored, strings.NewReader(string(secrets)))
		if err != nil {
			return nil, fmt.Errorf("storing the secrets: %w", err)
		}
		m.Secrets = &f
	}
	for _, name := range r.Names {
		f, err := storeDump(ctx, p, stored, r.Databases, name)
		if err != nil {
			return nil, fmt.Errorf("dumping database %s: %w", name, err)
		}
		m.Databases = append(m.Databases, Database{name, f})
		r.Log.Info("database dumped", "database", name, "bytes", f.Size)
	}
	for _, bucket := range r.Buckets {
		copied, n, last := 0, 0, time.Now()
		for info := range r.Store.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
			if info.Err != nil {
				return nil, fmt.Errorf("listing bucket %s: %w", bucket, info.Err)
			}
			o, fresh, err := storeObject(ctx, p, stored, known, r.Store, bucket, info)
			if err != nil {
				return nil, fmt.Errorf("copying %s/%s: %w", bucket, info.Key, err)
			}
			m.Objects = append(m.Objects, o)
			if n++; fresh {
				copied++
			}
			if time.Since(last) > 4*time.Second {
				r.Log.Info("copying objects", "bucket", bucket, "objects", n)
				last = time.Now()
			}
		}
		r.Log.Info("bucket copied", "bucket", bucket, "objects", n, "new", copied)
	}
	m.Ended = time.Now().UTC().Truncate(time.Second)
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	if err := p.Put(ctx, manifests+m.Name+".json", strings.NewReader(string(text)), int64(len(text))); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return &m, nil
}

// List returns the backups of a place, the oldest first.
func List(ctx context.Context, p Place) ([]*Manifest, error) {
	entries, err := p.List(ctx, manifests)
	if err != nil {
		return nil, fmt.Errorf("listing backups: %w", err)
	}
	var all []*Manifest
	for _, e := range entries {
		name, ok := strings.CutSuffix(strings.TrimPrefix(e.Name, manifests), ".json")
		if !ok {
			continue
		}
		m, err := read(ctx, p, name)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *Manifest) int { return a.Began.Compare(b.Began) })
	return all, nil
}

func read(ctx context.Context, p Place, name string) (*Manifest, error) {
	in, err := p.Get(ctx, manifests+name+".json")
	if err != nil {
		return nil, fmt.Errorf("reading backup %s: %w", name, err)
	}
	defer in.Close()
	m := &Manifest{Name: name}
	if err := json.NewDecoder(in).Decode(m); err != nil {
		return nil, fmt.Errorf("reading backup %s: %w", name, err)
	}
	if m.Format != format {
		return nil, fmt.Errorf("reading backup %s: it has format %d; this program reads %d", name, m.Format, format)
	}
	return m, nil
}

// Keep deletes all but the newest n backups, and what no other one has. Blobs younger
// than a day may belong to a backup that is being written, and stay.
func Keep(ctx context.Context, p Place, n int) (deleted int, err error) {
	all, err := List(ctx, p)
	if err != nil {
		return 0, err
	}
	needed := map[string]bool{}
	for i, m := range all {
		if i < len(all)-n {
			if err := p.Delete(ctx, manifests+m.Name+".json"); err != nil {
				return deleted, fmt.Errorf("deleting backup %s: %w", m.Name, err)
			}
			deleted++
			continue
		}
		for _, f := range m.files() {
			needed[f.SHA256] = true
		}
	}
	entries, err := p.List(ctx, blobs)
	if err != nil {
		return deleted, fmt.Errorf("listing what backups hold: %w", err)
	}
	for _, e := range entries {
		if needed[strings.TrimPrefix(e.Name, blobs)] || time.Since(e.Modified) < 24*time.Hour {
			continue
		}
		if err := p.Delete(ctx, e.Name); err != nil {
			return deleted, fmt.Errorf("deleting what no backup needs: %w", err)
		}
	}
	return deleted, nil
}

func sizes(ctx context.Context, p Place) (map[string]int64, error) {
	entries, err := p.List(ctx, blobs)
	if err != nil {
		return nil, fmt.Errorf("listing what backups hold: %w", err)
	}
	all := map[string]int64{}
	for _, e := range entries {
		all[strings.TrimPrefix(e.Name, blobs)] = e.Size
	}
	return all, nil
}

// store puts a blob, unless the place has it. The content goes through a temporary
// file, since its digest is its name.
func store(ctx context.Context, p Place, stored map[string]int64, from io.Reader) (File, error) {
	tmp, err := os.CreateTemp("", "backup-")
	if err != nil {
		return File{}, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, sum), from)
	if err != nil {
		return File{}, err
	}
	f := File{hex.EncodeToString(sum.Sum(nil)), n}
	if size, ok := stored[f.SHA256]; ok && size == n {
		return f, nil
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return File{}, err
	}
	if err := p.Put(ctx, blobs+f.SHA256, tmp, n); err != nil {
		return File{}, err
	}
	stored[f.SHA256] = n
	return f, nil
}

func storeDump(ctx context.Context, p Place, stored map[string]int64, d Databases, name string) (File, error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(d.Dump(ctx, name, w)) }()
	f, err := store(ctx, p, stored, r)
	r.CloseWithError(err)
	if err == nil && f.Size == 0 {
		err = errors.New("the dump is empty")
	}
	return f, err
}

func storeObject(ctx context.Context, p Place, stored map[string]int64, known map[Object]File, s *minio.Client, bucket string, info minio.ObjectInfo) (o Object, fresh bool, err error) {
	in, err := s.GetObject(ctx, bucket, info.Key, minio.GetObjectOptions{})
	if err != nil {
		return o, false, err
	}
	defer in.Close()
	now, err := in.Stat() // the listing does not say the media type
	if err != nil {
		return o, false, err
	}
	o = Object{Bucket: bucket, Key: info.Key, Type: now.ContentType, ETag: now.ETag, File: File{Size: now.Size}}
	if f, ok := known[o]; ok && stored[f.SHA256] == f.Size {
		o.File = f
		return o, false, nil
	}
	if o.File, err = store(ctx, p, stored, in); err != nil {
		return o, false, err
	}
	if o.Size != now.Size {
		return o, false, fmt.Errorf("%d of %d bytes came", o.Size, now.Size)
	}
	return o, true, nil
}
