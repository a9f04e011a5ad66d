package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// memory keeps databases as texts; the dumps of a real Postgres are tried by `make
// e2e-faults`.
type memory struct {
	dumps map[string]string
	order []string          // of restoring
	marks map[string]string // the backup by database
	fails string            // the database whose Restore fails
}

func (d *memory) Dump(_ context.Context, database string, to io.Writer) error {
	text, ok := d.dumps[database]
	if !ok {
		return errors.New("no such database")
	}
	_, err := io.WriteString(to, text)
	return err
}

func (d *memory) Restore(_ context.Context, database, backup string, from io.Reader) error {
	text, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	if database == d.fails {
		return errors.New("the server is gone")
	}
	d.dumps[database] = string(text)
	d.order = append(d.order, database)
	if d.marks == nil {
		d.marks = map[string]string{}
	}
	d.marks[database] = backup
	return nil
}

func (d *memory) Marked(_ context.Context, names []string, backup string) ([]string, error) {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return d.marks[name] != backup }), nil
}

func (d *memory) Finish(context.Context, []string) error { d.marks = nil; return nil }

func (d *memory) Contents(_ context.Context, names []string) (string, error) {
	var all []string
	for _, name := range names {
		if d.dumps[name] != "" {
			all = append(all, name)
		}
	}
	return strings.Join(all, ", "), nil
}

func client(t *testing.T) *minio.Client {
	t.Helper()
	u, err := url.Parse(os.Getenv("MLOPS_TEST_S3"))
	if err != nil || u.Host == "" {
		t.Skip("SKIPPED, NOT PASSED: MLOPS_TEST_S3 names no server")
	}
	secret, _ := u.User.Password()
	c, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(u.User.Username(), secret, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func bucket(t *testing.T, c *minio.Client, part string) string {
	t.Helper()
	name := fmt.Sprintf("backup-%s-%d", part, time.Now().UnixNano())
	if err := c.MakeBucket(t.Context(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

func put(t *testing.T, c *minio.Client, bucket, key, text string) {
	t.Helper()
	if _, err := c.PutObject(t.Context(), bucket, key, strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{ContentType: "text/x-test"}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *minio.Client, bucket, key string) (text, kind string) {
	t.Helper()
	o, err := c.GetObject(t.Context(), bucket, key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	all, err := io.ReadAll(o)
	if err != nil {
		t.Fatalf("%s/%s: %v", bucket, key, err)
	}
	info, err := o.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return string(all), info.ContentType
}

// places are a folder and a bucket, for the same test.
func places(t *testing.T, c *minio.Client, test func(t *testing.T, p Place)) {
	for _, p := range []Place{Folder(t.TempDir()), Bucket{c, bucket(t, c, "place"), "far/away/"}} {
		t.Run(fmt.Sprintf("%T", p), func(t *testing.T) { test(t, p) })
	}
}

func TestWriteAndRestore(t *testing.T) {
	c := client(t)
	places(t, c, func(t *testing.T, p Place) {
		models, sources := bucket(t, c, "models"), bucket(t, c, "sources")
		large := strings.Repeat("tree ", 1<<20)
		put(t, c, models, "1/run/model.ubj", large)
		put(t, c, models, "1/run/a b/ü.json", "{}")
		put(t, c, sources, "table.csv", "a,b\n1,2\n")
		put(t, c, sources, "same.csv", "a,b\n1,2\n")
		from := &memory{dumps: map[string]string{"clean": "clean rows", "raw": "raw rows"}}
		r := Release{Databases: from, Names: []string{"clean", "raw"}, Store: c, Buckets: []string{models, sources}, Log: slog.New(slog.DiscardHandler)}
		m, err := Write(t.Context(), p, r, Manifest{Platform: "1.2.3", Signers: "a public key"}, []byte("sealed"))
		if err != nil {
			t.Fatal(err)
		}
		blobsNow := list(t, p)
		if len(m.Objects) != 4 || len(blobsNow) != 6 { // two objects are alike
			t.Errorf("%d objects in %d files, want 4 and 6 with two dumps and the secrets", len(m.Objects), len(blobsNow))
		}

		// Somewhere else, with something of its own.
		put(t, c, sources, "newer.csv", "x")
		put(t, c, models, "1/run/model.ubj", "spoilt")
		if err := c.RemoveObject(t.Context(), sources, "table.csv", minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		found, err := Find(t.Context(), p, "")
		if err != nil || found.Name != m.Name || found.Signers != "a public key" || found.Platform != "1.2.3" {
			t.Fatalf("found %+v, %v", found, err)
		}
		if err := Verify(t.Context(), p, found); err != nil {
			t.Fatal(err)
		}
		if text, err := Secrets(t.Context(), p, found); err != nil || string(text) != "sealed" {
			t.Errorf("secrets %q, %v", text, err)
		}
		to := &memory{dumps: map[string]string{}}
		r.Databases = to
		done, err := Restore(t.Context(), p, found, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := (Restored{Databases: 2, Put: 2, Same: 2, Extra: 1}); done != want {
			t.Errorf("restored %+v, want %+v", done, want)
		}
		if to.dumps["clean"] != "clean rows" || to.dumps["raw"] != "raw rows" || fmt.Sprint(to.order) != "[raw clean]" {
			t.Errorf("databases %v in the order %v", to.dumps, to.order)
		}
		if text, kind := get(t, c, models, "1/run/model.ubj"); text != large || kind != "text/x-test" {
			t.Errorf("an object of %d bytes of %s came back", len(text), kind)
		}
		if text, _ := get(t, c, sources, "table.csv"); text != "a,b\n1,2\n" {
			t.Errorf("a deleted object came back as %q", text)
		}
		again, err := Restore(t.Context(), p, found, r, nil)
		if want := (Restored{Databases: 2, Same: 4, Extra: 1}); err != nil || again != want {
			t.Errorf("restored again %+v, %v, want %+v", again, err, want)
		}
	})
}

// A restore that fails in the middle goes on where it was, and what has come since stays;
// one of another backup, or after one that ended, replaces nothing.
func TestRestoreGoesOn(t *testing.T) {
	c := client(t)
	p := Folder(t.TempDir())
	from := &memory{dumps: map[string]string{"clean": "clean rows", "raw": "raw rows"}}
	r := Release{Databases: from, Names: []string{"clean", "raw"}, Store: c, Log: slog.New(slog.DiscardHandler)}
	m, err := Write(t.Context(), p, r, Manifest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	to := &memory{dumps: map[string]string{}, fails: "clean"}
	r.Databases = to
	held := func(m *Manifest, want string) []string {
		t.Helper()
		restored, held, err := Held(t.Context(), m, r)
		if err != nil || held != want {
			t.Errorf("the release holds %q, %v, want %q", held, err, want)
		}
		return restored
	}
	if _, err := Restore(t.Context(), p, m, r, held(m, "")); err == nil {
		t.Fatal("restored a database that fails")
	}
	to.fails, to.dumps["raw"] = "", "raw rows and newer ones"
	held(&Manifest{Name: "another"}, "raw")
	done, err := Restore(t.Context(), p, m, r, held(m, ""))
	if err != nil || done.Databases != 1 || to.dumps["clean"] != "clean rows" || to.dumps["raw"] != "raw rows and newer ones" {
		t.Errorf("the second attempt: %+v, %v, databases %v", done, err, to.dumps)
	}
	if err := to.Finish(t.Context(), r.Names); err != nil {
		t.Fatal(err)
	}
	held(m, "clean, raw")
}

func list(t *testing.T, p Place) []Entry {
	t.Helper()
	all, err := p.List(t.Context(), blobs)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A second backup stores what is new, and Keep deletes what no other one has.
func TestSecondBackupIsSmall(t *testing.T) {
	c := client(t)
	dir := t.TempDir()
	models := bucket(t, c, "models")
	put(t, c, models, "old", "old")
	d := &memory{dumps: map[string]string{"raw": "1"}}
	r := Release{Databases: d, Names: []string{"raw"}, Store: c, Buckets: []string{models}, Log: slog.New(slog.DiscardHandler)}
	first, err := Write(t.Context(), Folder(dir), r, Manifest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, models, "new", "new")
	d.dumps["raw"] = "2"
	time.Sleep(time.Until(first.Began.Add(1100 * time.Millisecond))) // names are seconds
	second, err := Write(t.Context(), Folder(dir), r, Manifest{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list(t, Folder(dir))); n != 4 {
		t.Errorf("%d files, want 4: two dumps, two objects", n)
	}
	if n, err := Keep(t.Context(), Folder(dir), 1); err != nil || n != 1 {
		t.Fatalf("%d deleted, %v", n, err)
	}
	if n := len(list(t, Folder(dir))); n != 4 {
		t.Errorf("files of today were deleted: %d are left", n)
	}
	yesterday := time.Now().Add(-25 * time.Hour)
	for _, e := range list(t, Folder(dir)) {
		if err := os.Chtimes(filepath.Join(dir, e.Name), yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Keep(t.Context(), Folder(dir), 1); err != nil {
		t.Fatal(err)
	}
	if n := len(list(t, Folder(dir))); n != 3 {
		t.Errorf("%d files are left, want the dump and the objects of the second backup", n)
	}
	if _, err := Find(t.Context(), Folder(dir), first.Name); err == nil || !strings.Contains(err.Error(), second.Name) {
		t.Errorf("finding the deleted one: %v", err)
	}
	if err := Verify(t.Context(), Folder(dir), second); err != nil {
		t.Error(err)
	}
}

// What is damaged is found before anything is changed.
func TestDamage(t *testing.T) {
	c := client(t)
	for what, damage := range map[string]func(path string) error{
		"missing":   os.Remove,
		"cut off":   func(path string) error { return os.Truncate(path, 3) },
		"bit flips": func(path string) error { return os.WriteFile(path, []byte("raW rows"), 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			d := &memory{dumps: map[string]string{"raw": "raw rows"}}
			r := Release{Databases: d, Names: []string{"raw"}, Store: c, Log: slog.New(slog.DiscardHandler)}
			m, err := Write(t.Context(), Folder(dir), r, Manifest{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(dir, blobs, m.Databases[0].SHA256)); err != nil {
				t.Fatal(err)
			}
			if err := Verify(t.Context(), Folder(dir), m); !errors.Is(err, errIncomplete) || !strings.Contains(err.Error(), m.Name) {
				t.Errorf("verifying: %v", err)
			}
			to := &memory{dumps: map[string]string{"raw": "as before"}}
			r.Databases = to
			if _, err := Restore(t.Context(), Folder(dir), m, r, nil); !errors.Is(err, errIncomplete) || to.dumps["raw"] != "as before" {
				t.Errorf("restoring: %v; the database is %q", err, to.dumps["raw"])
			}
		})
	}
}

// A backup that was interrupted is none.
func TestInterrupted(t *testing.T) {
	c := client(t)
	dir := t.TempDir()
	r := Release{Databases: &memory{dumps: map[string]string{"argo": "x"}}, Names: []string{"argo", "gone"}, Store: c, Log: slog.New(slog.DiscardHandler)}
	if _, err := Write(t.Context(), Folder(dir), r, Manifest{}, nil); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Fatalf("written without a database: %v", err)
	}
	if _, err := Find(t.Context(), Folder(dir), ""); err == nil || !strings.Contains(err.Error(), "holds no backup") {
		t.Errorf("found %v", err)
	}
}

func TestPlaces(t *testing.T) {
	for address, want := range map[string][2]string{
		"s3://b": {"b", ""}, "s3://b/": {"b", ""}, "s3://b/x/y": {"b", "x/y/"}, "s3://b/x/": {"b", "x/"},
	} {
		name, prefix, err := ParseBucket(address)
		if err != nil || [2]string{name, prefix} != want {
			t.Errorf("%s is %q, %q, %v", address, name, prefix, err)
		}
	}
	for _, address := range []string{"s3://", "s3://key:secret@b/x", "https://b/x", "s3://b?versionId=1"} {
		if _, _, err := ParseBucket(address); err == nil {
			t.Errorf("%s is accepted", address)
		}
	}
	// A file is whole or absent.
	dir := Folder(t.TempDir())
	if err := dir.Put(t.Context(), "blobs/x", io.MultiReader(strings.NewReader("half"), &failing{}), 8); err == nil {
		t.Error("half a file is stored")
	}
	if all := list(t, dir); len(all) != 0 {
		t.Errorf("left behind: %v", all)
	}
	if err := dir.Put(t.Context(), "blobs/x", bytes.NewReader(nil), 0); err != nil {
		t.Error(err)
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errors.New("gone") }
