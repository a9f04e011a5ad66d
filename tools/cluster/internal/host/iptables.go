package host

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Rules identifies our chains and rules in the packet filter.
type Rules struct {
	Prefixes []string // of our chains
	Network  string   // name in the CNI configuration; comments of its port mappings contain it
}

// undo reads the output of iptables-save and returns the input for
// iptables-restore --noflush that removes exactly our chains and rules. It is empty
// if there are none.
func (r Rules) undo(saved string) string {
	var b strings.Builder
	for _, t := range parseTables(saved) {
		ours := r.chains(t)
		var lines []string
		for _, rule := range t.rules {
			chain, target := ends(rule)
			if !ours[chain] && (ours[target] || r.comment(rule)) {
				lines = append(lines, "-D"+strings.TrimPrefix(rule, "-A"))
			}
		}
		for _, how := range []string{"-F ", "-X "} {
			for _, c := range t.chains {
				if ours[c] {
					lines = append(lines, how+c)
				}
			}
		}
		if len(lines) > 0 {
			fmt.Fprintf(&b, "*%s\n%s\nCOMMIT\n", t.name, strings.Join(lines, "\n"))
		}
	}
	return b.String()
}

// chains returns our chains of a table.
func (r Rules) chains(t *table) map[string]bool {
	ours := map[string]bool{}
	for _, c := range t.chains {
		ours[c] = slices.ContainsFunc(r.Prefixes, func(p string) bool { return strings.HasPrefix(c, p) })
	}
	shared := false // another network maps ports, too
	for _, rule := range t.rules {
		chain, target := ends(rule)
		if chain != "CNI-HOSTPORT-DNAT" {
			continue
		}
		if r.comment(rule) {
			ours[target] = true
		} else {
			shared = true
		}
	}
	if !shared {
		for _, c := range t.chains {
			ours[c] = ours[c] || strings.HasPrefix(c, "CNI-HOSTPORT-")
		}
	}
	return ours
}

func (r Rules) comment(rule string) bool {
	return strings.Contains(rule, `name: \"`+r.Network+`\"`)
}

type table struct {
	name   string
	chains []string
	rules  []string
}

func parseTables(saved string) []*table {
	var ts []*table
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			ts = append(ts, &table{name: line[1:]})
		case len(ts) == 0:
		case strings.HasPrefix(line, ":"):
			name, _, _ := strings.Cut(line[1:], " ")
			ts[len(ts)-1].chains = append(ts[len(ts)-1].chains, name)
		case strings.HasPrefix(line, "-A "):
			ts[len(ts)-1].rules = append(ts[len(ts)-1].rules, line)
		}
	}
	return ts
}

// ends returns the chain that a rule belongs to and the one it jumps to.
func ends(rule string) (chain, target string) {
	f := strings.Fields(rule)
	if len(f) > 1 {
		chain = f[1]
	}
	// A comment may contain anything, so search for the target from the end.
	for i := len(f) - 2; i > 1; i-- {
		if f[i] == "-j" || f[i] == "-g" {
			return chain, f[i+1]
		}
	}
	return chain, ""
}

// Remove removes our chains and rules from the packet filters of IPv4 and IPv6,
// and returns how many lines that took.
func (r Rules) Remove() (int, error) {
	n := 0
	for _, program := range []string{"iptables", "ip6tables"} {
		if !HasProgram(program + "-save")() {
			continue
		}
		saved, err := exec.Command(program + "-save").Output()
		if err != nil {
			if program == "ip6tables" {
				continue // a kernel without IPv6
			}
			return n, fmt.Errorf("reading the packet filter: %w", err)
		}
		undo := r.undo(string(saved))
		if undo == "" {
			continue
		}
		cmd := exec.Command(program+"-restore", "--noflush", "-w", "10")
		cmd.Stdin = strings.NewReader(undo)
		if out, err := cmd.CombinedOutput(); err != nil {
			return n, fmt.Errorf("cleaning the packet filter: %w: %s", err, strings.TrimSpace(string(out)))
		}
		n += strings.Count(undo, "\n")
	}
	return n, nil
}
