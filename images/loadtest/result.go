package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"mlops/internal/program"
	"mlops/loadtest"
	"mlops/loadtest/live"
)

// files are where a result is written to.
type files struct{ page, table, data string }

func (to *files) flags(f *flag.FlagSet) {
	f.StringVar(&to.page, "html", "", "file to write the report to, as one HTML page")
	f.StringVar(&to.table, "csv", "", "file to write a row per second to")
	f.StringVar(&to.data, "json", "", "file to write the result to, for loadtest compare")
}

// write writes a result's files, and returns the error that the test ends with.
func write(r *loadtest.Result, to files) error {
	for _, f := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{to.page, func(w io.Writer) error { return live.WriteReport(w, r) }},
		{to.table, r.WriteCSV},
		{to.data, r.WriteJSON},
	} {
		if f.path == "" {
			continue
		}
		if err := writeFile(f.path, f.write); err != nil {
			return err
		}
	}
	switch {
	case r.Stopped:
		return errors.New("the load test was stopped before its end")
	case !r.Passed():
		return program.Inputf("the load test failed: a threshold was not met")
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
