{{/* Values of pipelines.backup, as JSON. A release that was installed before there was
this key has none under --reuse-values. */}}
{{- define "pipelines.backup" -}}
{{- $default := dict "to" "" "keep" 7 "recipient" "" "endpoint" "" "region" "" "existingSecret" "" "volume" (dict "size" "" "storageClass" "" "existingClaim" "") -}}
{{- include "mlops.filled" (list (.Values.backup | default dict) $default) -}}
{{- end -}}

{{/* Empty if this release has what backups need: a login for Postgres that may read all
databases, and an S3 store; else the reason. */}}
{{- define "pipelines.backup.lacks" -}}
{{- $g := .Values.global -}}
{{- if and $g.postgres.host (not $g.postgres.existingSecret) -}}
global.postgres.existingSecret, a login that may read and create all databases
{{- else if and $g.mlflow.uri (not $g.s3.endpoint) -}}
an MLflow of its own, or global.s3.endpoint
{{- end -}}
{{- end -}}

{{/* Name of the volume claim for backups; empty: none. */}}
{{- define "pipelines.backup.claim" -}}
{{- $volume := (include "pipelines.backup" . | fromJson).volume -}}
{{- if $volume.existingClaim -}}{{- $volume.existingClaim -}}
{{- else if $volume.size -}}{{- include "mlops.name" (list . "backups") -}}{{- end -}}
{{- end -}}

{{/* Puts the values into a parsed manifest: (list . workflow). */}}
{{- define "pipelines.backup.workflow" -}}
{{- $root := index . 0 -}}
{{- $workflow := index . 1 -}}
{{- $backup := include "pipelines.backup" $root | fromJson -}}
{{- range $workflow.spec.arguments.parameters -}}
{{- if has .name (list "to" "from") -}}{{- $_ := set . "value" $backup.to -}}{{- end -}}
{{- if eq .name "keep" -}}{{- $_ := set . "value" (toString $backup.keep) -}}{{- end -}}
{{- end -}}
{{- range $workflow.spec.templates -}}
{{- range .container.envFrom -}}
{{- if and .prefix $backup.existingSecret -}}{{- $_ := set .secretRef "name" $backup.existingSecret -}}{{- $_ := unset .secretRef "optional" -}}{{- end -}}
{{- end -}}
{{- $volumes := list -}}
{{- $mounts := list -}}
{{- with include "pipelines.backup.claim" $root -}}
{{- $volumes = append $volumes (dict "name" "backups" "persistentVolumeClaim" (dict "claimName" .)) -}}
{{- $mounts = append $mounts (dict "name" "backups" "mountPath" "/backups") -}}
{{- end -}}
{{- if and $backup.recipient (eq .name "backup") -}}
{{- range include "mlops.secrets.own" $root | splitList " " -}}
{{- $volumes = append $volumes (dict "name" (printf "secret-%s" .) "secret" (dict "secretName" (include "mlops.name" (list $root .)) "optional" true)) -}}
{{- $mounts = append $mounts (dict "name" (printf "secret-%s" .) "mountPath" (printf "/secrets/%s" (include "mlops.name" (list $root .))) "readOnly" true) -}}
{{- end -}}
{{- end -}}
{{- if $volumes -}}
{{- $_ := set . "volumes" (concat .volumes $volumes) -}}
{{- $_ := set .container "volumeMounts" (concat .container.volumeMounts $mounts) -}}
{{- end -}}
{{- end -}}
{{- end -}}
