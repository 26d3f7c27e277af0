{{/* Names: the release's name, if it contains that of the chart. */}}
{{- define "marquee.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "marquee.host" -}}
{{- /* (dict "root" $ "name" NAME): the full name of a Service. */ -}}
{{ include "marquee.fullname" .root }}-{{ .name }}.{{ .root.Release.Namespace }}.svc.{{ .root.Values.clusterDomain }}
{{- end -}}

{{- define "marquee.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "marquee.labels" -}}
{{ include "marquee.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: marquee
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of a pod: its networks are those of its service in docker-compose.yml. */}}
{{- define "marquee.podLabels" -}}
{{ include "marquee.selectorLabels" . }}
{{- range .networks }}
network.marquee/{{ . }}: "true"
{{- end }}
{{- end -}}

{{- define "marquee.metadata" -}}
name: {{ include "marquee.fullname" .root }}-{{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "marquee.labels" (dict "root" .root "component" (default .name .component)) | nindent 2 }}
{{- end -}}

{{/* What all pods have: (dict "root" $ "uid" UID "serviceAccount" NAME-or-nothing). */}}
{{- define "marquee.podSpec" -}}
serviceAccountName: {{ include "marquee.fullname" .root }}{{ with .serviceAccount }}-{{ . }}{{ end }}
automountServiceAccountToken: {{ ternary true false (not (empty .serviceAccount)) }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "marquee.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* (dict "root" $ "image" KEY): image and pull policy. */}}
{{- define "marquee.image" -}}
image: {{ required (printf "images.%s is required (docs/kubernetes.md)" .image) (get .root.Values.images .image) | quote }}
imagePullPolicy: {{ .root.Values.imagePullPolicy }}
{{- end -}}

{{/* Spread over nodes and zones, where there are any. */}}
{{- define "marquee.spread" -}}
topologySpreadConstraints:
{{- $labels := .labels }}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
{{- end }}
{{- end -}}

{{/* Probes of a service that answers GET /health: (dict "port" PORT). As in docker-compose.yml. */}}
{{- define "marquee.probes" -}}
startupProbe:
  httpGet: {path: {{ default "/health" .path }}, port: {{ .port }}}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 90
readinessProbe:
  httpGet: {path: {{ default "/health" .path }}, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
livenessProbe:
  httpGet: {path: {{ default "/health" .path }}, port: {{ .port }}}
  periodSeconds: 30
  timeoutSeconds: 10
  failureThreshold: 6
{{- end -}}

{{- define "marquee.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "marquee.claim" -}}
{{- /* (dict "root" $ "name" NAME "claim" VALUES "keep" BOOL) */ -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "marquee.metadata" (dict "root" .root "name" .name "component" .component) | nindent 2 }}
  {{- if .keep }}
  annotations: {helm.sh/resource-policy: keep}
  {{- end }}
spec:
  accessModes: [{{ default "ReadWriteOnce" .claim.accessMode }}]
  {{- with .claim.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests: {storage: {{ .claim.size }}}
{{- end -}}

{{/* A volume of the node: (dict "root" $ "name" spool-or-recent). */}}
{{- define "marquee.nodeVolume" -}}
- name: {{ .name }}
{{- if eq .root.Values.node.storage.type "hostPath" }}
  hostPath: # exists once the node's shipper has started
    path: {{ .root.Values.node.storage.hostPath }}/{{ .root.Release.Namespace }}/{{ include "marquee.fullname" .root }}/{{ .name }}
    type: Directory
{{- else }}
  persistentVolumeClaim: {claimName: {{ include "marquee.fullname" .root }}-{{ .name }}}
{{- end }}
{{- end -}}

{{- define "marquee.tmp" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: {{ default "32Mi" .size }}}
{{- end -}}

{{/* Database: URL of a user (url, ownerUrl or readerUrl), and the secret with the passwords. */}}
{{- define "marquee.databaseUrl" -}}
{{- if .root.Values.mysql.enabled -}}
mysql+mysqlconnector://{{ .user }}@{{ include "marquee.host" (dict "root" .root "name" "mysql") }}:3306/marquee
{{- else -}}
{{ required (printf "database.%s is required, or mysql.enabled" .key) (get .root.Values.database .key) }}
{{- end -}}
{{- end -}}

{{- define "marquee.databaseSecret" -}}
{{- if .Values.mysql.enabled -}}
{{ include "marquee.fullname" . }}-database
{{- else -}}
{{ required "database.existingSecret is required, or mysql.enabled" .Values.database.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "marquee.databaseEnv" -}}
{{- /* (dict "root" $ "user" USER "key" KEY "password" FILE) */ -}}
- name: MARQUEE_DATABASE
  value: {{ include "marquee.databaseUrl" . | quote }}
- name: MARQUEE_DATABASE_PASSWORD_FILE
  value: /run/marquee/{{ .password }}
{{- if and .root.Values.database.ca (not .root.Values.mysql.enabled) }}
- name: MARQUEE_DATABASE_CA_FILE
  value: /run/marquee/database_ca
{{- end }}
{{- end -}}

{{- define "marquee.databaseVolume" -}}
- name: database-secret
  secret:
    secretName: {{ include "marquee.databaseSecret" .root }}
    defaultMode: 0440
    items:
      - {key: {{ .password }}, path: {{ .password }}}
      {{- if and .root.Values.database.ca (not .root.Values.mysql.enabled) }}
      - {key: database_ca, path: database_ca}
      {{- end }}
{{- end -}}

{{- define "marquee.kafkaServers" -}}
{{- if .Values.kafka.enabled -}}
{{ include "marquee.host" (dict "root" . "name" "kafka") }}:9092
{{- else -}}
{{ .Values.kafka.servers }}
{{- end -}}
{{- end -}}

{{- define "marquee.kafkaEnv" -}}
- name: MARQUEE_KAFKA_SERVERS
  value: {{ include "marquee.kafkaServers" . | quote }}
- name: MARQUEE_KAFKA_TOPIC
  value: {{ .Values.kafka.topic | quote }}
- name: MARQUEE_KAFKA_SECURITY_PROTOCOL
  value: {{ .Values.kafka.securityProtocol }}
- name: MARQUEE_KAFKA_SASL_MECHANISM
  value: {{ .Values.kafka.saslMechanism }}
- name: MARQUEE_KAFKA_USER
  value: {{ .Values.kafka.user | quote }}
{{- range .Values.kafka.secretKeys }}
- name: MARQUEE_{{ upper . }}_FILE
  value: /run/kafka/{{ . }}
{{- end }}
{{- end -}}

{{- define "marquee.kafkaVolume" -}}
{{- if .Values.kafka.secretKeys }}
- name: kafka-secret
  secret: {secretName: {{ required "kafka.existingSecret" .Values.kafka.existingSecret }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "marquee.kafkaMount" -}}
{{- if .Values.kafka.secretKeys }}
- {name: kafka-secret, mountPath: /run/kafka, readOnly: true}
{{- end }}
{{- end -}}

{{- define "marquee.mailEnv" -}}
{{- if and .Values.demo.enabled (not .Values.mail.smtpHost) }}
- name: MARQUEE_SMTP_HOST
  value: {{ include "marquee.host" (dict "root" . "name" "maildev") }}:1025
- name: MARQUEE_SMTP_TLS
  value: "false"
- name: MARQUEE_MAIL_FROM
  value: marquee@localhost
- name: MARQUEE_MAIL_TO
  value: team@localhost
{{- else }}
- name: MARQUEE_SMTP_HOST
  value: {{ .Values.mail.smtpHost | quote }}
- name: MARQUEE_SMTP_TLS
  value: {{ .Values.mail.smtpTls | quote }}
- name: MARQUEE_MAIL_FROM
  value: {{ .Values.mail.from | quote }}
- name: MARQUEE_MAIL_TO
  value: {{ .Values.mail.to | quote }}
- name: MARQUEE_SMTP_USER
  value: {{ .Values.mail.user | quote }}
{{- end }}
{{- range .Values.scheduler.secretKeys }}
{{- if has . (list "smtp_password" "slack_webhook") }}
- name: MARQUEE_{{ upper . }}_FILE
  value: /run/marquee/{{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "marquee.prometheusUrl" -}}
{{- if .Values.prometheus.enabled -}}
http://{{ include "marquee.host" (dict "root" . "name" "prometheus") }}:9090
{{- else -}}
{{ required "prometheus.url is required, or prometheus.enabled" .Values.prometheus.url }}
{{- end -}}
{{- end -}}
