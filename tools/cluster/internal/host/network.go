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

// HasLink reports whether a network interface of that name exists.
func HasLink(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name)
	return err == nil
}

// Run runs a system program and returns its standard output.
func Run(argv ...string) (string, error) { return Output(context.Background(), argv...) }

// Output is Run with a context that ends the program. Standard error is only in
// the returned error.
func Output(ctx context.Context, argv ...string) (string, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(argv[0]), strings.Join(argv[1:], " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// LoadModules loads kernel modules. It ignores modules that are built in or can't
// be loaded; callers check for what a module provides.
func LoadModules(names ...string) {
	for _, name := range names {
		_, _ = Run("modprobe", name)
	}
}

// RemoveBridge deletes a bridge and the interfaces attached to it. It reports
// whether there was one.
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

// Overlaps returns the first route (a line of `ip route`) that overlaps the prefix
// and doesn't use one of the excepted interfaces, or "".
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
		// A route wider than a /8 is in effect a default route.
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

// MTU returns the largest packet size of the default route's interface, 1500 if
// there is no default route.
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
