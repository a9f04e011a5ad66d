package host

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// HasLink reports whether there is a network interface of that name.
func HasLink(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name)
	return err == nil
}

// Run runs a program of the system's and returns what it printed.
func Run(argv ...string) (string, error) { return Output(context.Background(), argv...) }

// Output is Run with a context that ends the program. What it said beside its
// output is in the error only.
func Output(ctx context.Context, argv ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(argv[0]), strings.Join(argv[1:], " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// LoadModules loads parts of the kernel. One that is built in, or that can't be
// loaded, is no error: what it makes shows whether it is there.
func LoadModules(names ...string) {
	for _, name := range names {
		Run("modprobe", name)
	}
}

// RemoveBridge deletes a bridge and what is plugged into it.
func RemoveBridge(name string) (bool, error) {
	if !HasLink(name) {
		return false, nil
	}
	ports, _ := filepath.Glob("/sys/class/net/" + name + "/brif/*")
	for _, p := range append(ports, name) {
		link := filepath.Base(p)
		if _, err := Run("ip", "link", "del", link); err != nil && HasLink(link) {
			return true, fmt.Errorf("deleting network interface: %w", err)
		}
	}
	return true, nil
}

// Overlaps returns the route (a line of `ip route`) that leads into the prefix
// by another interface than those named, or "".
func Overlaps(routes string, prefix netip.Prefix, except ...string) string {
	for line := range strings.Lines(routes) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "default" {
			continue
		}
		text := f[0]
		if !strings.Contains(text, "/") {
			text += "/32"
		}
		p, err := netip.ParsePrefix(text)
		// A route that is wider than a /8 is a second kind of default.
		if err != nil || !p.Overlaps(prefix) || p.Bits() < 8 {
			continue
		}
		own := false
		for _, e := range except {
			own = own || strings.Contains(line, " dev "+e+" ")
		}
		if !own {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// MTU returns the largest packet that the interface of the default route takes,
// 1500 where there is none.
func MTU() int {
	mtu := 1500
	text, _ := Run("ip", "route", "show", "default")
	f := strings.Fields(text)
	for i := 0; i+1 < len(f); i++ {
		if f[i] == "dev" {
			b, _ := os.ReadFile("/sys/class/net/" + f[i+1] + "/mtu")
			if v, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				mtu = v
			}
			break
		}
	}
	return mtu
}
