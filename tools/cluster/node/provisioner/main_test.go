package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mlops/tools/cluster/node/api"
)

// server plays the part of the API server that the provisioner uses.
type server struct {
	mu      sync.Mutex
	claims  []claim
	volumes map[string]volume
	made    []map[string]any
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := func(v any) { json.NewEncoder(w).Encode(map[string]any{"items": v}) }
	name, one := strings.CutPrefix(r.URL.Path, "/api/v1/persistentvolumes/")
	switch {
	case r.URL.Path == "/apis/storage.k8s.io/v1/storageclasses":
		items([]class{{Metadata: metadata{Name: "standard"}, Provisioner: Name, Reclaim: "Delete"}, {Metadata: metadata{Name: "other"}, Provisioner: "other"}})
	case r.URL.Path == "/api/v1/persistentvolumeclaims":
		items(s.claims)
	case one && r.Method == "DELETE":
		delete(s.volumes, name)
		w.Write([]byte("{}"))
	case r.Method == "POST":
		var v volume
		var whole map[string]any
		dec := json.NewDecoder(r.Body)
		if dec.Decode(&whole) != nil {
			http.Error(w, "junk", http.StatusBadRequest)
			return
		}
		text, _ := json.Marshal(whole)
		json.Unmarshal(text, &v)
		if _, has := s.volumes[v.Metadata.Name]; has {
			w.WriteHeader(http.StatusConflict)
			return
		}
		v.Status.Phase = "Bound"
		s.volumes[v.Metadata.Name] = v
		s.made = append(s.made, whole)
		w.Write([]byte("{}"))
	default:
		var all []volume
		for _, v := range s.volumes {
			all = append(all, v)
		}
		items(all)
	}
}

func newProvisioner(t *testing.T, s *server) *provisioner {
	t.Helper()
	web := httptest.NewTLSServer(s)
	t.Cleanup(web.Close)
	pair := web.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	text, err := json.Marshal(api.NewKubeconfig("test", "me", web.URL, cert, cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := api.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return &provisioner{api: client, folder: t.TempDir(), node: "mlops", log: slog.New(slog.DiscardHandler)}
}

func wanting(name string) claim {
	c := claim{Metadata: metadata{Name: name, Namespace: "ns", UID: name + "-uid", Annotations: map[string]string{wantedFrom: Name, selectedNode: "mlops"}}}
	c.Spec.Class = "standard"
	c.Spec.Modes = []string{"ReadWriteOnce"}
	c.Spec.Resources.Requests = map[string]string{"storage": "1Gi"}
	return c
}

func TestAVolumeComesAndGoes(t *testing.T) {
	s := &server{claims: []claim{wanting("data")}, volumes: map[string]volume{}}
	p := newProvisioner(t, s)
	for range 2 { // the second pass finds nothing to do
		if err := p.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.made) != 1 {
		t.Fatalf("volumes made: got %d, want 1", len(s.made))
	}
	v := s.volumes["pvc-data-uid"]
	dir := v.Spec.Local.Path
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() || fi.Mode().Perm() != 0o755 {
		t.Fatalf("the volume's folder: %v, %v", fi, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		phase, reclaim string
		gone           bool
	}{{"Bound", "Delete", false}, {"Released", "Retain", false}, {"Released", "Delete", true}} {
		v.Status.Phase, v.Spec.Reclaim = tt.phase, tt.reclaim
		s.claims, s.volumes["pvc-data-uid"] = nil, v
		if err := p.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(dir)
		if _, has := s.volumes["pvc-data-uid"]; has == tt.gone || os.IsNotExist(err) != tt.gone {
			t.Errorf("%s, %s: the volume is there: %v, its folder: %v; want gone: %v", tt.phase, tt.reclaim, has, err, tt.gone)
		}
	}
}

func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	change := func(f func(c *claim)) claim {
		c := wanting("x")
		f(&c)
		return c
	}
	s := &server{volumes: map[string]volume{}, claims: []claim{
		change(func(c *claim) { c.Spec.Class = "other" }),
		change(func(c *claim) { c.Spec.Volume = "bound" }),
		change(func(c *claim) { c.Spec.Mode = "Block" }),
		change(func(c *claim) { c.Metadata.Annotations[selectedNode] = "elsewhere" }),
		change(func(c *claim) { delete(c.Metadata.Annotations, wantedFrom) }),
		change(func(c *claim) { c.Metadata.DeletionTimestamp = "2026-01-01T00:00:00Z" }),
	}}
	p := newProvisioner(t, s)
	if err := p.pass(t.Context()); err != nil || len(s.made) > 0 {
		t.Errorf("got %v, %v, want no volume", s.made, err)
	}
}

// A volume's path is in an object that others may write.
func TestNothingElsewhereIsDeleted(t *testing.T) {
	s := &server{volumes: map[string]volume{}}
	p := newProvisioner(t, s)
	keep := t.TempDir()
	for _, path := range []string{keep, p.folder, p.folder + "/../" + filepath.Base(keep), "", "/"} {
		v := volume{Metadata: metadata{Name: "v", Annotations: map[string]string{provisionedBy: Name}}}
		v.Spec.Reclaim, v.Status.Phase, v.Spec.Local.Path = "Delete", "Released", path
		s.volumes = map[string]volume{"v": v}
		if err := p.pass(t.Context()); err == nil {
			t.Errorf("path %q: got no error", path)
		}
	}
	for _, d := range []string{keep, p.folder} {
		if _, err := os.Stat(d); err != nil {
			t.Errorf("%s is gone", d)
		}
	}
}
