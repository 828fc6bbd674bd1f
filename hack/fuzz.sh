#!/usr/bin/env bash
# Runs every fuzz target of the module, one by one: hack/fuzz.sh DURATION [pattern of packages]
set -euo pipefail

duration=${1:?duration, such as 20s}
pattern=${2:-./...}
failed=()
ran=0
while read -r dir package; do
	targets=$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go 2>/dev/null | awk '{print $2}' | sort -u) || true
	for target in $targets; do
		echo "== $package $target ($duration)"
		ran=$((ran + 1))
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -fuzzminimizetime 10x "$package" </dev/null || failed+=("$package $target")
	done
done < <(go list -f '{{.Dir}} {{.ImportPath}}' "$pattern")

if [[ ${#failed[@]} -gt 0 ]]; then
	printf 'fuzz target found something: %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "$ran fuzz targets, no finding"
