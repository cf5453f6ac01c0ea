{{/* SPDX-License-Identifier: GPL-3.0-or-later */}}
{{/* drainTimeout in seconds, and 15 more for taking everything out. */}}
{{- define "culvert.graceSeconds" -}}
{{- $text := .Values.tunnel.drainTimeout -}}
{{- if hasSuffix "ms" $text -}}
16
{{- else if hasSuffix "m" $text -}}
{{ add 15 (mul 60 (trimSuffix "m" $text | int)) }}
{{- else if hasSuffix "h" $text -}}
{{ add 15 (mul 3600 (trimSuffix "h" $text | int)) }}
{{- else -}}
{{ add 15 (trimSuffix "s" $text | int) }}
{{- end -}}
{{- end -}}

{{/* A node of another architecture could not run the image. Terms that are given are joined with ours: each of them is a way to match. */}}
{{- define "culvert.affinity" -}}
{{- $arch := dict "key" "kubernetes.io/arch" "operator" "In" "values" .Values.image.architectures -}}
{{- $affinity := deepCopy .Values.daemon.affinity -}}
{{- $node := get $affinity "nodeAffinity" | default dict -}}
{{- $required := get $node "requiredDuringSchedulingIgnoredDuringExecution" | default dict -}}
{{- $terms := list -}}
{{- range (get $required "nodeSelectorTerms" | default (list dict)) -}}
{{- $terms = append $terms (merge (dict "matchExpressions" (append (.matchExpressions | default list) $arch)) .) -}}
{{- end -}}
{{- $_ := set $required "nodeSelectorTerms" $terms -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- toYaml $affinity -}}
{{- end -}}

{{- define "culvert.identityVolume" -}}
{{- $id := .Values.identity -}}
{{- if eq $id.source "certManager" }}
- name: identity
  csi:
    driver: csi.cert-manager.io
    readOnly: true
    volumeAttributes:
      csi.cert-manager.io/issuer-name: {{ $id.certManager.issuerName | quote }}
      csi.cert-manager.io/issuer-kind: {{ $id.certManager.issuerKind | quote }}
      csi.cert-manager.io/issuer-group: {{ $id.certManager.issuerGroup | quote }}
      csi.cert-manager.io/duration: {{ $id.certManager.duration | quote }}
      csi.cert-manager.io/renew-before: {{ $id.certManager.renewBefore | quote }}
      csi.cert-manager.io/uri-sans: "spiffe://{{ $id.trustDomain }}/ns/${POD_NAMESPACE}/pod/${POD_UID}"
      # Each end of a tunnel is client to some and server to others.
      csi.cert-manager.io/key-usages: digital signature,server auth,client auth
{{- else if eq $id.source "podCertificate" }}
- name: identity
  projected:
    defaultMode: 0400
    sources:
      - podCertificate:
          signerName: {{ $id.podCertificate.signerName | quote }}
          keyType: {{ $id.podCertificate.keyType }}
          maxExpirationSeconds: {{ $id.podCertificate.maxExpirationSeconds | int }}
          # Key and certificate in one file: they are always of one generation.
          credentialBundlePath: tls.pem
      - clusterTrustBundle:
          {{- if $id.podCertificate.trustBundleName }}
          name: {{ $id.podCertificate.trustBundleName | quote }}
          {{- else }}
          signerName: {{ $id.podCertificate.signerName | quote }}
          labelSelector: {}
          {{- end }}
          path: ca.crt
{{- else if eq $id.source "secret" }}
- name: identity
  secret:
    secretName: {{ $id.secret.name | quote }}
    defaultMode: 0400
{{- else if eq $id.source "hostPath" }}
- name: identity
  hostPath:
    path: {{ $id.hostPath.path | quote }}
    type: Directory
{{- end }}
{{- end -}}
