{{/* SPDX-License-Identifier: GPL-3.0-or-later */}}
{{/* There is one Culvert in a cluster: what it makes on nodes has one name. So the names here do not carry the release's. */}}

{{- define "culvert.labels" -}}
app.kubernetes.io/name: culvert
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "culvert.daemonSelector" -}}
app.kubernetes.io/name: culvert
app.kubernetes.io/component: daemon
{{- end -}}

{{- define "culvert.issuerSelector" -}}
app.kubernetes.io/name: culvert
app.kubernetes.io/component: issuer
{{- end -}}

{{- define "culvert.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "culvert.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The template of a node's name, for the source of its certificate. cert-manager's driver knows the pod, and not the node. */}}
{{- define "culvert.peerName" -}}
{{- $id := .Values.identity -}}
{{- if $id.peerName -}}
{{ $id.peerName }}
{{- else if eq $id.source "certManager" -}}
URI:spiffe://{{ $id.trustDomain }}/ns/{{ .Release.Namespace }}/pod/{pod_uid}
{{- else if eq $id.source "secret" -}}
shared
{{- else -}}
URI:spiffe://{{ $id.trustDomain }}/ns/{{ .Release.Namespace }}/node/{node}
{{- end -}}
{{- end -}}

{{/* What the schema can not say, since it joins two values. */}}
{{- define "culvert.check" -}}
{{- $id := .Values.identity -}}
{{- if and (eq $id.source "certManager") (not $id.certManager.issuerName) -}}
{{- fail "identity.source is certManager, and identity.certManager.issuerName names no issuer" -}}
{{- end -}}
{{- if and (eq $id.source "podCertificate") (not $id.podCertificate.signerName) -}}
{{- fail "identity.source is podCertificate, and identity.podCertificate.signerName names no signer" -}}
{{- end -}}
{{- if and (eq $id.source "podCertificate") (not $id.peerName) -}}
{{- fail "identity.source is podCertificate, and only its signer knows how it names nodes: identity.peerName must say it" -}}
{{- end -}}
{{- if and (eq $id.source "secret") (not $id.secret.name) -}}
{{- fail "identity.source is secret, and identity.secret.name names none" -}}
{{- end -}}
{{- if and (eq $id.source "hostPath") (not $id.hostPath.path) -}}
{{- fail "identity.source is hostPath, and identity.hostPath.path names no folder" -}}
{{- end -}}
{{- if and (eq $id.source "issuer") $id.peerName (ne $id.peerName (printf "URI:spiffe://%s/ns/%s/node/{node}" $id.trustDomain .Release.Namespace)) -}}
{{- fail "identity.source is issuer, which names nodes by identity.trustDomain: identity.peerName must be left out" -}}
{{- end -}}
{{- if eq .Values.cluster.recordsNamespace .Release.Namespace -}}
{{- fail "cluster.recordsNamespace is the release's namespace: records need one of their own, in which daemons may make them and nothing else" -}}
{{- end -}}
{{- if and (or .Values.metrics.service.enabled .Values.metrics.podMonitor.enabled) (has .Values.metrics.address (list "127.0.0.1" "::1")) -}}
{{- fail (printf "metrics.service or metrics.podMonitor is on, and metrics.address %s can be reached from the node alone: 0.0.0.0 would be right" .Values.metrics.address) -}}
{{- end -}}
{{- end -}}

{{/* ADDRESS:PORT, with brackets round IPv6. */}}
{{- define "culvert.metricsListen" -}}
{{- if contains ":" .Values.metrics.address -}}
[{{ .Values.metrics.address }}]:{{ .Values.metrics.port }}
{{- else -}}
{{ .Values.metrics.address }}:{{ .Values.metrics.port }}
{{- end -}}
{{- end -}}

{{/* Where a kubelet asks: it shares the node's network. */}}
{{- define "culvert.probeHost" -}}
{{- if eq .Values.metrics.address "0.0.0.0" -}}
127.0.0.1
{{- else if eq .Values.metrics.address "::" -}}
::1
{{- else -}}
{{ .Values.metrics.address }}
{{- end -}}
{{- end -}}

{{/* A token for this pod alone that ends by itself, the cluster's CA, and the namespace: what clients look for below /var/run/secrets. */}}
{{- define "culvert.tokenVolume" -}}
- name: api-access
  projected:
    defaultMode: 0400
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end -}}
