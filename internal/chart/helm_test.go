package chart

import (
	"bytes"
	"errors"
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
		t.Run(filepath.Base(helm), func(t *testing.T) { test(t, helm) })
	}
}

// run runs helm in an environment of its own, without access to a cluster.
func run(t *testing.T, helm string, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	c := exec.Command(helm, args...)
	home := t.TempDir()
	c.Env = append([]string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "KUBECONFIG=" + filepath.Join(home, "none")}, env...)
	var out, wrong bytes.Buffer
	c.Stdout, c.Stderr = &out, &wrong
	err = c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), wrong.String(), err
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

// rendered caches renderings, which several tests share.
var rendered sync.Map

// render renders the chart as a release and decodes it. Flags are Helm's.
func render(t *testing.T, helm, release, namespace string, flags ...string) *rendering {
	t.Helper()
	key := strings.Join(append([]string{helm, release, namespace}, flags...), "\x00")
	if r, ok := rendered.Load(key); ok {
		return r.(*rendering)
	}
	args := append([]string{"template", release, dir, "--namespace", namespace, "--kube-version", kubeVersion}, flags...)
	out, wrong, err := run(t, helm, nil, args...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, wrong)
	}
	r := &rendering{release: release, namespace: namespace, text: out, objects: decode(t, out)}
	rendered.Store(key, r)
	return r
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
func decode(t *testing.T, text string) []object {
	t.Helper()
	var objects []object
	for reader := yamlstream.NewDocumentDecoder(io.NopCloser(strings.NewReader(text))); ; {
		buffer := make([]byte, 1<<20)
		n, err := reader.Read(buffer)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		document := buffer[:n]
		if onlyComments.Match(document) {
			continue
		}
		o, kind, err := strict.Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("%v:\n%s", err, document)
		}
		meta, ok := o.(metav1.Object)
		if !ok {
			t.Fatalf("%v has no metadata", kind)
		}
		objects = append(objects, object{kubernetes: o, meta: meta, kind: kind.Kind, text: string(document)})
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
