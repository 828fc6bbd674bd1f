{{- /* A file of the manifests, in the namespace of the release; quoted, since its name may be a number. */ -}}
{{- define "dragoman.moved" -}}
{{- $release := index . 0 }}
{{- $text := $release.Files.Get (index . 1) | replace "dragoman-system" $release.Release.Namespace }}
{{- $text = regexReplaceAll "namespace: ([a-z0-9-]+)" $text "namespace: \"${1}\"" }}
{{- regexReplaceAll "values: \\[([a-z0-9-]+), kube-system" $text "values: [\"${1}\", kube-system" }}
{{- end }}

{{- /* Seconds that a replica has to end: the time to hand proxies over, and 20 for all else. */ -}}
{{- define "dragoman.grace" -}}
{{- $seconds := 20 }}
{{- range regexFindAll "[0-9]+(ms|s|m)" .Values.drainTimeout -1 }}
{{- $n := regexFind "[0-9]+" . | int }}
{{- if hasSuffix "ms" . }}
{{- $seconds = add $seconds (div (add $n 999) 1000) }}
{{- else if hasSuffix "m" . }}
{{- $seconds = add $seconds (mul $n 60) }}
{{- else }}
{{- $seconds = add $seconds $n }}
{{- end }}
{{- end }}
{{- $seconds }}
{{- end }}
