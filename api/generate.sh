#!/usr/bin/env bash
# Generates the Go code of the protos beside them. Needs protoc; installs the
# pinned protoc-gen-go into a directory of its own. With --check it changes
# nothing and fails if what is committed is stale.
set -euo pipefail

PROTOC_VERSION=3.21            # the minor version the committed code was made with
PROTOC_GEN_GO_VERSION=v1.36.12

cd "$(dirname "$0")"
if ! protoc --version 2>/dev/null | grep -qF "libprotoc $PROTOC_VERSION."; then
  echo "generate.sh: need protoc $PROTOC_VERSION.x (Debian: protobuf-compiler)" >&2
  exit 1
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
gobin=${GOBIN_PROTO:-$scratch/bin}
if [ ! -x "$gobin/protoc-gen-go" ]; then
  (cd "$scratch" && GOFLAGS=-mod=mod GOBIN="$gobin" \
    go install "google.golang.org/protobuf/cmd/protoc-gen-go@$PROTOC_GEN_GO_VERSION")
fi

out=.
if [ "${1:-}" = --check ]; then
  out=$scratch/out
  mkdir "$out"
fi

# generate FOLDER makes the code of all protos below it. Their imports begin here.
stale=0
generate() {
  local folder=$1 protos
  mapfile -t protos < <(find "$folder" -name '*.proto' | LC_ALL=C sort)
  protoc --plugin="protoc-gen-go=$gobin/protoc-gen-go" -I . \
    --go_out="$out" --go_opt=paths=source_relative "${protos[@]}"
  [ "$out" != . ] || return 0
  while read -r f; do
    cmp -s "$f" "$out/$f" || { echo "stale: $PWD/$f (run api/generate.sh)" >&2; stale=1; }
  done < <( (find "$folder" -name '*.pb.go'; cd "$out" && find "$folder" -name '*.pb.go') | LC_ALL=C sort -u)
}

generate dragoman
cd ../internal/grpctest # those of tests
generate shop
exit "$stale"
