package node

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"mlops/tools/cluster/internal/host"
)

// Status prints what runs and whether it works.
func (n *Node) Status(ctx context.Context, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "state\t%s\n", n.dir)
	home, err := owner()
	if err != nil {
		return err
	}
	if home != "" && home != n.home {
		fmt.Fprintf(w, "\tthe cluster of MLOPS_HOME=%s uses this machine\n", home)
	}
	up := 0
	for _, s := range n.services() {
		r, err := n.record(s.name)
		if err != nil {
			return err
		}
		if r == nil || !r.Alive() {
			fmt.Fprintf(w, "%s\tdown\n", s.name)
			continue
		}
		up++
		state := "up"
		if err := s.ready(ctx); err != nil {
			state = "up, but: " + err.Error()
		} else if ok, err := n.runs(s); err == nil && !ok {
			state = "up, but from another build or configuration"
		}
		fmt.Fprintf(w, "%s\t%s\tprocess %d\tsince %s\t%d MB\n", s.name, state, r.PID, r.Since.Format(time.DateTime), host.Memory(r.Process)>>20)
	}
	if up > 0 {
		for _, c := range n.checks() {
			answer := "yes"
			if err := c.ask(ctx); err != nil {
				answer = "no: " + err.Error()
			}
			fmt.Fprintf(w, "%s\t%s\n", c.what, answer)
		}
		fmt.Fprintf(w, "KUBECONFIG\t%s\n", n.kubeconfig())
	}
	return w.Flush()
}
