package local

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// postgresUser returns the user that Postgres runs as: nil (ourselves) unless we
// are root, which Postgres refuses; then the user postgres, or nobody.
func postgresUser() (*syscall.Credential, string, error) {
	if os.Geteuid() != 0 {
		return nil, "", nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, "", fmt.Errorf("reading the id of user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, "", fmt.Errorf("reading the group of user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, name, nil
	}
	return nil, "", fmt.Errorf("starting Postgres: it refuses to run as root, and this machine has neither a user postgres nor a user nobody")
}

// closedTo returns the first folder on the way to path, including path itself,
// that the user can't enter, or "".
func closedTo(path string, u *syscall.Credential) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("checking access to %s: %w", path, err)
	}
	var parents []string
	for p := path; ; p = filepath.Dir(p) {
		parents = append(parents, p)
		if p == filepath.Dir(p) {
			break
		}
	}
	for i := len(parents) - 1; i >= 0; i-- {
		fi, err := os.Stat(parents[i])
		if err != nil {
			return "", fmt.Errorf("checking access to %s: %w", parents[i], err)
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if ok && !mayEnter(fi.Mode(), st.Uid, st.Gid, u) {
			return parents[i], nil
		}
	}
	return "", nil
}

// mayEnter checks the execute bit that applies to the user: owner, group or
// others.
func mayEnter(mode fs.FileMode, uid, gid uint32, u *syscall.Credential) bool {
	switch {
	case u.Uid == 0:
		return true
	case u.Uid == uid:
		return mode&0o100 != 0
	case u.Gid == gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
