package setup

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// Writes that only name an access key, as the holes of MinIO's last open release
// allowed them: the object must not be there afterwards.
func TestUnsignedWritesAreRefused(t *testing.T) {
	s3 := store(t)
	client, err := s3.Client()
	if err != nil {
		t.Fatal(err)
	}
	bucket := fmt.Sprintf("attack-%d", time.Now().UnixNano())
	if err := client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	scope := fmt.Sprintf("%s/%s/us-east-1/s3/aws4_request", s3.AccessKey, now.Format("20060102"))
	forged := "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + strings.Repeat("0", 64)
	const chunked = "4\r\nevil\r\n0\r\nx-amz-checksum-crc32:jfsxUg==\r\n\r\n"
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	w.WriteHeader(&tar.Header{Name: "unpacked", Mode: 0o600, Size: 4})
	w.Write([]byte("evil"))
	w.Close()
	for _, tt := range []struct {
		name, object, query, written string
		header                       map[string]string
		body                         string
	}{
		{name: "the key in the query", object: "query", query: "?X-Amz-Credential=" + strings.ReplaceAll(scope, "/", "%2F"), body: chunked, written: "query"},
		{name: "a forged signature of an archive", object: "archive.tar", body: archive.String(), written: "unpacked",
			header: map[string]string{"Authorization": forged, "X-Amz-Meta-Snowball-Auto-Extract": "true"}},
		{name: "a forged signature", object: "forged", body: chunked, written: "forged", header: map[string]string{"Authorization": forged}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s3.Endpoint+"/"+bucket+"/"+tt.object+tt.query, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
			req.Header.Set("X-Amz-Decoded-Content-Length", "4")
			if tt.body == chunked {
				req.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
			}
			req.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
			for k, v := range tt.header {
				req.Header.Set(k, v)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("status %d, want 403", resp.StatusCode)
			}
			if _, err := client.StatObject(t.Context(), bucket, tt.written, minio.StatObjectOptions{}); err == nil {
				t.Errorf("object %s was written without a secret key", tt.written)
			}
		})
	}
}
