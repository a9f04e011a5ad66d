{{/* Not empty where the set-up Job signs the version that an earlier release has put into
production. A release that is new has none, so its Job does not hold the key. Takes the
root context. */}}
{{- define "mlops.setup.signs" -}}
{{- if and .Values.global.signing.enabled .Values.pipelines.enabled .Release.IsUpgrade }}yes{{ end -}}
{{- end -}}

{{/* Environment of the set-up Job's container, as a list that extraEnv is merged into.
Takes what mlops.setup.pod takes. */}}
{{- define "mlops.setup.env" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $g := $root.Values.global -}}
{{- if .postgres }}
- {name: PGHOST, value: {{ include "mlops.postgres.host" $root | quote }}}
- {name: PGPORT, value: {{ include "mlops.postgres.port" $root | quote }}}
{{ include "mlops.postgres.tls.env" $root }}
{{- if $v.postgres.enabled }}
- {name: PGUSER, value: postgres}
{{- else }}
- name: PGUSER
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.postgres" $root }}, key: postgres-user}
{{- end }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.postgres" $root }}, key: postgres-password}
- {name: MLOPS_ROLE_LIMITS, value: {{ include "mlops.postgres.limits" $root | quote }}}
{{- if $v.pipelines.enabled }}
- name: MLOPS_ROLE_APP_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.app" $root }}, key: PGPASSWORD}
{{- range include "mlops.postgres.programs" $root | fromJsonArray }}
- name: MLOPS_ROLE_{{ upper . }}_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.step" (list $root .) }}, key: PGPASSWORD}
{{- end }}
{{- end }}
{{- if include "mlops.figures" $root }}
- name: MLOPS_ROLE_FIGURES_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.name" (list $root "postgres-figures") }}, key: PGPASSWORD}
{{- end }}
{{- if include "mlops.postgres.exporter" $root | fromJson }}
- name: MLOPS_ROLE_MONITOR_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.name" (list $root "postgres-monitor") }}, key: PGPASSWORD}
{{- end }}
{{- if $v.mlflow.enabled }}
- name: MLOPS_ROLE_MLFLOW_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.mlflow" $root }}, key: PGPASSWORD}
{{- end }}
{{- if $v.argo.enabled }}
- name: MLOPS_ROLE_ARGO_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.argo" $root }}, key: password}
{{- end }}
{{- end }}
{{- if .s3 }}
- {name: AWS_ENDPOINT_URL, value: {{ include "mlops.s3.endpoint" $root | quote }}}
- {name: AWS_REGION, value: {{ $g.s3.region | quote }}}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.s3" $root }}, key: AWS_ACCESS_KEY_ID}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.s3" $root }}, key: AWS_SECRET_ACCESS_KEY}
- {name: MLOPS_BUCKETS, value: {{ printf "%s %s %s" $g.s3.buckets.mlflow $g.s3.buckets.sources (include "mlops.s3.scores" $root) | quote }}}
- {name: MLOPS_SOURCE_BUCKET, value: {{ $g.s3.buckets.sources | quote }}}
{{- if and $v.minio.enabled (not $g.s3.existingSecret) }}
- {name: MLOPS_MLFLOW_BUCKET, value: {{ $g.s3.buckets.mlflow | quote }}}
- {name: MLOPS_SCORES_BUCKET, value: {{ include "mlops.s3.scores" $root | quote }}}
{{- range $role := list "mlflow" "loader" "scorer" }}
{{- range $key := list "ACCESS_KEY_ID" "SECRET_ACCESS_KEY" }}
- name: {{ printf "MLOPS_S3_%s_%s" (upper $role) $key }}
  valueFrom:
    secretKeyRef: {name: {{ include (printf "mlops.secret.s3-%s" $role) $root }}, key: {{ printf "AWS_%s" $key }}}
{{- end }}
{{- end }}
{{- end }}
- {name: MLOPS_SOURCES, value: "/sources:/tables"}
{{- end }}
{{- with include "mlops.ca.env" $root }}
{{ . }}
{{- end }}
{{- $login := and $v.mlflow.enabled $g.mlflow.login }}
{{- if $login }}
{{- range list (list "MLFLOW_AUTH_ADMIN_USERNAME" "mlflow-admin" "MLFLOW_AUTH_ADMIN_USERNAME") (list "MLFLOW_AUTH_ADMIN_PASSWORD" "mlflow-admin" "MLFLOW_AUTH_ADMIN_PASSWORD") (list "MLOPS_MLFLOW_STEPS_PASSWORD" "mlflow-steps" "MLFLOW_TRACKING_PASSWORD") (list "MLOPS_MLFLOW_INFERENCE_PASSWORD" "mlflow-inference" "MLFLOW_TRACKING_PASSWORD") }}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.name" (list $root (index . 1)) }}, key: {{ index . 2 }}}
{{- end }}
{{- end }}
{{- $signing := include "mlops.setup.signs" $root }}
{{- if $signing }}
- name: MLOPS_SIGNING_KEY
  valueFrom:
    secretKeyRef: {name: {{ include "mlops.secret.signing" $root }}, key: MLOPS_SIGNING_KEY}
{{- end }}
{{- $registry := or .first $signing }}
{{- if $registry }}
- {name: MLOPS_SPEC, value: /etc/mlops/dataset.yaml}
{{- end }}
{{- if or $registry $login }}
- {name: MLFLOW_TRACKING_URI, value: {{ include "mlops.mlflow.uri" $root | quote }}}
{{- end }}
{{- if .first }}
{{- $parameters := dict }}
{{- with include "mlops.source" $root.Subcharts.pipelines }}
{{- $parameters = dict "source" . }}
{{- end }}
- {name: MLOPS_FIRST_RUN, value: {{ $parameters | toJson | quote }}}
- name: MLOPS_NAMESPACE
  valueFrom:
    fieldRef: {fieldPath: metadata.namespace}
{{- end }}
{{- end -}}

{{/* The pod of the set-up Job: (dict "root" . "postgres" bool "s3" bool "first" bool
"table" file). What is false or empty is left out. */}}
{{- define "mlops.setup.pod" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $g := $root.Values.global -}}
metadata:
  labels:
    {{- include "mlops.podLabels" (list $root "setup") | nindent 4 }}
  annotations:
    checksum/dataset: {{ printf "%s\n%s" $g.dataset.spec $g.dataset.table | sha256sum }}
    {{- with include "mlops.podAnnotations" (list $root $v.setup "setup") }}
    {{- . | nindent 4 }}
    {{- end }}
spec:
  {{- /* Only starting the first run needs Kubernetes' API. */}}
  {{- include "mlops.pod" (list $root "setup" $v.setup 65532 .first) | nindent 2 }}
  restartPolicy: OnFailure
  containers:
    - name: setup
      {{- $image := dict "registry" "" "repository" "setup" "tag" "" "digest" "" }}
      {{- $container := include "mlops.container" (list $root $image $v.setup.resources) }}
      {{- with $v.setup.source.image }}
      {{- /* The same program in an image that also holds a source's file. */}}
      {{- $container = $container | replace (include "mlops.image" (list $root $image) | quote) (quote .) }}
      {{- end }}
      {{- $container | nindent 6 }}
      args: [run]
      {{- with include "mlops.env" (list (include "mlops.setup.env" . | fromYamlArray) $v.setup.extraEnv) }}
      env:
        {{- . | nindent 8 }}
      {{- end }}
      {{- $registry := or .first (include "mlops.setup.signs" $root) }}
      {{- if and $registry (include "mlops.mlflow.login" $root) }}
      envFrom:
        - secretRef: {name: {{ include "mlops.secret.mlflow-steps" $root }}}
      {{- end }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- with include "mlops.ca.mount" $root }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- if $registry }}
        - {name: dataset, mountPath: /etc/mlops, readOnly: true}
        {{- end }}
        {{- if .table }}
        - {name: table, mountPath: /tables, readOnly: true}
        {{- end }}
        {{- if .postgres }}
        {{- with include "mlops.postgres.tls.mount" $root }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
    {{- with include "mlops.ca.volume" $root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if $registry }}
    - name: dataset
      configMap: {name: {{ include "mlops.name" (list $root "dataset") }}}
    {{- end }}
    {{- if .table }}
    - name: table
      configMap: {name: {{ include "mlops.name" (list $root "table") }}}
    {{- end }}
    {{- if .postgres }}
    {{- with include "mlops.postgres.tls.volume" $root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- end }}
{{- end -}}
