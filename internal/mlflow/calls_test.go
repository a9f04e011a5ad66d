package mlflow

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// health asks the server whether it is up. It needs no database.
func (c *Client) health(ctx context.Context) error {
	return c.do(ctx, request{method: http.MethodGet, path: "health"})
}

// readArtifact returns the bytes of the file at path, with the errors of
// DownloadArtifact.
func (c *Client) readArtifact(ctx context.Context, path string, limit int64) ([]byte, error) {
	var buf bytes.Buffer
	err := c.download(ctx, path, limit, func(r io.Reader) error {
		buf.Reset()
		_, err := buf.ReadFrom(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
