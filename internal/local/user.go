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

// postgresUser returns who Postgres runs as: nil where we are an ordinary user,
// and as root, which Postgres refuses, the user postgres or else nobody.
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
	return nil, "", fmt.Errorf("starting Postgres: it does not run as root, and the machine has neither a user postgres nor nobody")
}

// closedTo returns the first folder on the way to path, path included, that the
// user can't enter, or "".
func closedTo(path string, who *syscall.Credential) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("looking at %s: %w", path, err)
	}
	var way []string
	for p := path; ; p = filepath.Dir(p) {
		way = append(way, p)
		if p == filepath.Dir(p) {
			break
		}
	}
	for i := len(way) - 1; i >= 0; i-- {
		fi, err := os.Stat(way[i])
		if err != nil {
			return "", fmt.Errorf("looking at %s: %w", way[i], err)
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if ok && !mayEnter(fi.Mode(), st.Uid, st.Gid, who) {
			return way[i], nil
		}
	}
	return "", nil
}

// mayEnter looks at the execute bit of owner, group or others, whichever holds
// for the user.
func mayEnter(mode fs.FileMode, uid, gid uint32, who *syscall.Credential) bool {
	switch {
	case who.Uid == 0:
		return true
	case who.Uid == uid:
		return mode&0o100 != 0
	case who.Gid == gid:
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
