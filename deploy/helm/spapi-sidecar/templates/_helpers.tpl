{{- define "spapi-sidecar.name" -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "spapi-sidecar.serviceAccount" -}}
{{- default (include "spapi-sidecar.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* A native sidecar: an entry of initContainers. */}}
{{- define "spapi-sidecar.container" -}}
- name: spapi-sidecar
  image: "{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}"
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  restartPolicy: Always
  args: [run, --config, /etc/spapi-sidecar/proxy.yaml]
  startupProbe:
    exec: { command: [/spapi-sidecar, health, --config, /etc/spapi-sidecar/proxy.yaml] }
    periodSeconds: 2
    failureThreshold: 60
    timeoutSeconds: 3
  resources: {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities: { drop: [ALL] }
    seccompProfile: { type: RuntimeDefault }
  volumeMounts:
    - { name: spapi-sidecar-config, mountPath: /etc/spapi-sidecar, readOnly: true }
    - { name: spapi-sidecar-ca, mountPath: /run/spapi-ca }
    - { name: spapi-sidecar-run, mountPath: /run/spapi-sidecar }
    - { name: spapi-sidecar-state, mountPath: /var/lib/spapi-sidecar }
    - { name: spapi-sidecar-identity, mountPath: /var/run/secrets/spapi-sidecar, readOnly: true }
{{- end -}}

{{- define "spapi-sidecar.volumes" -}}
- name: spapi-sidecar-config
  configMap: { name: {{ include "spapi-sidecar.name" . }}-proxy }
- name: spapi-sidecar-ca
  emptyDir: { medium: Memory, sizeLimit: 2Mi }
- name: spapi-sidecar-run
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
- name: spapi-sidecar-state
  {{- if .Values.state.existingClaim }}
  persistentVolumeClaim: { claimName: {{ .Values.state.existingClaim }} }
  {{- else }}
  emptyDir: { sizeLimit: {{ .Values.state.size }} }
  {{- end }}
- name: spapi-sidecar-identity
  projected:
    sources:
      - serviceAccountToken: { path: token, audience: {{ .Values.vault.audience }}, expirationSeconds: 3600 }
{{- end -}}

{{- define "spapi-sidecar.appEnv" -}}
- { name: HTTPS_PROXY, value: "http://127.0.0.1:3128" }
- { name: NO_PROXY, value: "127.0.0.1,localhost,.svc,.cluster.local" }
- { name: SSL_CERT_FILE, value: /run/spapi-ca/ca-bundle.pem }
- { name: REQUESTS_CA_BUNDLE, value: /run/spapi-ca/ca-bundle.pem }
- { name: CURL_CA_BUNDLE, value: /run/spapi-ca/ca-bundle.pem }
- { name: NODE_EXTRA_CA_CERTS, value: /run/spapi-ca/ca.pem }
{{- end -}}

{{- define "spapi-sidecar.appVolumeMounts" -}}
- { name: spapi-sidecar-ca, mountPath: /run/spapi-ca, readOnly: true }
{{- end -}}
