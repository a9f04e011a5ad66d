// Package probe asks once whether a service responds. Callers that wait for one
// repeat it with package retry.
package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// shown is how many bytes of a response's body an error shows.
const shown = 300

// HTTP returns nil if a GET of the address responds with a 2xx. It doesn't read the
// body then, so a large file costs no more than a small one.
func HTTP(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, shown))
	if said := strings.Join(strings.Fields(string(text)), " "); said != "" {
		return fmt.Errorf("GET %s: %s: %s", req.URL.Redacted(), resp.Status, said)
	}
	return fmt.Errorf("GET %s: %s", req.URL.Redacted(), resp.Status)
}
