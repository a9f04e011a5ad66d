{{/*
A file of workflows/ for this release: (list . path names), with the names that
pipelines.names gives. The files are complete manifests
for release mlops, so that kubectl apply and the local runner take the same ones. They
are parsed, changed where the values say so, and written again; with the default values
the object is the file's. They are never templates of Helm: Argo's braces stay.
*/}}
{{- define "pipelines.workflow" -}}
{{- $root := index . 0 -}}
{{- $path := index . 1 -}}
{{- $names := index . 2 -}}
{{- $text := $root.Files.Get $path -}}
{{- if regexMatch "(?m)^---" $text -}}
{{- fail (printf "%s: more than one YAML document; put each workflow into a file of its own" $path) -}}
{{- end -}}
{{- $workflow := fromYaml $text -}}
{{- with $workflow.Error -}}{{- fail (printf "%s: %s" $path .) -}}{{- end -}}
{{- include "pipelines.rename" (list $root $workflow $names) -}}
{{- with include "mlops.source" $root -}}
{{- $source := . -}}
{{- range dig "spec" "arguments" "parameters" list $workflow -}}
{{- if eq .name "source" -}}{{- $_ := set . "value" $source -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if has $workflow.metadata.name (list "backup" "restore") -}}
{{- include "pipelines.backup.workflow" (list $root $workflow) -}}
{{- end -}}
{{- range $workflow.spec.templates -}}
{{- if .container -}}{{- include "pipelines.step" (list $root .) -}}{{- end -}}
{{- end -}}
{{- toYaml $workflow -}}
{{- end -}}

{{/* What Secrets of release mlops are called in this one, as JSON. Every node of every
workflow asks for them, so they are worked out once. */}}
{{- define "pipelines.names" -}}
{{- $root := . -}}
{{- $secrets := dict -}}
{{- range list "load" "clean" "split" "train" "promote" "score" -}}
{{- $_ := set $secrets (printf "mlops-postgres-%s" .) (include "mlops.secret.step" (list $root .)) -}}
{{- end -}}
{{- range list "postgres" "s3" "s3-loader" "s3-scorer" "mlflow-steps" "signing" "signers" -}}
{{- $_ := set $secrets (printf "mlops-%s" .) (include (printf "mlops.secret.%s" .) $root) -}}
{{- end -}}
{{- dict "secrets" $secrets "tag" (printf ":%s" (include "mlops.version" $root)) | toJson -}}
{{- end -}}

{{/* Changes the names of release mlops in a parsed manifest into this release's: names
that begin with mlops- or are the host of an address, and images of mlops.local:
(list . node names). */}}
{{- define "pipelines.rename" -}}
{{- $root := index . 0 -}}
{{- $node := index . 1 -}}
{{- $names := index . 2 -}}
{{- if kindIs "slice" $node -}}
{{- range $node -}}
{{- if or (kindIs "slice" .) (kindIs "map" .) -}}{{- include "pipelines.rename" (list $root . $names) -}}{{- end -}}
{{- end -}}
{{- else -}}
{{- $images := $root.Values.global.images -}}
{{- $tag := $names.tag -}}
{{- range $key, $value := $node -}}
{{- if or (kindIs "slice" $value) (kindIs "map" $value) -}}
{{- include "pipelines.rename" (list $root $value $names) -}}
{{- else if not (kindIs "string" $value) -}}
{{- else if and (has $key (list "name" "secretName" "claimName" "serviceAccountName")) (hasPrefix "mlops-" $value) -}}
{{- $_ := set $node $key (get $names.secrets $value | default (include "mlops.name" (list $root (trimPrefix "mlops-" $value)))) -}}
{{- else if and (eq $key "value") (hasPrefix "http://mlops-" $value) -}}
{{- $_ := set $node $key (printf "%s://%s" (include "mlops.scheme" $root) (include "mlops.name" (list $root (trimPrefix "http://mlops-" $value)))) -}}
{{- else if and (eq $key "image") (hasPrefix "mlops.local/" $value) (hasSuffix $tag $value) -}}
{{- $name := $value | trimPrefix "mlops.local/" | trimSuffix $tag -}}
{{- $_ := set $node $key (include "mlops.image" (list $root (dict "registry" "" "repository" $name "tag" "" "digest" ""))) -}}
{{- if ne $images.pullPolicy "IfNotPresent" -}}{{- $_ := set $node "imagePullPolicy" $images.pullPolicy -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Puts the values for steps into a parsed template of a workflow that runs a
container. What a template says wins over its workflow and over Argo's defaults. */}}
{{- define "pipelines.step" -}}
{{- $root := index . 0 -}}
{{- $v := $root.Values -}}
{{- $template := index . 1 -}}
{{- range $key, $value := include "mlops.placement" (list $root $v) | fromYaml -}}
{{- $_ := set $template $key $value -}}
{{- end -}}
{{- with include "mlops.podAnnotations" (list $root $v) | fromYaml -}}
{{- $metadata := $template.metadata | default dict -}}
{{- $_ := set $metadata "annotations" (merge . ($metadata.annotations | default dict)) -}}
{{- $_ := set $template "metadata" $metadata -}}
{{- end -}}
{{- with $v.extraEnv -}}
{{- $_ := set $template.container "env" (include "mlops.env" (list ($template.container.env | default list) .) | fromYamlArray) -}}
{{- end -}}
{{- $steps := false -}}
{{- range $template.container.envFrom -}}
{{- if eq (dig "configMapRef" "name" "" .) (include "mlops.name" (list $root "steps")) -}}{{- $steps = true -}}{{- end -}}
{{- end -}}
{{- $mounts := include "mlops.ca.mount" $root | fromYamlArray -}}
{{- $volumes := include "mlops.ca.volume" $root | fromYamlArray -}}
{{- if and $mounts (not $steps) -}}
{{- $_ := set $template.container "env" (include "mlops.env" (list (include "mlops.ca.env" $root | fromYamlArray) ($template.container.env | default list)) | fromYamlArray) -}}
{{- end -}}
{{- if $steps -}}
{{- $mounts = concat $mounts (include "mlops.postgres.tls.mount" $root | fromYamlArray) -}}
{{- $volumes = concat $volumes (include "mlops.postgres.tls.volume" $root | fromYamlArray) -}}
{{- end -}}
{{- if $mounts -}}
{{- $_ := set $template.container "volumeMounts" (concat ($template.container.volumeMounts | default list) $mounts) -}}
{{- $_ := set $template "volumes" (concat ($template.volumes | default list) $volumes) -}}
{{- end -}}
{{- with get $v.resources $template.name -}}
{{- $_ := set $template.container "resources" (merge (deepCopy .) ($template.container.resources | default dict)) -}}
{{- end -}}
{{- end -}}
