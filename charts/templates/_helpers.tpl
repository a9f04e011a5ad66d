{{/*
Helpers for all templates of the release. Subcharts use them too, so a subchart
can't be installed on its own. A helper takes its caller's context, or a list of
that context and arguments.
*/}}

{{/* Default tag of the project's images: appVersion of the umbrella's Chart.yaml,
which a subchart can't see. A test keeps the two equal. */}}
{{- define "mlops.version" -}}0.1.0{{- end -}}

{{/* Name of an object: (list . "mlflow") is mlops-mlflow in release mlops. */}}
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

{{/* Reference of an image: (list . .Values.image). What its values leave empty comes
from global.images, and with global.images.pin the digests of the project's own too. With global.images.mirror, the mirror replaces the registry of
every image that isn't the project's own. */}}
{{- define "mlops.image" -}}
{{- $images := (index . 0).Values.global.images -}}
{{- $image := index . 1 -}}
{{- $registry := $image.registry | default $images.registry -}}
{{- if and $images.mirror (ne $registry $images.registry) -}}{{- $registry = $images.mirror -}}{{- end -}}
{{- $tag := $image.tag | default $images.tag | default (include "mlops.version" .) -}}
{{- $digest := $image.digest -}}
{{- if and $images.pin (not $digest) (eq $registry $images.registry) -}}
{{- $digest = get $images.ids (include "mlops.imageName" $image) -}}
{{- if not $digest -}}{{- fail (printf "global.images.pin: global.images.ids has no digest of %s; write the values file again with `make images REGISTRY=`" $image.repository) -}}{{- end -}}
{{- end -}}
{{- printf "%s/%s:%s" $registry $image.repository $tag -}}
{{- with $digest -}}@{{ . }}{{- end -}}
{{- end -}}

{{/* Name of an image without folders, its key in global.images.ids. */}}
{{- define "mlops.imageName" -}}{{ .repository | splitList "/" | last }}{{- end -}}

{{/* Annotations of a pod: those of global.pod, the component's own, and the digests of
its images as far as global.images.ids knows them, so that an image rebuilt under the
same tag rolls the pods. (list . .Values "inference" "setup") */}}
{{- define "mlops.podAnnotations" -}}
{{- $g := (index . 0).Values.global -}}
{{- $digests := list -}}
{{- range slice . 2 -}}
{{- with get $g.images.ids . -}}{{- $digests = append $digests . -}}{{- end -}}
{{- end -}}
{{- $all := merge (dict) (get (index . 1) "podAnnotations" | default dict) $g.pod.annotations -}}
{{- with $digests -}}{{- $_ := set $all "mlops.local/images" (join "," .) -}}{{- end -}}
{{- with $all -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* Where the pods of a component may run: its node selector and tolerations are added
to those of global.pod, its affinity replaces that of global.pod. (list . .Values) */}}
{{- define "mlops.placement" -}}
{{- $all := (index . 0).Values.global.pod -}}
{{- $own := index . 1 -}}
{{- $placement := dict -}}
{{- with merge (dict) ($own.nodeSelector | default dict) $all.nodeSelector -}}{{- $_ := set $placement "nodeSelector" . -}}{{- end -}}
{{- with concat $all.tolerations ($own.tolerations | default list) -}}{{- $_ := set $placement "tolerations" . -}}{{- end -}}
{{- with $own.affinity | default $all.affinity -}}{{- $_ := set $placement "affinity" . -}}{{- end -}}
{{- with $placement -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* The service account of a component: (list . "mlflow" .Values). */}}
{{- define "mlops.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "mlops.name" . }}
  labels:
    {{- include "mlops.labels" . | nindent 4 }}
  {{- with (index . 2).serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}

{{/* What all pods have in common: the user they run as, where they may run, and no
token for Kubernetes' API unless the last argument is true.
(list . "mlflow" .Values uid [true]) */}}
{{- define "mlops.pod" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
{{- $uid := int (index . 3) -}}
{{- if hasKey $values "serviceAccount" -}}
serviceAccountName: {{ include "mlops.name" . }}
{{ end -}}
automountServiceAccountToken: {{ and (gt (len .) 4) (last .) }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $uid }}
  runAsGroup: {{ $uid }}
  fsGroup: {{ $uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with include "mlops.placement" (list $root $values) }}
{{ . }}
{{- end }}
{{- with $root.Values.global.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What all containers have in common: image, pull policy, no privileges. The end of
a failed container's log becomes the pod's message.
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

{{/* Environment of a container: the chart's variables and those of extraEnv, which
replace the chart's of the same name. Kubernetes accepts a name only once.
(list variables .Values.extraEnv) */}}
{{- define "mlops.env" -}}
{{- $extra := index . 1 -}}
{{- $names := list -}}
{{- range $extra -}}
{{- if has .name $names -}}{{- fail (printf "extraEnv: the variable %s is listed twice" .name) -}}{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $all := list -}}
{{- range index . 0 -}}
{{- if not (has .name $names) -}}{{- $all = append $all . -}}{{- end -}}
{{- end -}}
{{- with concat $all $extra -}}{{- toYaml . -}}{{- end -}}
{{- end -}}

{{/* Image and resources of the containers that only wait for a service. */}}
{{- define "mlops.setupContainer" -}}
{{- $resources := .Values.global.waitResources | default (dict "requests" (dict "cpu" "10m" "memory" "16Mi") "limits" (dict "memory" "64Mi")) -}}
{{- include "mlops.container" (list . (dict "registry" "" "repository" "setup" "tag" "" "digest" "") $resources) -}}
{{- end -}}

{{/* An init container that waits until a database can be used, and logs what it
waits for. (list . "mlflow" secret user-key password-key) */}}
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
    {{- include "mlops.postgres.tls.env" $root | nindent 4 }}
  {{- include "mlops.setupContainer" $root | nindent 2 }}
  {{- with include "mlops.postgres.tls.mount" $root }}
  volumeMounts:
    {{- . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Not empty if the release's own servers have TLS. */}}
{{- define "mlops.tls" -}}
{{- if get (.Values.global.tls | default dict) "enabled" -}}yes{{- end -}}
{{- end -}}
{{/* http or https, for the release's own servers. */}}
{{- define "mlops.scheme" -}}
{{- if include "mlops.tls" . -}}https{{- else -}}http{{- end -}}
{{- end -}}
{{/* The Secret of a server's certificate: (list . "mlflow"). */}}
{{- define "mlops.tls.secret" -}}
{{- $own := include "mlops.name" (list (index . 0) (printf "%s-tls" (index . 1))) -}}
{{- if eq (index . 1) "postgres" -}}{{- (index . 0).Values.global.postgres.tlsSecret | default $own -}}{{- else -}}{{- $own -}}{{- end -}}
{{- end -}}
{{/* Volumes of a server: its certificate and its key. (list . "mlflow") */}}
{{- define "mlops.tls.volume" -}}
- name: tls
  secret:
    secretName: {{ include "mlops.tls.secret" . }}
    items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
{{- end -}}
{{- define "mlops.tls.mount" -}}
- {name: tls, mountPath: /etc/mlops-tls, readOnly: true}
{{- end -}}
{{/* The container that is the TLS of a server without: it listens for the pod, and reaches
the server within it. (list . "https" 5000 "http://127.0.0.1:5001") */}}
{{- define "mlops.tls.container" -}}
- name: tls
  {{- include "mlops.setupContainer" (index . 0) | nindent 2 }}
  args: [tls, ":{{ index . 2 }}", {{ index . 3 | quote }}, /etc/mlops-tls]
  ports:
    - {name: {{ index . 1 }}, containerPort: {{ index . 2 }}}
  readinessProbe:
    tcpSocket: {port: {{ index . 1 }}}
    periodSeconds: 5
  livenessProbe:
    tcpSocket: {port: {{ index . 1 }}}
    periodSeconds: 30
    failureThreshold: 4
  volumeMounts:
    {{- include "mlops.tls.mount" . | nindent 4 }}
{{- end -}}
{{/* What a probe asks: (list . "/health" "http" 5000), the port's name and number. With TLS
another container of the pod may have the port, whose name a probe does not know. */}}
{{- define "mlops.probe" -}}
{{- if include "mlops.tls" (index . 0) -}}{path: {{ index . 1 }}, port: {{ index . 3 }}, scheme: HTTPS}{{- else -}}{path: {{ index . 1 }}, port: {{ index . 2 }}}{{- end -}}
{{- end -}}
{{/* What a client of these servers needs to verify their certificates: a variable, an item
of volumeMounts, and one of volumes; all empty without TLS. With this variable, our programs
trust these authorities beside those of the image. */}}
{{- define "mlops.ca.env" -}}
{{- if include "mlops.tls" . -}}
- {name: SSL_CERT_FILE, value: /etc/mlops-ca/ca.crt}
{{- end -}}
{{- end -}}
{{- define "mlops.ca.mount" -}}
{{- if include "mlops.tls" . -}}
- {name: ca, mountPath: /etc/mlops-ca, readOnly: true}
{{- end -}}
{{- end -}}
{{- define "mlops.ca.volume" -}}
{{- if include "mlops.tls" . -}}
- name: ca
  secret:
    secretName: {{ include "mlops.ca.secret" . }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end -}}
{{- end -}}
{{/* The Secret with the certificates of the authorities: the release's own, or that of a
certificate by cert-manager, which is there for nothing else. */}}
{{- define "mlops.ca.secret" -}}
{{- include "mlops.name" (list . (ternary "ca-tls" "ca" (not (empty (include "mlops.tls.issuer" .))))) -}}
{{- end -}}
{{/* cert-manager's issuer, as JSON; empty: the release makes the certificates. */}}
{{- define "mlops.tls.issuer" -}}
{{- $manager := get (.Values.global.tls | default dict) "certManager" | default dict -}}
{{- if and (include "mlops.tls" .) $manager.clusterIssuer -}}{{- dict "kind" "ClusterIssuer" "name" $manager.clusterIssuer | toJson -}}
{{- else if and (include "mlops.tls" .) $manager.issuer -}}{{- dict "kind" "Issuer" "name" $manager.issuer | toJson -}}{{- end -}}
{{- end -}}

{{/* PGSSLMODE. With TLS in the release, the bundled Postgres has it too. */}}
{{- define "mlops.postgres.sslMode" -}}
{{- $g := .Values.global.postgres -}}
{{- if and (include "mlops.tls" .) (not $g.host) -}}verify-full{{- else -}}{{- $g.sslMode -}}{{- end -}}
{{- end -}}
{{/* Not empty if Postgres' certificate is verified. */}}
{{- define "mlops.postgres.tls.verified" -}}
{{- if has (include "mlops.postgres.sslMode" .) (list "verify-ca" "verify-full") -}}yes{{- end -}}
{{- end -}}
{{/* Not empty if the bundled Postgres has TLS: connections to it require that. */}}
{{- define "mlops.postgres.tls.serves" -}}
{{- if and (not .Values.global.postgres.host) (has (include "mlops.postgres.sslMode" .) (list "require" "verify-ca" "verify-full")) -}}yes{{- end -}}
{{- end -}}
{{/* The Secret with the certificates of the authorities whose servers are trusted; empty:
those of the image. */}}
{{- define "mlops.postgres.tls.authorities" -}}
{{- if include "mlops.postgres.tls.verified" . -}}
{{- if .Values.global.postgres.host -}}{{ .Values.global.postgres.caSecret }}{{- else -}}{{ include "mlops.tls.secret" (list . "postgres") }}{{- end -}}
{{- end -}}
{{- end -}}
{{- define "mlops.postgres.tls.rootcert" -}}
{{- if include "mlops.postgres.tls.authorities" . -}}/etc/postgres-ca/ca.crt{{- else if include "mlops.postgres.tls.verified" . -}}system{{- end -}}
{{- end -}}
{{/* Certificates whose end the page tells Prometheus, as JSON: name to Secret. The one that
cert-manager makes for the Ingress has a known name. */}}
{{- define "mlops.certificates" -}}
{{- $root := . -}}
{{- $all := dict "ingress" (include "mlops.name" (list . "tls")) -}}
{{- if include "mlops.postgres.tls.serves" . -}}{{- $_ := set $all "postgres" (include "mlops.tls.secret" (list . "postgres")) -}}{{- end -}}
{{- if include "mlops.tls" . -}}
{{- range list "inference" "ui" "mlflow" "minio" -}}{{- $_ := set $all . (include "mlops.tls.secret" (list $root .)) -}}{{- end -}}
{{- end -}}
{{- range .Values.certificates -}}{{- $_ := set $all . . -}}{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* Variables of libpq, as items of a list. */}}
{{- define "mlops.postgres.tls.env" -}}
- {name: PGSSLMODE, value: {{ include "mlops.postgres.sslMode" . }}}
{{- with include "mlops.postgres.tls.rootcert" . }}
- {name: PGSSLROOTCERT, value: {{ . }}}
{{- end }}
{{- end -}}
{{/* An item of volumeMounts, and one of volumes; empty: none is needed. */}}
{{- define "mlops.postgres.tls.mount" -}}
{{- if include "mlops.postgres.tls.authorities" . -}}
- {name: postgres-ca, mountPath: /etc/postgres-ca, readOnly: true}
{{- end -}}
{{- end -}}
{{- define "mlops.postgres.tls.volume" -}}
{{- with include "mlops.postgres.tls.authorities" . -}}
- name: postgres-ca
  secret:
    secretName: {{ . }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end -}}
{{- end -}}

{{/* Addresses of the services: the bundled ones, or those named in global. */}}
{{- define "mlops.postgres.host" -}}
{{- .Values.global.postgres.host | default (include "mlops.name" (list . "postgres")) -}}
{{- end -}}
{{- define "mlops.postgres.port" -}}
{{- if .Values.global.postgres.host -}}{{ int .Values.global.postgres.port }}{{- else -}}5432{{- end -}}
{{- end -}}
{{- define "mlops.s3.endpoint" -}}
{{- .Values.global.s3.endpoint | default (printf "%s://%s:9000" (include "mlops.scheme" .) (include "mlops.name" (list . "minio"))) -}}
{{- end -}}
{{- define "mlops.mlflow.uri" -}}
{{- .Values.global.mlflow.uri | default (printf "%s://%s:5000" (include "mlops.scheme" .) (include "mlops.name" (list . "mlflow"))) -}}
{{- end -}}
{{/* Not empty if MLflow requires a login: the bundled one, or an existing one whose login is
set. */}}
{{- define "mlops.mlflow.login" -}}
{{- $mlflow := .Values.global.mlflow -}}
{{- if $mlflow.uri -}}{{- if $mlflow.existingSecret -}}yes{{- end -}}{{- else if $mlflow.login -}}yes{{- end -}}
{{- end -}}
{{/* Not empty if requests to inference and the page need an API key. */}}
{{- define "mlops.keys" -}}
{{- $auth := .Values.global.auth -}}
{{- if or (eq $auth.apiKeys "on") (and (eq $auth.apiKeys "auto") $auth.behindIngress) -}}yes{{- end -}}
{{- end -}}
{{/* Names by which clients may call one of our servers, joined by commas: its own, localhost
for forwarded ports, and allowedHosts. Empty: any, since nothing else here knows what the
nodes, a load balancer or an Ingress are called: (list . component). */}}
{{- define "mlops.hosts" -}}
{{- $root := index . 0 -}}
{{- $name := include "mlops.name" . -}}
{{- with $root.Values.allowedHosts -}}
{{- $space := $root.Release.Namespace -}}
{{- concat (list $name (printf "%s.%s" $name $space) (printf "%s.%s.svc" $name $space) (printf "%s.%s.svc.cluster.local" $name $space) "localhost") . | uniq | join "," -}}
{{- end -}}
{{- end -}}
{{/* The folder of the files of API keys, as a volume: the user's, and the release's own key.
Of both, only hashes are there. */}}
{{- define "mlops.keys.volume" -}}
- name: keys
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .Values.global.auth.existingSecret | default (include "mlops.name" (list . "api-keys")) }}
          optional: true
      - secret:
          name: {{ include "mlops.name" (list . "internal-key-hash") }}
{{- end -}}
{{- define "mlops.prometheus.uri" -}}
{{- .Values.global.prometheus.uri | default (printf "http://%s:9090" (include "mlops.name" (list . "prometheus"))) -}}
{{- end -}}

{{/* Names of the Secrets: the release's own, or existing ones named in global. */}}
{{- define "mlops.secret.postgres" -}}
{{- .Values.global.postgres.existingSecret | default (include "mlops.name" (list . "postgres")) -}}
{{- end -}}
{{- define "mlops.secret.app" -}}
{{- .Values.global.postgres.appSecret | default (include "mlops.name" (list . "postgres-app")) -}}
{{- end -}}
{{/* The login of a step or of readers: (list . "load"). One that exists for all steps wins over
those that the release generates, since set-up may not be able to make their roles. */}}
{{- define "mlops.secret.step" -}}
{{- $g := (index . 0).Values.global.postgres -}}
{{- dig (index . 1) "secret" "" ($g.roles | default dict) | default $g.appSecret | default (include "mlops.name" (list (index . 0) (printf "postgres-%s" (index . 1)))) -}}
{{- end -}}
{{/* The roles of steps and readers that the set-up Job makes, as a JSON array. */}}
{{- define "mlops.postgres.programs" -}}
{{- $g := .Values.global.postgres -}}
{{- $programs := list -}}
{{- range list "load" "clean" "split" "train" "promote" "serve" "score" "read" -}}
{{- if or (not $g.appSecret) (dig . "secret" "" ($g.roles | default dict)) -}}{{- $programs = append $programs . -}}{{- end -}}
{{- end -}}
{{- toJson $programs -}}
{{- end -}}
{{/* Not empty if inference reads earlier rows from Postgres: those of the release's own
data set, unless that is switched off, or only a role that may write is there for it. Takes
the root context or inference's. */}}
{{- define "mlops.inference.follows" -}}
{{- $inference := .Values.inference | default .Values -}}
{{- $g := .Values.global.postgres -}}
{{- if and (not $inference.model) (or (not $g.appSecret) (dig "serve" "secret" "" ($g.roles | default dict))) (ne (get ($inference.earlierRows | default dict) "follow" | toString) "false") -}}yes{{- end -}}
{{- end -}}
{{/* inference.autoscaling as JSON, with the defaults of values.yaml for keys that a release
upgraded with --reuse-values lacks. Takes inference's values. */}}
{{- define "mlops.autoscaling" -}}
{{- include "mlops.filled" (list (.autoscaling | default dict) (dict "enabled" false "minReplicas" 2 "maxReplicas" 4 "cpu" "700m" "metrics" list "calmSeconds" 300 "external" false)) -}}
{{- end -}}
{{/* The most servers of inference at a time, but for one more in a rollout. Takes its values. */}}
{{- define "mlops.servers" -}}
{{- $auto := include "mlops.autoscaling" . | fromJson -}}
{{- if $auto.enabled -}}{{ int $auto.maxReplicas }}{{- else -}}{{ int .replicas }}{{- end -}}
{{- end -}}

{{/* Limits of the roles that the set-up Job makes, as a JSON object. A release upgraded with
--reuse-values may have none. Takes the root context. */}}
{{- define "mlops.postgres.limits" -}}
{{- $limits := dict -}}
{{- $defaults := (.Files.Get "defaults.yaml" | fromYaml).global.postgres.roles -}}
{{- $roles := pick $defaults "serve" "score" "monitor" "figures" -}}
{{- range $key, $role := .Values.global.postgres.roles -}}{{- $_ := set $roles $key (include "mlops.filled" (list $role (get $defaults $key)) | fromJson) -}}{{- end -}}
{{- range $key, $role := $roles -}}
{{- $name := get (dict "owner" "mlops" "mlflow" "mlflow" "argo" "argo") $key | default (printf "mlops_%s" $key) -}}
{{- $all := dict -}}
{{- range list "statementTimeout" "idleInTransactionTimeout" "lockTimeout" -}}
{{- $_ := set $all . (get $role . | toString) -}}
{{- end -}}
{{- $connections := int $role.connections -}}
{{- if and (eq $key "mlflow") (gt $connections 0) -}}{{- $connections = mul $connections (int $.Values.mlflow.workers) -}}{{- end -}}
{{- if and (eq $key "serve") (gt $connections 0) -}}{{- $connections = add $connections (mul 6 (sub (include "mlops.servers" $.Values.inference | int) 1)) -}}{{- end -}}
{{- $_ := set $all "connections" $connections -}}
{{- $_ := set $limits $name $all -}}
{{- end -}}
{{- toJson $limits -}}
{{- end -}}
{{/* How many connections the bundled Postgres should allow, if it allows fewer: those of all
roles, 3 that it reserves for superusers and 10 for backups and people. Empty if there are enough, or a
role has no limit. Takes the root context. */}}
{{- define "mlops.postgres.short" -}}
{{- if .Values.postgres.enabled -}}
{{- $sum := 13 -}}
{{- $unlimited := false -}}
{{- range include "mlops.postgres.limits" . | fromJson -}}
{{- $sum = add $sum (int .connections) -}}
{{- if lt (int .connections) 0 -}}{{- $unlimited = true -}}{{- end -}}
{{- end -}}
{{- if and (not $unlimited) (gt (int $sum) (dig "max_connections" 100 .Values.postgres.settings | int)) -}}{{ $sum }}{{- end -}}
{{- end -}}
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
{{- define "mlops.secret.s3-scorer" -}}
{{- .Values.global.s3.scorerSecret | default .Values.global.s3.existingSecret | default (include "mlops.name" (list . "s3-scorer")) -}}
{{- end -}}
{{/* The bucket for scored tables. A release upgraded with --reuse-values names none. */}}
{{- define "mlops.s3.scores" -}}
{{- .Values.global.s3.buckets.scores | default "scores" -}}
{{- end -}}

{{/* Not empty if the release has the load tester's page. Takes the root context. */}}
{{- define "mlops.loadtest" -}}
{{- if and .Values.inference.enabled (include "mlops.defaulted" (list . "loadtest") | fromJson).enabled -}}yes{{- end -}}
{{- end -}}

{{/* One of the chart's values, as JSON, with this chart's defaults for keys that it lacks:
under --reuse-values it comes from the chart that was installed before. Takes the root
context: (list . "networkPolicies") */}}
{{- define "mlops.defaulted" -}}
{{- $defaults := (index . 0).Files.Get "defaults.yaml" | fromYaml -}}
{{- include "mlops.filled" (list (get (index . 0).Values (index . 1) | default dict) (get $defaults (index . 1))) -}}
{{- end -}}

{{/* A map as JSON, with the keys of another one that it lacks, down to the maps in it. Other
than with merge, a value that is false or empty stays: (list map defaults) */}}
{{- define "mlops.filled" -}}
{{- $all := dict -}}
{{- range $key, $value := index . 0 -}}{{- $_ := set $all $key $value -}}{{- end -}}
{{- range $key, $value := index . 1 -}}
{{- if not (hasKey $all $key) -}}{{- $_ := set $all $key $value -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $all $key)) -}}
{{- $_ := set $all $key (include "mlops.filled" (list (get $all $key) $value) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{/* The values of postgres.exporter as JSON; empty if the release has none. Takes the root
context. */}}
{{- define "mlops.postgres.exporter" -}}
{{- $postgres := include "mlops.defaulted" (list . "postgres") | fromJson -}}
{{- if and $postgres.enabled $postgres.exporter.enabled -}}{{ toJson $postgres.exporter }}{{- else -}}{}{{- end -}}
{{- end -}}

{{/* Not empty if Grafana and the page read metrics of versions from MLflow's database: where
set-up makes their role. Takes the root context. */}}
{{- define "mlops.figures" -}}
{{- $v := .Values -}}
{{- if and (or $v.grafana.enabled $v.ui.enabled) $v.mlflow.enabled (or $v.postgres.enabled $v.global.postgres.existingSecret) -}}yes{{- end -}}
{{- end -}}

{{/* The same of prometheus.alertmanager. */}}
{{- define "mlops.alertmanager" -}}
{{- $prometheus := include "mlops.defaulted" (list . "prometheus") | fromJson -}}
{{- if and $prometheus.enabled $prometheus.alertmanager.enabled -}}{{ toJson $prometheus.alertmanager }}{{- else -}}{}{{- end -}}
{{- end -}}

{{/* The series of postgres_exporter that are kept: of Postgres' some 350 settings one is of
use, and what the exporter says of its own process is not Postgres'. */}}
{{- define "mlops.postgres.series" -}}
pg_(up|database_size_bytes|locks_count|long_running_transactions.*|settings_max_connections|stat_activity_(count|max_tx_duration)|stat_database_.*)
{{- end -}}

{{/* Names of the Secrets that the release makes for itself, those included that these
values don't need. */}}
{{- define "mlops.secrets.own" -}}
postgres postgres-app postgres-load postgres-clean postgres-split postgres-train postgres-promote postgres-serve postgres-score postgres-read postgres-monitor postgres-figures postgres-mlflow postgres-argo s3 s3-mlflow s3-loader s3-scorer minio-metrics mlflow-admin mlflow-steps mlflow-inference grafana loadtest postgres-tls minio-tls mlflow-tls inference-tls ui-tls ca signing signers
{{- end -}}

{{/* The data set's YAML. Takes the context of the subchart pipelines, which holds the
example. */}}
{{- define "mlops.dataset.spec" -}}
{{- .Values.global.dataset.spec | default (.Files.Get "workflows/datasets/diabetes.yaml") -}}
{{- end -}}

{{/* A name from that YAML: (list .Subcharts.pipelines "model"). */}}
{{- define "mlops.dataset.key" -}}
{{- $spec := include "mlops.dataset.spec" (index . 0) | fromYaml -}}
{{- with $spec.Error -}}{{- fail (printf "global.dataset.spec is not YAML: %s" .) -}}{{- end -}}
{{- $value := get $spec (index . 1) -}}
{{- if not (and (kindIs "string" $value) (regexMatch "^[A-Za-z0-9][A-Za-z0-9._-]*$" (toString $value))) -}}
{{- fail (printf "global.dataset.spec: %s is missing or not a name; use letters, digits, dots, dashes and underscores" (index . 1)) -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{/* URL of the pipeline's source; empty: the data set's own. A table that came with
the release wins over pipelines.source, which a values file written by `make images`
sets for the example. Takes the context of the subchart pipelines. */}}
{{- define "mlops.source" -}}
{{- if .Values.global.dataset.table -}}
{{- printf "s3://%s/%s.csv" .Values.global.s3.buckets.sources (include "mlops.dataset.key" (list . "name")) -}}
{{- else -}}
{{- .Values.source -}}
{{- end -}}
{{- end -}}

{{/* The same, or else the address in the data set's YAML. */}}
{{- define "mlops.table" -}}
{{- include "mlops.source" . | default (include "mlops.dataset.url" .) -}}
{{- end -}}
{{- define "mlops.dataset.url" -}}
{{- with get (include "mlops.dataset.spec" . | fromYaml) "source" -}}
{{- if kindIs "map" . -}}{{- get . "url" | toString -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Spec of a service's volume claim. */}}
{{- define "mlops.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .Values.persistence.storageClass | default .Values.global.storageClass }}
storageClassName: {{ . | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .Values.persistence.size }}
{{- end -}}

{{/* A size such as 10Gi in MiB, so that two spellings of one size are equal; others stay
as they are. */}}
{{- define "mlops.mebibytes" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" $text -}}
{{- $factor := get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) (trimPrefix $number $text) -}}
{{- if and $number $factor -}}{{- mulf (float64 $number) $factor | printf "%.3f" -}}{{- else -}}{{- $text -}}{{- end -}}
{{- end -}}

{{/* An amount of CPU such as 1500m or 1.5 in thousandths of a core. */}}
{{- define "mlops.millicores" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}{{- trimSuffix "m" $text -}}{{- else -}}{{- mulf (float64 $text) 1000 | printf "%.0f" -}}{{- end -}}
{{- end -}}

{{/* The NodePort of a Service; 0 lets Kubernetes choose a free one. */}}
{{- define "mlops.nodePort" -}}
{{- if and (eq .type "NodePort") .nodePort -}}
nodePort: {{ int .nodePort }}
{{- end -}}
{{- end -}}
