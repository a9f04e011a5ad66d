{{/* Names under which MLflow answers. It refuses every other Host header, port
included, so each stands here with and without one; private addresses are what
it allows by itself. A JSON array. */}}
{{- define "mlflow.hosts" -}}
{{- $name := include "mlops.name" (list . "mlflow") -}}
{{- $hosts := list -}}
{{- range list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $hosts = concat $hosts (list . (printf "%s:5000" .)) -}}
{{- end -}}
{{- range list "localhost" "127.0.0.1" -}}
{{- $hosts = concat $hosts (list . (printf "%s:*" .)) -}}
{{- end -}}
{{- $hosts = concat $hosts (list "10.*" "192.168.*") -}}
{{- range untilStep 16 32 1 -}}
{{- $hosts = append $hosts (printf "172.%d.*" .) -}}
{{- end -}}
{{- range .Values.allowedHosts -}}
{{- $hosts = append $hosts . -}}
{{- if not (contains ":" .) -}}{{- $hosts = append $hosts (printf "%s:*" .) -}}{{- end -}}
{{- end -}}
{{- toJson ($hosts | uniq) -}}
{{- end -}}

{{/* Its page sends its questions by POST with an Origin; one that isn't
localhost has to be allowed as well. A JSON array. */}}
{{- define "mlflow.origins" -}}
{{- $origins := list -}}
{{- range include "mlflow.hosts" . | fromJsonArray -}}
{{- $origins = append $origins (printf "http://%s" .) -}}
{{- end -}}
{{- range .Values.allowedHosts -}}
{{- $origins = concat $origins (list (printf "https://%s" .) (printf "https://%s:*" .)) -}}
{{- end -}}
{{- toJson ($origins | uniq) -}}
{{- end -}}
