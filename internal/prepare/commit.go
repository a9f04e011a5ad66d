package prepare

import (
	"context"
	"os/exec"
	"strings"
)

// Commit returns the commit of git that is checked out in a folder, with "-dirty" if files
// were changed since; empty if the folder is no clone, or there is no git.
func Commit(ctx context.Context, dir string) string {
	// The pattern excludes all tags, so that the answer is a hash.
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
