{{/*
The workflows stand outside the chart, exactly as Argo reads them, with the
default release name, registry and tag written in: kubectl apply and the local
runner take the same files. Another release's names go in by replacing these
prefixes and nothing else; the files are never templates of Helm (Argo's braces
are not Helm's). With the default values the text is the file's, byte by byte.
(list . text)
*/}}
{{- define "pipelines.workflow" -}}
{{- $root := index . 0 -}}
{{- $text := index . 1 -}}
{{- $images := $root.Values.global.images -}}
{{- $version := include "mlops.version" $root -}}
{{- $new := printf "${1}image: %s/${2}:%s\n" $images.registry ($images.tag | default $version) -}}
{{- if ne $images.pullPolicy "IfNotPresent" -}}
{{- $new = printf "%s${1}imagePullPolicy: %s\n" $new $images.pullPolicy -}}
{{- end -}}
{{- $text = regexReplaceAll (printf "( +)image: mlops\\.local/([a-z-]+):%s\n" (replace "." "\\." $version)) $text $new -}}
{{- $text = regexReplaceAll "((?:name|serviceAccountName): |http://)mlops-" $text (printf "${1}%s-" $root.Release.Name) -}}
{{- range list (list "postgres-app" "mlops.secret.app") (list "s3-loader" "mlops.secret.s3-loader") (list "mlflow-steps" "mlops.secret.mlflow-steps") (list "signing" "mlops.secret.signing") (list "signers" "mlops.secret.signers") -}}
{{- $text = $text | replace (printf "name: %s\n" (include "mlops.name" (list $root (index . 0)))) (printf "name: %s\n" (include (index . 1) $root)) -}}
{{- end -}}
{{- with include "mlops.source" $root -}}
{{- $text = regexReplaceAll "(- name: source\n +description: [^\n]*\n +value: )\"\"" $text (printf "${1}%s" (toJson . | replace "$" "$$")) -}}
{{- end -}}
{{- $text -}}
{{- end -}}
