package setup

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"mlops/internal/source"
)

// Each user reaches its own bucket with its own rights, and making them again
// changes what has changed.
func TestUsers(t *testing.T) {
	root := store(t)
	suffix := fmt.Sprint(time.Now().UnixNano())
	models, tables, scores := "models-"+suffix, "tables-"+suffix, "scores-"+suffix
	config := Config{S3: root, Buckets: []string{models, tables, scores}, SourceBucket: tables, Log: quiet, Patience: 10 * time.Second, Users: []User{
		{AccessKey: "writer" + suffix, SecretKey: "first-secret-of-the-writer", Writes: models},
		{AccessKey: "reader" + suffix, SecretKey: "first-secret-of-the-reader", Reads: tables},
		{AccessKey: "scorer" + suffix, SecretKey: "first-secret-of-the-scorer", Reads: tables, Writes: scores},
	}}
	if err := Run(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	client := func(s source.S3) *minio.Client {
		t.Helper()
		s.Endpoint, s.Region = root.Endpoint, root.Region
		c, err := s.Client()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	put := func(c *minio.Client, bucket string) error {
		_, err := c.PutObject(t.Context(), bucket, "t.csv", strings.NewReader("a\n"), 2, minio.PutObjectOptions{})
		return err
	}
	if err := put(client(root), tables); err != nil {
		t.Fatal(err)
	}
	// The loader's key changes and the set-up runs again: the old one is no use then.
	config.Users[1].SecretKey = "second-secret-of-the-reader"
	if err := Run(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	writer := client(source.S3{AccessKey: "writer" + suffix, SecretKey: "first-secret-of-the-writer"})
	reader := client(source.S3{AccessKey: "reader" + suffix, SecretKey: "second-secret-of-the-reader"})
	scorer := client(source.S3{AccessKey: "scorer" + suffix, SecretKey: "first-secret-of-the-scorer"})
	former := client(source.S3{AccessKey: "reader" + suffix, SecretKey: "first-secret-of-the-reader"})
	get := func(c *minio.Client, bucket string) error {
		_, err := c.StatObject(t.Context(), bucket, "t.csv", minio.StatObjectOptions{})
		return err
	}
	list := func(c *minio.Client, bucket string) error {
		for o := range c.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{}) {
			return o.Err
		}
		return nil
	}
	remove := func(c *minio.Client, bucket string) error {
		return c.RemoveObject(t.Context(), bucket, "t.csv", minio.RemoveObjectOptions{})
	}
	administer := func(*minio.Client, string) error {
		return admin(t.Context(), source.S3{Endpoint: root.Endpoint, AccessKey: "writer" + suffix, SecretKey: "first-secret-of-the-writer"},
			"set-user-or-group-policy", map[string][]string{"policyName": {"consoleAdmin"}, "userOrGroup": {"writer" + suffix}, "isGroup": {"false"}}, nil)
	}
	for _, tt := range []struct {
		name    string
		do      func(*minio.Client, string) error
		client  *minio.Client
		bucket  string
		allowed bool
	}{
		{"MLflow writes a model", put, writer, models, true},
		{"MLflow reads it", get, writer, models, true},
		{"MLflow lists its bucket", list, writer, models, true},
		{"MLflow deletes it", remove, writer, models, true},
		{"MLflow reads a table", get, writer, tables, false},
		{"MLflow writes a table", put, writer, tables, false},
		{"MLflow makes itself the administrator", administer, writer, "", false},
		{"the loader reads a table", get, reader, tables, true},
		{"the loader lists tables", list, reader, tables, true},
		{"the loader writes a table", put, reader, tables, false},
		{"the loader deletes a table", remove, reader, tables, false},
		{"the loader writes a model", put, reader, models, false},
		{"the loader lists models", list, reader, models, false},
		{"score-batch reads a table", get, scorer, tables, true},
		{"score-batch writes a table", put, scorer, tables, false},
		{"score-batch writes scores", put, scorer, scores, true},
		{"score-batch deletes scores", remove, scorer, scores, true},
		{"score-batch reads a model", get, scorer, models, false},
		{"the loader with its former key", get, former, tables, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(tt.client, tt.bucket)
			denied := err != nil && (minio.ToErrorResponse(err).StatusCode == http.StatusForbidden || strings.Contains(err.Error(), "403"))
			if tt.allowed && err != nil || !tt.allowed && !denied {
				t.Errorf("allowed should be %v, got %v", tt.allowed, err)
			}
		})
	}
	// The administrator's key as a user's would lock the administrator out.
	config.Users[0].AccessKey = root.AccessKey
	if err := Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), "a key of its own") {
		t.Errorf("a user with the administrator's key: %v", err)
	}
}
