// Command bare is the limit that a server on net/http can reach: it reads the
// body of each request and responds with fixed bytes, a prediction.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

var answer = []byte(`{"model":{"name":"readmission","version":"0","run_id":"0123456789abcdef0123456789abcdef"},"predictions":[{"label":0,"probability":0.08463205}]}` + "\n")

func main() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		w.Header()["Content-Type"] = []string{"application/json"}
		w.Write(answer)
	})
	if err := http.ListenAndServe(os.Args[1], handler); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}
