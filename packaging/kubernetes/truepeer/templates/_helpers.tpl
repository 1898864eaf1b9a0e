{{- define "truepeer.labels" -}}
app.kubernetes.io/name: truepeer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* What each balancer must be told so that it sends a header. */ -}}
{{- define "truepeer.balancer" -}}
{{- if eq .Values.service.balancer "aws" }}
service.beta.kubernetes.io/aws-load-balancer-type: external
service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: ip
service.beta.kubernetes.io/aws-load-balancer-scheme: internet-facing
service.beta.kubernetes.io/aws-load-balancer-proxy-protocol: "*"
service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: preserve_client_ip.enabled=false,deregistration_delay.timeout_seconds=60
service.beta.kubernetes.io/aws-load-balancer-healthcheck-protocol: http
service.beta.kubernetes.io/aws-load-balancer-healthcheck-port: "9470"
service.beta.kubernetes.io/aws-load-balancer-healthcheck-path: /readyz
{{- else if eq .Values.service.balancer "hetzner" }}
load-balancer.hetzner.cloud/uses-proxyprotocol: "true"
load-balancer.hetzner.cloud/use-private-ip: "true"
{{- else if eq .Values.service.balancer "digitalocean" }}
service.beta.kubernetes.io/do-loadbalancer-enable-proxy-protocol: "true"
{{- else if eq .Values.service.balancer "openstack" }}
loadbalancer.openstack.org/proxy-protocol: v2
{{- else if eq .Values.service.balancer "ovh" }}
service.beta.kubernetes.io/ovh-loadbalancer-proxy-protocol: v2
{{- else if eq .Values.service.balancer "scaleway" }}
service.beta.kubernetes.io/scw-loadbalancer-proxy-protocol-v2: "*"
{{- else if eq .Values.service.balancer "linode" }}
service.beta.kubernetes.io/linode-loadbalancer-default-proxy-protocol: v2
{{- else if eq .Values.service.balancer "vultr" }}
service.beta.kubernetes.io/vultr-loadbalancer-proxy-protocol: "true"
{{- end }}
{{- end }}
