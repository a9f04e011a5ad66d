package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"mlops/internal/program"
)

func writeHelp(out io.Writer, all []command) {
	fmt.Fprintln(out, "mlops runs the whole life of a model of tabular data, from raw records to predictions.")
	fmt.Fprintln(out, "\nUsage: mlops COMMAND [FLAGS] [ARGUMENTS]")
	list := func(title string, developer bool) {
		fmt.Fprintf(out, "\n%s:\n", title)
		for _, c := range all {
			if c.developer == developer {
				fmt.Fprintf(out, "  %-28s %s\n", strings.TrimSpace(c.name+" "+c.args), c.short)
			}
		}
	}
	list("Commands", false)
	list("For developers of the platform", true)
	fmt.Fprint(out, `
mlops help COMMAND tells more about a command. The platform on Kubernetes has Make
targets of its own: make up, make down, make forward (make help lists them).

Everything is kept in MLOPS_HOME (default ~/.mlops, for root /var/lib/mlops).
`)
}

func writeCommandHelp(out io.Writer, c *command) {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.define(flags)
	var any bool
	flags.VisitAll(func(*flag.Flag) { any = true })
	usage := "mlops " + c.name
	if any {
		usage += " [FLAGS]"
	}
	if c.args != "" {
		usage += " " + c.args
	}
	fmt.Fprintf(out, "Usage: %s\n\n%s\n", usage, strings.TrimSpace(c.long))
	if any {
		fmt.Fprintln(out, "\nFlags:")
		flags.SetOutput(out)
		flags.PrintDefaults()
	}
}

func withPrefix(all []command, prefix string) []command {
	var some []command
	for _, c := range all {
		if strings.HasPrefix(c.name, prefix) {
			some = append(some, c)
		}
	}
	return some
}

// unknown is the error about a command that does not exist, with the one that
// was probably meant.
func unknown(all []command, args []string) error {
	// "demo" and "demo upp": the first word is right.
	if group := withPrefix(all, args[0]+" "); len(group) > 0 {
		names := make([]string, len(group))
		for i, c := range group {
			names[i] = c.name
		}
		if len(args) == 1 || strings.HasPrefix(args[1], "-") {
			return program.Inputf("%q needs one more word: %s", args[0], strings.Join(names, ", "))
		}
		return program.Inputf("unknown command %q; there are %s", args[0]+" "+args[1], strings.Join(names, ", "))
	}
	best, least := "", 3 // at most two edits away
	for _, c := range all {
		for _, typed := range []string{args[0], strings.Join(args[:min(2, len(args))], " ")} {
			if d := distance(typed, c.name); d < least {
				best, least = c.name, d
			}
		}
		if first, _, two := strings.Cut(c.name, " "); two {
			if d := distance(args[0], first); d < least {
				best, least = strings.Join(append([]string{first}, args[1:min(2, len(args))]...), " "), d
			}
		}
	}
	if best != "" {
		return program.Inputf("unknown command %q; did you mean %q?", args[0], best)
	}
	return program.Inputf("unknown command %q; mlops help lists the commands", args[0])
}

// distance is the number of letters to insert, delete or replace that makes b of
// a (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
