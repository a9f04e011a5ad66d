package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// honoured are the fields that this package acts upon, by path; [] means each
// element of a list.
var honoured = fieldSet(`
	apiVersion
	kind
	metadata.name
	spec.entrypoint
	spec.activeDeadlineSeconds
	spec.arguments.parameters[].name
	spec.arguments.parameters[].value
	spec.arguments.parameters[].enum
	spec.templates[].name
	spec.templates[].parallelism
	spec.templates[].activeDeadlineSeconds
	spec.templates[].retryStrategy.limit
	spec.templates[].retryStrategy.retryPolicy
	spec.templates[].retryStrategy.expression
	spec.templates[].retryStrategy.backoff.duration
	spec.templates[].retryStrategy.backoff.factor
	spec.templates[].retryStrategy.backoff.cap
	spec.templates[].inputs.parameters[].name
	spec.templates[].inputs.parameters[].value
	spec.templates[].inputs.parameters[].default
	spec.templates[].outputs.parameters[].name
	spec.templates[].outputs.parameters[].valueFrom.path
	spec.templates[].outputs.parameters[].valueFrom.default
	spec.templates[].outputs.parameters[].valueFrom.parameter
	spec.templates[].container.image
	spec.templates[].container.command
	spec.templates[].container.args
	spec.templates[].container.env[].name
	spec.templates[].container.env[].value
	spec.templates[].dag.tasks[].name
	spec.templates[].dag.tasks[].template
	spec.templates[].dag.tasks[].templateRef.name
	spec.templates[].dag.tasks[].templateRef.template
	spec.templates[].dag.tasks[].dependencies
	spec.templates[].dag.tasks[].depends
	spec.templates[].dag.tasks[].when
	spec.templates[].dag.tasks[].withItems
	spec.templates[].dag.tasks[].withParam
	spec.templates[].dag.tasks[].arguments.parameters[].name
	spec.templates[].dag.tasks[].arguments.parameters[].value
`)

// clusterOnly are the fields that are skipped with all they hold: they say how
// Kubernetes runs, protects, keeps and shows the pods, and change neither the
// tasks nor their arguments. The environment that comes from ConfigMaps and
// Secrets there comes from Options.Env here; the folder that is a volume at
// /mlops/outputs there is named by MLOPS_OUTPUTS here; the mutex between
// workflows is the caller's lock here.
var clusterOnly = fieldSet(`
	metadata.labels
	metadata.annotations
	spec.arguments.parameters[].description
	spec.serviceAccountName
	spec.automountServiceAccountToken
	spec.executor
	spec.securityContext
	spec.synchronization
	spec.podGC
	spec.ttlStrategy
	spec.podMetadata
	spec.workflowMetadata
	spec.imagePullSecrets
	spec.nodeSelector
	spec.tolerations
	spec.affinity
	spec.templates[].metadata
	spec.metrics
	spec.templates[].metrics
	spec.templates[].serviceAccountName
	spec.templates[].automountServiceAccountToken
	spec.templates[].executor
	spec.templates[].securityContext
	spec.templates[].podSpecPatch
	spec.templates[].volumes
	spec.templates[].nodeSelector
	spec.templates[].tolerations
	spec.templates[].affinity
	spec.templates[].container.imagePullPolicy
	spec.templates[].container.env[].valueFrom
	spec.templates[].container.envFrom
	spec.templates[].container.resources
	spec.templates[].container.securityContext
	spec.templates[].container.terminationMessagePolicy
	spec.templates[].container.volumeMounts
`)

func fieldSet(list string) []string { return strings.Fields(list) }

// checkFields returns an error for each field of a manifest that is neither
// honoured nor known to be for a cluster only. It looks at the text and not at
// the Go types, in which a field that is set to its zero value can't be told
// from one that is not there.
func checkFields(text []byte) []error {
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return []error{err}
	}
	var root any
	if err := json.Unmarshal(data, &root); err != nil {
		return []error{err}
	}
	var errs []error
	// pattern has [] for every list, place has the element's name or number.
	var walk func(value any, pattern, place string)
	walk = func(value any, pattern, place string) {
		if slices.Contains(clusterOnly, pattern) || slices.Contains(honoured, pattern) {
			return
		}
		inner := pattern == "" || slices.ContainsFunc(honoured, func(h string) bool {
			return strings.HasPrefix(h, pattern+".") || strings.HasPrefix(h, pattern+"[]")
		}) || slices.ContainsFunc(clusterOnly, func(c string) bool {
			return strings.HasPrefix(c, pattern+".") || strings.HasPrefix(c, pattern+"[]")
		})
		if !inner {
			errs = append(errs, fmt.Errorf("%s: the local runner can't honour this field", place))
			return
		}
		switch v := value.(type) {
		case map[string]any:
			for _, key := range sortedKeys(v) {
				walk(v[key], joinPath(pattern, key), joinPath(place, key))
			}
		case []any:
			for i, e := range v {
				label := fmt.Sprint(i)
				if m, ok := e.(map[string]any); ok {
					if name, ok := m["name"].(string); ok && name != "" {
						label = name
					}
				}
				walk(e, pattern+"[]", place+"["+label+"]")
			}
		}
	}
	walk(root, "", "")
	return errs
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
