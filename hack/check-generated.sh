#!/usr/bin/env bash
# Fails when a generated file is not what its generator writes today. The protos' code needs protoc (Debian: protobuf-compiler). The table
# of Redis commands is left out: its generator asks running servers, and pkg/redisproto's own tests compare it with one.
set -euo pipefail
cd "$(dirname "$0")/.."

api/generate.sh --check

before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
mapfile -t files < <(git grep -lE '^// Code generated .* DO NOT EDIT\.$' -- '*.go' ':!*.pb.go'; git ls-files 'manifests/crds/*.yaml')
if [[ ${#files[@]} -gt 0 ]]; then
	cp --parents -p "${files[@]}" "$before"
fi

go generate -skip rediscommands ./...

stale=()
for file in "${files[@]}"; do
	if ! cmp -s "$file" "$before/$file"; then
		stale+=("$file")
		diff -u "$before/$file" "$file" | head -n 40 || true
		cp -p "$before/$file" "$file"
	fi
done
if [[ ${#stale[@]} -gt 0 ]]; then
	printf 'stale, run make generate: %s\n' "${stale[@]}" >&2
	exit 1
fi
