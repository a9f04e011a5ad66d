package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"

	"github.com/google/renameio/v2"

	"mlops/internal/apikey"
	"mlops/internal/program"
)

// keyCommands make, list and revoke the API keys of a file.
func keyCommands() []command {
	fileFlag := func(f *flag.FlagSet) *string {
		return f.String("file", os.Getenv("MLOPS_API_KEYS"), "the `file` of keys that servers read (also: MLOPS_API_KEYS)")
	}
	return []command{{
		name:  "key new",
		args:  "NAME",
		short: "make an API key, and print it once",
		long: `
Makes an API key for NAME, whoever will use it, and prints it. It is stored nowhere: what
servers keep is the line with its SHA-256, which is added to the file, or printed if none is
named. Servers read the file again within seconds. Scopes: predict (POST /predict), read
(what is served, and the web page), operate (all else). For a release on Kubernetes use
make key.`,
		define: func(f *flag.FlagSet) work {
			scope := f.String("scope", "predict", "what the key is for: predict, read, operate, several joined by `commas`")
			rate := f.String("rate", "-", "requests that it may send, such as `100/s`, 1000/m or 5000/h; -: no limit")
			file := fileFlag(f)
			return func(_ context.Context, out io.Writer, args []string) error {
				if len(args) != 1 {
					return program.Inputf("key new takes one name after its flags: mlops key new --scope predict --rate 100/s NAME")
				}
				return newKey(out, *file, args[0], *scope, *rate)
			}
		},
	}, {
		name:  "key list",
		short: "list the API keys of a file",
		long: `
Lists id, name, scopes and rate of the keys in a file. The keys themselves are nowhere.`,
		define: func(f *flag.FlagSet) work {
			file := fileFlag(f)
			return func(_ context.Context, out io.Writer, _ []string) error {
				text, err := keyFile(*file)
				if err != nil {
					return err
				}
				return listKeys(out, text)
			}
		},
	}, {
		name:  "key revoke",
		args:  "ID|NAME",
		short: "take an API key out of a file",
		long: `
Takes the key with that id, or the only one with that name, out of a file. Servers refuse
it within seconds.`,
		define: func(f *flag.FlagSet) work {
			file := fileFlag(f)
			return func(_ context.Context, out io.Writer, args []string) error {
				if len(args) != 1 {
					return program.Inputf("key revoke takes the id or the name of one key: mlops key revoke --file FILE ID")
				}
				text, err := keyFile(*file)
				if err != nil {
					return err
				}
				text, k, err := apikey.Revoke(text, args[0])
				if err != nil {
					return program.Inputf("%s: %w", *file, err)
				}
				if err := writeKeys(*file, text); err != nil {
					return err
				}
				fmt.Fprintf(out, "revoked key %s of %s; servers that read %s refuse it within seconds\n", k.ID, k.Name, *file)
				return nil
			}
		},
	}}
}

func newKey(out io.Writer, file, name, scope, rate string) error {
	scopes, err := apikey.ParseScopes(scope)
	if err != nil {
		return program.Input(err)
	}
	limit, err := apikey.ParseRate(rate)
	if err != nil {
		return program.Input(err)
	}
	text, k, err := apikey.New(name, scopes, limit)
	if err != nil {
		return program.Input(err)
	}
	where := "the line for the file of keys that servers read (MLOPS_API_KEYS):"
	if file != "" {
		old, err := keyFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		added, err := apikey.Add(old, k)
		if err != nil {
			return program.Inputf("%s: %w", file, err)
		}
		if err := writeKeys(file, added); err != nil {
			return err
		}
		where = "added to " + file + ":"
	}
	fmt.Fprintf(out, "%s\n\nThis is the only time that the key is shown. Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.\n\n%s\n%s\n", text, where, k)
	return nil
}

func keyFile(path string) (string, error) {
	if path == "" {
		return "", program.Inputf("name the file of keys: --file FILE or MLOPS_API_KEYS=FILE")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", program.Input(err)
	}
	return string(text), nil
}

// writeKeys replaces the file in one step, since servers may be reading it. Its mode and
// owner stay as they are, for one that servers of another user read.
func writeKeys(path, text string) error {
	if err := renameio.WriteFile(path, []byte(text), 0o600, renameio.WithExistingPermissions()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func listKeys(out io.Writer, text string) error {
	keys, err := apikey.Parse(text)
	if err != nil {
		return program.Input(err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSCOPES\tRATE")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.ID, k.Name, k.ScopeList(), k.Rate)
	}
	return w.Flush()
}
