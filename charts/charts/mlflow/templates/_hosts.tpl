{{/* Values of the Host header that MLflow accepts, as a JSON array: its own names, those
of this machine for forwarded ports, and mlflow.allowedHosts. It compares the port too.
All others are refused, so that a web page whose name resolves to this address (DNS
rebinding) can't use a browser's login. */}}
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

{{/* Values of the Origin header that MLflow accepts, as a JSON array: its own web page
under the names above. Only localhost is allowed by default. */}}
{{- define "mlflow.origins" -}}
{{- $origins := list (printf "%s://%s:5000" (include "mlops.scheme" .) (include "mlops.name" (list . "mlflow"))) -}}
{{- range .Values.allowedHosts -}}
{{- $origins = concat $origins (list (printf "http://%s" .) (printf "https://%s" .)) -}}
{{- end -}}
{{- toJson ($origins | uniq) -}}
{{- end -}}
