package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/minio/minio-go/v7"
)

// buckets makes the buckets and puts the source files into theirs.
func buckets(ctx context.Context, c Config) error {
	client, err := c.S3.Client()
	if err != nil {
		return err
	}
	for _, name := range c.Buckets {
		err := retry(ctx, c.Log, c.Patience, "S3 at "+c.S3.Endpoint, func(ctx context.Context) error {
			there, err := client.BucketExists(ctx, name)
			if err == nil && !there {
				err = client.MakeBucket(ctx, name, minio.MakeBucketOptions{Region: c.S3.Region})
			}
			switch code := minio.ToErrorResponse(err); {
			case err == nil, code.Code == "BucketAlreadyOwnedByYou":
				return nil
			case code.StatusCode == http.StatusForbidden:
				return permanent{fmt.Errorf("S3 at %s refuses the keys it was given: %s", c.S3.Endpoint, code.Message)}
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("making bucket %s: %w", name, err)
		}
	}
	c.Log.Info("the buckets are there", "buckets", len(c.Buckets))
	for _, dir := range c.Sources {
		entries, err := os.ReadDir(dir)
		if os.IsNotExist(err) {
			continue // no file came with the release
		}
		if err != nil {
			return fmt.Errorf("looking for source files: %w", err)
		}
		for _, e := range entries {
			// A ConfigMap's files are links to where its hidden folders hold them.
			path := filepath.Join(dir, e.Name())
			if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
				continue
			}
			_, put, err := Upload(ctx, client, c.SourceBucket, path)
			if err != nil {
				return fmt.Errorf("putting %s into bucket %s: %w", path, c.SourceBucket, err)
			}
			c.Log.Info("a source file is in its bucket", "file", e.Name(), "new", put)
		}
	}
	return nil
}

// digestKey is the metadata of an object by which a file is known to be there.
const digestKey = "Sha256"

// Upload puts a file into a bucket under its own name, unless it is there, and
// returns its digest.
func Upload(ctx context.Context, client *minio.Client, bucket, path string) (digest string, put bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return "", false, err
	}
	digest = hex.EncodeToString(h.Sum(nil))
	name := filepath.Base(path)
	info, err := client.StatObject(ctx, bucket, name, minio.StatObjectOptions{})
	if err == nil && info.UserMetadata[digestKey] == digest {
		return digest, false, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", false, err
	}
	_, err = client.PutObject(ctx, bucket, name, f, size, minio.PutObjectOptions{UserMetadata: map[string]string{digestKey: digest}})
	return digest, err == nil, err
}
