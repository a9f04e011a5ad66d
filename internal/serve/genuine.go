package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/google/renameio/v2"

	"mlops/internal/api"
	"mlops/internal/model"
	"mlops/internal/registry"
)

// noted is a version in a note that outlives the process.
type noted struct {
	api.Version
	Logged string `json:"logged,omitempty"` // see registry.Version
}

func note(v registry.Version) noted { return noted{wireVersion(v), v.Logged} }

// kept is the note of the served version, for a start without the registry.
type kept struct {
	noted
	Signature string `json:"signature,omitempty"`
}

// genuine checks the signature of a version's files.
func (s *Server) genuine(v registry.Version, dir string) error {
	if s.options.Trusted == nil {
		return nil
	}
	subject, err := v.Subject(os.DirFS(dir))
	if err != nil {
		return err
	}
	return s.options.Trusted.Verify(subject, v.Signature)
}

const (
	// loadFactor is how much memory loading a version takes, as a multiple of its files'
	// size: 3.7 for trees of 21 MB, twice as much as it keeps afterwards.
	loadFactor = 4
	// earlierFactor is the same for the rows that features look back at, which are
	// compressed.
	earlierFactor = 8
	// reserve is the least that requests and the runtime need besides.
	reserve = 32 << 20
)

// fits checks that there is memory to load a version beside the served one.
func (s *Server) fits(dir string) error {
	if s.options.Memory == 0 {
		return nil
	}
	var files int64
	names, err := model.Names(os.DirFS(dir))
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == model.FileEarlier {
			continue
		}
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("reading model version: %w", err)
		}
		files += fi.Size()
	}
	need := loadFactor * files
	if fi, err := os.Stat(filepath.Join(dir, model.FileEarlier)); err == nil {
		need += earlierFactor * fi.Size()
	}
	if taken()+need > s.options.Memory {
		debug.FreeOSMemory() // return what an earlier version left
	}
	if now := taken(); now+need > s.options.Memory {
		return fmt.Errorf("too large: loading its %d MiB of files takes about %d MiB, and of this server's %d MiB only %d are free; raise the memory limit",
			files>>20, need>>20, s.options.Memory>>20, max(0, s.options.Memory-now)>>20)
	}
	return nil
}

// taken is the memory that the process has from the system, plus the reserve.
func taken() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys-m.HeapReleased) + reserve
}

// errFatal is why a version is refused without being loaded again.
var errFatal = errors.New("the server died while loading this version; promote another one, or delete the folder of local copies to try again")

// trying is the file that notes which version is being loaded. If it exists when the
// server starts, the last process died while loading that version.
func (s *Server) trying() string {
	return filepath.Join(s.options.Cache, s.options.Model+".trying.json")
}

// died is the file that lists the versions that a process died of.
func (s *Server) died() string {
	return filepath.Join(s.options.Cache, s.options.Model+".died.json")
}

// attempt notes that a version is being loaded until the function it returns is
// called.
func (s *Server) attempt(v registry.Version) (done func()) {
	if err := writeJSON(s.trying(), note(v)); err != nil {
		s.log.Warn("can't note which version is being loaded", "error", err)
	}
	return func() { os.Remove(s.trying()) }
}

// maxDied bounds the list of versions that a process died of.
const maxDied = 100

// autopsy adds what a dead process was loading to the list of such versions.
func (s *Server) autopsy() {
	var victim noted
	if !readJSON(s.trying(), &victim) {
		return
	}
	var all []noted
	readJSON(s.died(), &all)
	if !slices.Contains(all, victim) {
		all = append(all[max(0, len(all)-maxDied+1):], victim)
	}
	err := writeJSON(s.died(), all)
	if err == nil {
		err = os.Remove(s.trying())
	}
	if err != nil {
		s.log.Warn("can't note which version the server died of", "error", err)
	}
	s.log.Error("the last process died while loading a version", "version", victim.Number, "run_id", victim.RunID)
}

// fatal reports whether an earlier process died while it loaded this version and there
// is another one to serve. Without another there is nothing to lose by trying again.
func (s *Server) fatal(v registry.Version) bool {
	var all []noted
	if !readJSON(s.died(), &all) || !slices.Contains(all, note(v)) {
		return false
	}
	if s.served.Load() != nil {
		return true
	}
	var k kept
	return readJSON(s.current(), &k) && k.Name == v.Name && k.noted != note(v)
}

// readJSON reads a file, and reports whether that succeeded.
func readJSON(path string, to any) bool {
	text, err := os.ReadFile(path)
	return err == nil && json.Unmarshal(text, to) == nil
}

// writeJSON writes a file whole or not at all.
func writeJSON(path string, from any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(path, text, 0o644, renameio.WithTempDir(filepath.Dir(path)))
}
