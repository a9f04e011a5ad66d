{{/* Host headers that MLflow answers: its own names, this machine's for forwarded ports,
and those of the values, each exactly. It refuses all others, so that a page whose name
leads here (DNS rebinding) can't use a browser's login. A JSON array. */}}
{{- define "mlflow.hosts" -}}
{{- $name := include "mlops.name" (list . "mlflow") -}}
{{- $hosts := list -}}
{{- range list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $hosts = concat $hosts (list . (printf "%s:5000" .)) -}}
{{- end -}}
{{- range list "localhost" "127.0.0.1" -}}
{{- $hosts = concat $hosts (list . (printf "%s:*" .)) -}}
{{- end -}}
{{- toJson (concat $hosts .Values.allowedHosts | uniq) -}}
{{- end -}}

{{/* Origins of pages that may send it something: its own page under the names of the
values. It allows localhost by itself. A JSON array. */}}
{{- define "mlflow.origins" -}}
{{- $origins := list (printf "http://%s:5000" (include "mlops.name" (list . "mlflow"))) -}}
{{- range .Values.allowedHosts -}}
{{- $origins = concat $origins (list (printf "http://%s" .) (printf "https://%s" .)) -}}
{{- end -}}
{{- toJson ($origins | uniq) -}}
{{- end -}}
