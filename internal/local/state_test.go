package local

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecrets(t *testing.T) {
	s := testState(t)
	first, err := s.Secrets()
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Secrets()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the passwords changed:\n%s", diff)
	}
	if first.Steps == first.MLflow || len(first.Steps) < 32 {
		t.Errorf("passwords are alike or short: %d characters", len(first.Steps))
	}
	fi, err := os.Stat(s.Path("secrets.json"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v, want 0600", fi.Mode(), err)
	}
	for _, tt := range []struct{ text, want, why string }{
		{"{", "secrets.json", "not JSON"},
		{"{}", "empty", "no password in it"},
	} {
		os.WriteFile(s.Path("secrets.json"), []byte(tt.text), 0o600)
		if _, err := s.Secrets(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.why, err, tt.want)
		}
	}
	os.Remove(s.Path("secrets.json"))
	os.MkdirAll(s.Path("postgres", "data"), 0o700)
	if _, err := s.Secrets(); err == nil || !strings.Contains(err.Error(), "PURGE=1") {
		t.Errorf("lost, with data there: got %v, want an error that says what to do", err)
	}
}

func TestMayEnter(t *testing.T) {
	who := &syscall.Credential{Uid: 101, Gid: 104}
	for _, tt := range []struct {
		mode     os.FileMode
		uid, gid uint32
		want     bool
		why      string
	}{
		{0o755, 0, 0, true, "open to all"},
		{0o700, 0, 0, false, "root's home"},
		{0o700, 101, 0, true, "its own"},
		{0o077, 101, 0, false, "its own, closed to the owner: the others' bits don't count"},
		{0o710, 0, 104, true, "its group's"},
		{0o701, 0, 104, false, "its group's, closed to the group"},
	} {
		if got := mayEnter(tt.mode, tt.uid, tt.gid, who); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.why, got, tt.want)
		}
	}
}
