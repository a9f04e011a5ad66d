{{/* The port of a URL. */}}
{{- define "mlops.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- $port | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{/* Selects the release's pods of some components: (list . "mlflow" "inference"). */}}
{{- define "mlops.components" -}}
matchLabels:
  app.kubernetes.io/name: mlops
  app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
  {{- if eq (len .) 2 }}
  app.kubernetes.io/component: {{ index . 1 }}
{{- else }}
matchExpressions:
  - {key: app.kubernetes.io/component, operator: In, values: [{{ join ", " (rest .) }}]}
{{- end }}
{{- end -}}

{{/* Selects the pods of steps by name: (list "train-model"). An empty list selects all.
Argo marks every pod of a workflow with the workflow's name. */}}
{{- define "mlops.steps" -}}
matchLabels:
  app.kubernetes.io/part-of: mlops
matchExpressions:
  - {key: workflows.argoproj.io/workflow, operator: Exists}
  {{- with . }}
  - {key: app.kubernetes.io/component, operator: In, values: [{{ join ", " . }}]}
  {{- end }}
{{- end -}}

{{/* Any address and any pod, but not the addresses of the link, where clouds have their
metadata. In a dict, as YAML needs one. */}}
{{- define "mlops.anywhere" -}}
to:
  - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
  - ipBlock: {cidr: "::/0", except: ["fe80::/10"]}
  - namespaceSelector: {}
{{- end -}}

{{/* A rule of a policy for outgoing connections: a dict of ports, protocols (default
TCP) and to, a list of peers. Without peers it allows every address. */}}
{{- define "mlops.egress" -}}
{{- $protocols := .protocols | default (list "TCP") -}}
- ports:
    {{- range $port := .ports }}
    {{- range $protocols }}
    - {port: {{ int $port }}, protocol: {{ . }}}
    {{- end }}
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
