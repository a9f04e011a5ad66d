package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"mlops/internal/api"
	"mlops/internal/demo"
	"mlops/internal/program"
	"mlops/internal/progress"
	"mlops/internal/scoring"
)

func predictCommand() command {
	return command{
		name:  "predict",
		args:  "FILE",
		short: "score a CSV file with the served model: mlops predict my.csv > scored.csv",
		long: `
Sends the records of a CSV file (or of standard input: -; gzip and zstd are unpacked) to
the inference server, and writes each line again with its prediction behind it: label and
probability (or the classes' probabilities, or value, low and high), why a record gets no
score (excluded), and in what it is unlike the training rows (warnings). The file may be of
any size; lines come out in their order, in UTF-8. Encoding, separator, ignored columns and
the spelling of numbers may be those of the data set's own tables. A number that could be
read in two ways, such as 1.234 where the tables have decimal commas, needs -numbers. The
first record that is wrong ends it, with the line and what to do; nothing behind that is
written.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			server := f.String("server", os.Getenv("MLOPS_INFERENCE"), "`URL` of the inference server (also: MLOPS_INFERENCE; default: the demo's, else http://localhost:8000)")
			key := f.String("key-file", "", "`file` with the API key to send (default: MLOPS_API_KEY, or the demo's own)")
			numbers := f.String("numbers", "", "how the file spells numbers: table (as the data set's own tables) or point (1234.5); default: either")
			return func(ctx context.Context, out io.Writer, args []string) error {
				if len(args) != 1 {
					return program.Inputf("predict takes one file: mlops predict FILE > scored.csv")
				}
				if *numbers != "" && *numbers != api.NumbersTable && *numbers != api.NumbersPoint {
					return program.Inputf("-numbers is %q; it must be %s or %s", *numbers, api.NumbersTable, api.NumbersPoint)
				}
				client, err := findServer(in, *server, *key)
				if err != nil {
					return err
				}
				from, err := openTable(args[0])
				if err != nil {
					return err
				}
				defer from.Close()
				d := progress.New(os.Stderr, os.Getenv("TERM"), os.Getenv("NO_COLOR") == "")
				defer d.Close()
				return d.Do("predict "+args[0], func(log *slog.Logger) (string, error) {
					t := scoring.Table{Name: args[0], Client: client, Numbers: *numbers, Encoding: encodingOf(ctx, client), Scored: func(rows int) {
						log.Info("progress", "done", rows, "total", 0, "unit", "rows")
					}}
					rows, err := t.Score(ctx, from, out)
					if len(t.Models) > 1 {
						log.Warn("another version was put into production meanwhile: the first lines are scored by the first of these", "versions", t.Models)
					}
					if len(t.Models) == 0 {
						return fmt.Sprintf("%d rows", rows), err
					}
					return "scored by " + strings.Join(t.Models, ", "), err
				})
			}
		},
	}
}

func scoreBatchCommand() command {
	return command{
		name:  "score-batch",
		args:  "[FILE or TABLE]",
		short: "score a whole table into the demo's Postgres or S3, each record once",
		long: `
Runs the workflow score-batch on the running demo: it scores a file (a path, s3:// or
https://) or a table of the database raw (by default the data set's) with the served model,
into a table of the schema scored of the database clean, or an object of S3 (the keys are
those of AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION). It may
be interrupted and run again: it goes on where it was, and what has been scored by the same
version is not scored again.`,
		define: func(f *flag.FlagSet) work {
			in := newInputs()
			in.spec(f)
			to := f.String("to", "", "s3://bucket/key, or a `table` (default: of the data set's name)")
			return func(ctx context.Context, out io.Writer, args []string) error {
				if len(args) > 1 {
					return program.Inputf("score-batch takes one file or table: mlops score-batch -to TABLE FILE")
				}
				c, err := in.config()
				if err != nil {
					return err
				}
				d := progress.New(os.Stderr, os.Getenv("TERM"), os.Getenv("NO_COLOR") == "")
				defer d.Close()
				return demo.ScoreBatch(ctx, c, d, out, strings.Join(args, ""), *to)
			}
		},
	}
}

// findServer finds the server, and the key that it may want.
func findServer(in *inputs, server, keyFile string) (*api.Client, error) {
	key := os.Getenv("MLOPS_API_KEY")
	if server == "" {
		server = "http://localhost:8000"
		if c, err := in.config(); err == nil {
			switch _, address, err := demo.Server(c); {
			case err == nil:
				server = address
				if own, err := c.State.APIKey(false); err == nil && key == "" {
					key = own
				}
			case !errors.Is(err, demo.ErrNoDemo):
				return nil, err
			}
		}
	}
	if keyFile != "" {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return nil, program.Input(err)
		}
		key = strings.TrimSpace(string(text))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	client := api.NewClient(server, &http.Client{Timeout: 5 * time.Minute, Transport: transport})
	if key != "" {
		client = client.WithKey(key)
	}
	return client, nil
}

// encodingOf asks the server for the encoding of the data set's tables. A server that does
// not say is left to refuse what it can't read.
func encodingOf(ctx context.Context, client *api.Client) string {
	m, err := client.Model(ctx)
	if err != nil {
		return ""
	}
	return m.Dataset.Encoding()
}

// openTable opens a file, or standard input, and unpacks it.
func openTable(name string) (io.ReadCloser, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, program.Input(err)
		}
	}
	r := bufio.NewReaderSize(f, 1<<20)
	magic, _ := r.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, program.Inputf("%s: %w", name, err)
		}
		return unpacked{z, f}, nil
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, program.Inputf("%s: %w", name, err)
		}
		return unpacked{z.IOReadCloser(), f}, nil
	case bytes.HasPrefix(magic, []byte("PAR1")):
		return nil, program.Inputf("%s is a Parquet file; predict takes CSV (pandas: to_csv(index=False))", name)
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")):
		return nil, program.Inputf("%s is a ZIP archive or a spreadsheet; predict takes CSV (unzip -p %s | mlops predict -)", name, name)
	}
	return unpacked{r, f}, nil
}

type unpacked struct {
	io.Reader
	file *os.File
}

func (u unpacked) Close() error { return u.file.Close() }
