package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	operatorv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	dir = "../../charts"
	// A Helm built without link flags assumes Kubernetes 1.20.
	kubeVersion = "1.33.0"
)

// eachHelm runs a test once with every Helm that MLOPS_TEST_HELM names.
func eachHelm(t *testing.T, test func(t *testing.T, helm string)) {
	t.Helper()
	list := os.Getenv("MLOPS_TEST_HELM")
	if list == "" {
		t.Skip("NOT TESTED: the chart needs Helm; name one or more binaries in MLOPS_TEST_HELM (make e2e and CI do)")
	}
	for _, helm := range filepath.SplitList(list) {
		t.Run(filepath.Base(helm), func(t *testing.T) {
			t.Parallel()
			test(t, helm)
		})
	}
}

// run runs helm in an environment of its own, without access to a cluster, and returns
// what it printed. Its error has what helm says of it.
func run(t *testing.T, helm string, args ...string) (string, error) {
	t.Helper()
	c := exec.Command(helm, args...)
	home := t.TempDir()
	// Helm ends before a collection of its garbage is worth the time.
	c.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + filepath.Join(home, "none"), "GOGC=400"}
	var out, wrong bytes.Buffer
	c.Stdout, c.Stderr = &out, &wrong
	err := c.Run()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, wrong.String())
	}
	return out.String(), err
}

// rendering is the chart as Helm rendered it.
type rendering struct {
	release, namespace string
	text               string
	objects            []object
}

// object is one document of a rendering; kubernetes is its typed form.
type object struct {
	kubernetes runtime.Object
	meta       metav1.Object
	kind       string
	text       string
}

func (o object) String() string { return o.kind + " " + o.meta.GetName() }

// rendered caches renderings, which tests share: none may change an object. The values
// are of type func() (*rendering, error).
var rendered sync.Map

// render renders the chart as a release and decodes it, once for all tests. Flags are
// Helm's.
func render(t *testing.T, helm, release, namespace string, flags ...string) *rendering {
	t.Helper()
	key := strings.Join(append([]string{helm, release, namespace}, flags...), "\x00")
	once, _ := rendered.LoadOrStore(key, sync.OnceValues(func() (*rendering, error) { return renderAgain(t, helm, release, namespace, flags...) }))
	r, err := once.(func() (*rendering, error))()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// renderAgain is render without the cache.
func renderAgain(t *testing.T, helm, release, namespace string, flags ...string) (*rendering, error) {
	t.Helper()
	args := append([]string{"template", release, dir, "--namespace", namespace, "--kube-version", kubeVersion}, flags...)
	text, err := run(t, helm, args...)
	if err != nil {
		return nil, fmt.Errorf("helm %s: %w", strings.Join(args, " "), err)
	}
	return decode(release, namespace, text)
}

var strict = func() runtime.Decoder {
	for _, add := range []func(*runtime.Scheme) error{wfv1.AddToScheme, operatorv1.AddToScheme} {
		if err := add(scheme.Scheme); err != nil {
			panic(err)
		}
	}
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
}()

// onlyComments matches a document without an object.
var onlyComments = regexp.MustCompile(`^(\s*(#.*)?\n?)*$`)

// decode decodes each document strictly: unknown and duplicate fields are errors.
func decode(release, namespace, text string) (*rendering, error) {
	rendering := &rendering{release: release, namespace: namespace, text: text}
	for reader := yamlstream.NewDocumentDecoder(io.NopCloser(strings.NewReader(text))); ; {
		buffer := make([]byte, 1<<20)
		n, err := reader.Read(buffer)
		if errors.Is(err, io.EOF) {
			return rendering, nil
		}
		if err != nil {
			return nil, err
		}
		document := buffer[:n]
		if onlyComments.Match(document) {
			continue
		}
		o, kind, err := strict.Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%w:\n%s", err, document)
		}
		meta, ok := o.(metav1.Object)
		if !ok {
			return nil, fmt.Errorf("%v has no metadata", kind)
		}
		rendering.objects = append(rendering.objects, object{kubernetes: o, meta: meta, kind: kind.Kind, text: string(document)})
	}
}

// all returns the objects of one type.
func all[T runtime.Object](r *rendering) []T {
	var found []T
	for _, o := range r.objects {
		if x, ok := o.kubernetes.(T); ok {
			found = append(found, x)
		}
	}
	return found
}

// one returns the object of a type and name.
func one[T interface {
	runtime.Object
	metav1.Object
}](t *testing.T, r *rendering, name string) T {
	t.Helper()
	for _, x := range all[T](r) {
		if x.GetName() == name {
			return x
		}
	}
	var none T
	t.Fatalf("no %T %s", none, name)
	return none
}
