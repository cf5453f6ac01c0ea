{{/* SPDX-License-Identifier: GPL-3.0-or-later */}}
{{/* culvert.yaml, the same for all nodes; --node says on which of them it is read. */}}
{{- define "culvert.config" -}}
runtime_directory: /run/culvert
kernel:
  bpffs: /host/bpf
  sysctl: /host/sysctl
identity:
{{- if eq .Values.identity.source "issuer" }}
  directory: /run/culvert/identity
  signer: culvert.dev/node
{{- else }}
  directory: /etc/culvert/identity
{{- end }}
  peer_name: {{ include "culvert.peerName" . | quote }}
nodes:
  kubernetes:
    namespace: {{ .Release.Namespace }}
    records_namespace: {{ .Values.cluster.recordsNamespace }}
    daemonset: culvert
    pod_ranges: {{ .Values.cluster.podRanges }}
    service_ranges: {{ .Values.cluster.serviceRanges | toJson }}
    allow_pod_opt_out: {{ .Values.cluster.allowPodOptOut }}
tunnel:
  port: {{ .Values.tunnel.port }}
  workers: {{ .Values.tunnel.workers }}
  tunnels_per_peer: {{ .Values.tunnel.tunnelsPerPeer }}
  memory: {{ .Values.tunnel.memory }}
  peer_timeout: {{ .Values.tunnel.peerTimeout }}
  drain_timeout: {{ .Values.tunnel.drainTimeout }}
  idle_timeout: {{ .Values.tunnel.idleTimeout }}
capture:
  devices: {{ .Values.capture.devices | toJson }}
  mode: {{ .Values.capture.mode }}
  connect: {{ .Values.capture.connect }}
  older_flows: {{ .Values.capture.olderFlows }}
  cluster_pods: {{ .Values.capture.clusterPods | toJson }}
  exclude: {{ .Values.capture.exclude | toJson }}
metrics:
  listen: {{ include "culvert.metricsListen" . | quote }}
log:
  level: {{ .Values.log.level }}
{{- end -}}
