#!/usr/bin/env bash
# Builds bin/kubeapi, the kube-apiserver (and kubectl) that the tests start, of the module in test/kubeapi. Compiling Kubernetes takes minutes
# the first time (5 on two cores), so what was built is kept, by the checksum of its sources, in the user's cache directory; from there a
# fresh clone gets it at once. DRAGOMAN_CACHE names another directory.
set -euo pipefail
cd "$(dirname "$0")/.."

sum=$(cat test/kubeapi/go.mod test/kubeapi/go.sum test/kubeapi/*.go hack/build-kubeapi.sh | sha256sum | cut -c 1-16)-$(go env GOOS)-$(go env GOARCH)
stamp=bin/.kubeapi-$sum
[[ -x bin/kubeapi && -e $stamp ]] && exit 0

cache=${DRAGOMAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dragoman}
built=$cache/kubeapi-$sum
mkdir -p bin "$cache"

# One at a time: make and a test in another terminal would otherwise compile the same thing twice.
exec 9>"$cache/kubeapi.lock"
flock 9

# The version that the API server tells clients; the linker would otherwise leave it unset.
version=$(sed -n 's|^\tk8s.io/kubernetes v||p' test/kubeapi/go.mod)
IFS=. read -r major minor _ <<<"$version"
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	ldflags+=" -X $package.gitVersion=v$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
done

if [[ ! -x $built ]]; then
	echo "building bin/kubeapi, the API server of the tests: some minutes, this once"
	start=$SECONDS
	(cd test/kubeapi && CGO_ENABLED=0 nice go build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$built.new" .)
	rm -f "$cache"/kubeapi-*-*-"$(go env GOARCH)"
	mv "$built.new" "$built"
	echo "built in $((SECONDS - start)) s"
fi

# A link costs no room; a cache on another file system needs the copy. Not in place: a test may be running what is there.
rm -f bin/.kubeapi-* bin/kubeapi.new
ln "$built" bin/kubeapi.new 2>/dev/null || cp "$built" bin/kubeapi.new
mv -f bin/kubeapi.new bin/kubeapi
touch "$stamp"
