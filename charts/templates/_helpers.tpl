{{/*
What all templates of the release share; subcharts use it too, so they can't be
installed on their own. A helper takes the context of its caller, or a list of
that context and arguments.
*/}}

{{/* Tag of our images where nobody names another: appVersion of the umbrella's
Chart.yaml, which a subchart can't see. A test holds the two together. */}}
{{- define "mlops.version" -}}0.1.0{{- end -}}

{{/* Name of a part: (list . "mlflow") gives mlops-mlflow in release mlops. */}}
{{- define "mlops.name" -}}
{{- printf "%s-%s" (index . 0).Release.Name (index . 1) -}}
{{- end -}}

{{/* Labels that select the pods of a component: (list . "mlflow"). Selectors are
immutable, so nothing that changes between releases, such as a version, belongs here. */}}
{{- define "mlops.selector" -}}
app.kubernetes.io/name: mlops
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of pods and volume claim templates. The latter are immutable too. */}}
{{- define "mlops.podLabels" -}}
{{ include "mlops.selector" . }}
app.kubernetes.io/part-of: mlops
{{- end -}}

{{/* Labels of all other objects: (list . "mlflow"). */}}
{{- define "mlops.labels" -}}
{{- $root := index . 0 -}}
{{ include "mlops.podLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Reference of an image: (list . .Values.image). What its values leave empty
comes from global.images and is one of ours. */}}
{{- define "mlops.image" -}}
{{- $images := (index . 0).Values.global.images -}}
{{- $image := index . 1 -}}
{{- $tag := $image.tag | default $images.tag | default (include "mlops.version" .) -}}
{{- printf "%s/%s:%s" ($image.registry | default $images.registry) $image.repository $tag -}}
{{- with $image.digest -}}@{{ . }}{{- end -}}
{{- end -}}

{{/* Annotations of a pod beside its own: those of global.pod, and the digest of
images by name, where `make images` has written them into global.images.ids: so an
image built anew under its old tag rolls the pods. (list . "inference" "setup") */}}
{{- define "mlops.podAnnotations" -}}
{{- $g := (index . 0).Values.global -}}
{{- $found := list -}}
{{- range rest . -}}
{{- with get $g.images.ids . -}}{{- $found = append $found . -}}{{- end -}}
{{- end -}}
{{- $all := deepCopy $g.pod.annotations -}}
{{- with $found -}}{{- $_ := set $all "mlops.local/images" (join "," .) -}}{{- end -}}
{{- with $all -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* Where pods may run, out of global.pod. */}}
{{- define "mlops.placement" -}}
{{- $placement := pick (index . 0).Values.global.pod "nodeSelector" "tolerations" "affinity" -}}
{{- range $key, $value := $placement -}}
{{- if not $value -}}{{- $placement = omit $placement $key -}}{{- end -}}
{{- end -}}
{{- with $placement -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* Name of a values' image without folders: what global.images.ids knows it by. */}}
{{- define "mlops.imageName" -}}{{ .repository | splitList "/" | last }}{{- end -}}

{{/* What every pod says alike: the user it runs as, where it may run, and that it gets
no token of Kubernetes, unless it has an account of its own. (list . uid [account]) */}}
{{- define "mlops.pod" -}}
{{- $images := (index . 0).Values.global.images -}}
{{- $uid := int (index . 1) -}}
{{- if gt (len .) 2 -}}
serviceAccountName: {{ index . 2 }}
automountServiceAccountToken: true
{{- else -}}
automountServiceAccountToken: false
{{- end }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $uid }}
  runAsGroup: {{ $uid }}
  fsGroup: {{ $uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with include "mlops.placement" . }}
{{ . }}
{{- end }}
{{- with $images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What every container says alike: image, pull policy, no rights. The last
lines of its log are the pod's message where it fails.
(list . .Values.image .Values.resources) */}}
{{- define "mlops.container" -}}
image: {{ include "mlops.image" . | quote }}
imagePullPolicy: {{ (index . 0).Values.global.images.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
resources:
  {{- toYaml (index . 2) | nindent 2 }}
{{- end -}}

{{/* Image and resources of our program setup, that init containers wait with. */}}
{{- define "mlops.setupContainer" -}}
{{- $resources := dict "requests" (dict "cpu" "10m" "memory" "16Mi") "limits" (dict "memory" "64Mi") -}}
{{- include "mlops.container" (list . (dict "registry" "" "repository" "setup" "tag" "" "digest" "") $resources) -}}
{{- end -}}

{{/* An init container that waits until a database can be used, and prints what
it waits for. (list . "mlflow" secret-name user-key password-key) */}}
{{- define "mlops.waitForDatabase" -}}
{{- $root := index . 0 -}}
- name: wait
  args:
    - wait
    - {{ printf "postgres://%s:%s/%s" (include "mlops.postgres.host" $root) (include "mlops.postgres.port" $root) (index . 1) }}
  env:
    - name: PGUSER
      valueFrom:
        secretKeyRef: {name: {{ index . 2 }}, key: {{ index . 3 }}}
    - name: PGPASSWORD
      valueFrom:
        secretKeyRef: {name: {{ index . 2 }}, key: {{ index . 4 }}}
    - name: PGSSLMODE
      value: {{ $root.Values.global.postgres.sslMode }}
  {{- include "mlops.setupContainer" $root | nindent 2 }}
{{- end -}}

{{/* Where the services are: the bundled ones, or those that global names. */}}
{{- define "mlops.postgres.host" -}}
{{- .Values.global.postgres.host | default (include "mlops.name" (list . "postgres")) -}}
{{- end -}}
{{- define "mlops.postgres.port" -}}
{{- if .Values.global.postgres.host -}}{{ int .Values.global.postgres.port }}{{- else -}}5432{{- end -}}
{{- end -}}
{{- define "mlops.s3.endpoint" -}}
{{- .Values.global.s3.endpoint | default (printf "http://%s:9000" (include "mlops.name" (list . "minio"))) -}}
{{- end -}}
{{- define "mlops.mlflow.uri" -}}
{{- .Values.global.mlflow.uri | default (printf "http://%s:5000" (include "mlops.name" (list . "mlflow"))) -}}
{{- end -}}
{{/* Not empty if MLflow asks for a login: the bundled one, or another whose login is given. */}}
{{- define "mlops.mlflow.login" -}}
{{- $mlflow := .Values.global.mlflow -}}
{{- if $mlflow.uri -}}{{- if $mlflow.existingSecret -}}yes{{- end -}}{{- else if $mlflow.login -}}yes{{- end -}}
{{- end -}}
{{- define "mlops.prometheus.uri" -}}
{{- .Values.global.prometheus.uri | default (printf "http://%s:9090" (include "mlops.name" (list . "prometheus"))) -}}
{{- end -}}

{{/* Names of the Secrets: the release's own, or those that exist. */}}
{{- define "mlops.secret.postgres" -}}
{{- .Values.global.postgres.existingSecret | default (include "mlops.name" (list . "postgres")) -}}
{{- end -}}
{{- define "mlops.secret.app" -}}
{{- .Values.global.postgres.appSecret | default (include "mlops.name" (list . "postgres-app")) -}}
{{- end -}}
{{- define "mlops.secret.mlflow" -}}
{{- .Values.global.postgres.mlflowSecret | default (include "mlops.name" (list . "postgres-mlflow")) -}}
{{- end -}}
{{- define "mlops.secret.mlflow-steps" -}}
{{- .Values.global.mlflow.existingSecret | default (include "mlops.name" (list . "mlflow-steps")) -}}
{{- end -}}
{{- define "mlops.secret.mlflow-inference" -}}
{{- .Values.global.mlflow.inferenceSecret | default .Values.global.mlflow.existingSecret | default (include "mlops.name" (list . "mlflow-inference")) -}}
{{- end -}}
{{- define "mlops.secret.signing" -}}
{{- .Values.global.signing.keySecret | default (include "mlops.name" (list . "signing")) -}}
{{- end -}}
{{- define "mlops.secret.signers" -}}
{{- .Values.global.signing.trustedSecret | default (include "mlops.name" (list . "signers")) -}}
{{- end -}}
{{- define "mlops.secret.argo" -}}
{{- .Values.global.postgres.argoSecret | default (include "mlops.name" (list . "postgres-argo")) -}}
{{- end -}}
{{- define "mlops.secret.s3" -}}
{{- .Values.global.s3.existingSecret | default (include "mlops.name" (list . "s3")) -}}
{{- end -}}
{{- define "mlops.secret.s3-mlflow" -}}
{{- .Values.global.s3.mlflowSecret | default .Values.global.s3.existingSecret | default (include "mlops.name" (list . "s3-mlflow")) -}}
{{- end -}}
{{- define "mlops.secret.s3-loader" -}}
{{- .Values.global.s3.loaderSecret | default .Values.global.s3.existingSecret | default (include "mlops.name" (list . "s3-loader")) -}}
{{- end -}}

{{/* The data set's YAML; takes the context of the subchart pipelines, whose
files hold the example. */}}
{{- define "mlops.dataset.spec" -}}
{{- .Values.global.dataset.spec | default (.Files.Get "workflows/datasets/diabetes.yaml") -}}
{{- end -}}

{{/* A name out of that YAML: (list .Subcharts.pipelines "model") */}}
{{- define "mlops.dataset.key" -}}
{{- $spec := include "mlops.dataset.spec" (index . 0) | fromYaml -}}
{{- with $spec.Error -}}{{- fail (printf "global.dataset.spec is not YAML: %s" .) -}}{{- end -}}
{{- $value := get $spec (index . 1) -}}
{{- if not (and (kindIs "string" $value) (regexMatch "^[A-Za-z0-9][A-Za-z0-9._-]*$" (toString $value))) -}}
{{- fail (printf "global.dataset.spec: it has to say %s, a word of letters, digits, dots, dashes and underscores" (index . 1)) -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{/* URL of the pipeline's source; empty: the data set's own. A table that came
with the release goes before an address, which may be that of a values file that
`make images` wrote for the example. Takes the context of the subchart pipelines. */}}
{{- define "mlops.source" -}}
{{- if .Values.global.dataset.table -}}
{{- printf "s3://%s/%s.csv" .Values.global.s3.buckets.sources (include "mlops.dataset.key" (list . "name")) -}}
{{- else -}}
{{- .Values.source -}}
{{- end -}}
{{- end -}}

{{/* What a volume claim asks for, from a service's values. */}}
{{- define "mlops.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .Values.persistence.storageClass | default .Values.global.storageClass }}
storageClassName: {{ . | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .Values.persistence.size }}
{{- end -}}

{{/* The node's port of a Service, from its values; 0: any that is free. */}}
{{- define "mlops.nodePort" -}}
{{- if and (eq .type "NodePort") .nodePort -}}
nodePort: {{ int .nodePort }}
{{- end -}}
{{- end -}}
