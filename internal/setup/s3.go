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

	"mlops/internal/retry"
)

// buckets creates the buckets and uploads the source files.
func buckets(ctx context.Context, c Config) error {
	client, err := c.S3.Client()
	if err != nil {
		return err
	}
	for _, name := range c.Buckets {
		err := waitFor(ctx, c.Log, c.Patience, "S3 at "+c.S3.Endpoint, func(ctx context.Context) error {
			there, err := client.BucketExists(ctx, name)
			if err == nil && !there {
				err = client.MakeBucket(ctx, name, minio.MakeBucketOptions{Region: c.S3.Region})
			}
			switch code := minio.ToErrorResponse(err); {
			case err == nil, code.Code == "BucketAlreadyOwnedByYou":
				return nil
			case code.StatusCode == http.StatusForbidden:
				return retry.Permanent(fmt.Errorf("S3 at %s rejects its access keys: %s", c.S3.Endpoint, code.Message))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("creating bucket %s: %w", name, err)
		}
	}
	c.Log.Info("buckets are ready", "buckets", len(c.Buckets))
	for _, dir := range c.Sources {
		entries, err := os.ReadDir(dir)
		if os.IsNotExist(err) {
			continue // the release brings no file
		}
		if err != nil {
			return fmt.Errorf("looking for source files: %w", err)
		}
		for _, e := range entries {
			// A ConfigMap's files are symbolic links into its hidden folders.
			path := filepath.Join(dir, e.Name())
			if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
				continue
			}
			_, put, err := Upload(ctx, client, c.SourceBucket, path)
			if err != nil {
				return fmt.Errorf("uploading %s to bucket %s: %w", path, c.SourceBucket, err)
			}
			c.Log.Info("source file is in its bucket", "file", e.Name(), "uploaded", put)
		}
	}
	return nil
}

// digestKey is an object's metadata key for the digest of the uploaded file.
const digestKey = "Sha256"

// Upload uploads a file to a bucket under its own name, unless it is there
// already, and returns its digest.
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
