#!/usr/bin/env bash
# Builds the programs that tests compare with, of the module in test/tools, into bin/, and puts the examples of their authors into
# bin/examples. What was built is kept, by the checksum of the module,
# in the user's cache directory; from there a fresh clone gets it at once. DRAGOMAN_CACHE names another directory.
set -euo pipefail
cd "$(dirname "$0")/.."

# program=package
tools=(
	json_exporter=github.com/prometheus-community/json_exporter
	statsd_exporter=github.com/prometheus/statsd_exporter
	helm=helm.sh/helm/v3/cmd/helm
	h2spec=github.com/summerwind/h2spec/cmd/h2spec
)
# folder=module:folder in it
examples=(
	json_exporter=github.com/prometheus-community/json_exporter:examples
	json_exporter_test=github.com/prometheus-community/json_exporter:test
)
# folder=module@version=checksum:folder in it, of modules that are not built
files=(
	prometheus-operator=github.com/prometheus-operator/prometheus-operator@v0.85.0=h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=:example/prometheus-operator-crd
)

sum=$(cat test/tools/go.mod test/tools/go.sum hack/build-test-tools.sh | sha256sum | cut -c 1-16)-$(go env GOOS)-$(go env GOARCH)
stamp=bin/.test-tools-$sum
[[ -e $stamp ]] && exit 0

cache=${DRAGOMAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dragoman}
built=$cache/test-tools-$sum
mkdir -p bin "$cache"

# One at a time, as hack/build-kubeapi.sh.
exec 9>"$cache/test-tools.lock"
flock 9

if [[ ! -d $built ]]; then
	echo "building the programs that tests compare with, and helm: some minutes, this once"
	rm -rf "$built.new"
	mkdir -p "$built.new"
	for tool in "${tools[@]}"; do
		(cd test/tools && CGO_ENABLED=0 nice go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$built.new/${tool%%=*}" "${tool#*=}")
	done
	mkdir "$built.new/examples"
	for example in "${examples[@]}"; do
		from=${example#*=}
		cp -R "$(cd test/tools && go list -m -f '{{.Dir}}' "${from%:*}")/${from#*:}" "$built.new/examples/${example%%=*}"
	done
	for file in "${files[@]}"; do
		from=${file#*=} module=${file#*=} module=${module%%=*}
		wanted=${from#*=} wanted=${wanted%:*}
		told=$(cd "$built.new" && go mod download -json "$module")
		got=$(sed -n 's/^\t"Sum": "\(.*\)",$/\1/p' <<<"$told")
		if [[ $got != "$wanted" ]]; then
			echo "$module is not what it was: $got" >&2
			exit 1
		fi
		cp -R "$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$told")/${from##*:}" "$built.new/examples/${file%%=*}"
	done
	chmod -R u+w "$built.new"
	rm -rf "$cache"/test-tools-*-*-"$(go env GOARCH)"
	mv "$built.new" "$built"
fi

rm -f bin/.test-tools-*
for tool in "${tools[@]}"; do
	name=${tool%%=*}
	rm -f "bin/$name.new"
	ln "$built/$name" "bin/$name.new" 2>/dev/null || cp "$built/$name" "bin/$name.new"
	mv -f "bin/$name.new" "bin/$name"
done
rm -rf bin/examples
cp -R "$built/examples" bin/examples
touch "$stamp"
