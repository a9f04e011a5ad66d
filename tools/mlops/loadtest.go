package main

import (
	"context"
	"flag"
	"io"
	"os"

	"mlops/internal/demo"
)

func loadTestCommand() command {
	return command{
		name:  "loadtest",
		args:  "[-- FLAGS OF loadtest serve]",
		short: "open the load tester's page on port 8089 against the demo",
		long: `
Serves the page of the load tester on http://localhost:8089 until it is interrupted. It
starts and stops a load of users or requests per second against the demo's inference
server, changes it while it runs, and draws and keeps what it measures.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			path := f.String("program", "bin/loadtest", "`path` of the compiled load tester")
			target := f.String("target", "", "base `URL` of another inference server")
			return func(ctx context.Context, out io.Writer, args []string) error {
				c, err := in.config()
				if err != nil {
					return err
				}
				return demo.LoadTest(ctx, c, out, os.Environ(), *path, *target, args)
			}
		},
	}
}
