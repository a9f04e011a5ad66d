{{/*
The workflows stand outside the chart, exactly as Argo reads them, with the
default release name, registry and tag written in: kubectl apply and the local
runner take the same files. Another release's names go in by replacing those
texts and no others; the files are never templates of Helm (Argo's braces are not
Helm's). With the default values the text is the file's, byte by byte.
(list . text)
*/}}
{{- define "pipelines.workflow" -}}
{{- $root := index . 0 -}}
{{- $text := index . 1 -}}
{{- $images := $root.Values.global.images -}}
{{- $image := printf "image: %s/${1}:%s\n" $images.registry ($images.tag | default (include "mlops.version" $root)) -}}
{{- if ne $images.pullPolicy "IfNotPresent" -}}
{{- $image = printf "%s        imagePullPolicy: %s\n" $image $images.pullPolicy -}}
{{- end -}}
{{- $text = regexReplaceAll (printf "image: mlops\\.local/([a-z-]+):%s\n" (include "mlops.version" $root | replace "." "\\.")) $text $image -}}
{{- range $old, $new := dict
  "mlops-postgres-app" (include "mlops.secret.app" $root)
  "mlops-s3" (include "mlops.secret.s3" $root)
  "mlops-steps" (include "mlops.name" (list $root "steps"))
  "mlops-dataset" (include "mlops.name" (list $root "dataset"))
  "mlops-data-and-model" (include "mlops.name" (list $root "data-and-model")) -}}
{{- $text = $text | replace (printf "name: %s\n" $old) (printf "name: %s\n" $new) -}}
{{- end -}}
{{- $text = $text | replace "serviceAccountName: mlops-workflow\n" (printf "serviceAccountName: %s\n" (include "mlops.name" (list $root "workflow"))) -}}
{{- with include "mlops.source" $root -}}
{{- $text = regexReplaceAll "(- name: source\n +description: [^\n]*\n +value: )\"\"" $text (printf "${1}%s" (toJson . | replace "$" "$$")) -}}
{{- end -}}
{{- $text -}}
{{- end -}}
