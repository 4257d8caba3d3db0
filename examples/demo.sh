#!/bin/sh
# A build from nothing to an unpacked image, twice: the second time from the cache.
# No registry and no network is needed. Usage: demo.sh BIN_DIR
set -eu
bin=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)/hello
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export BUILDKIT_STATE="$work/state"
busybox=$(command -v busybox)

# The base image's files: busybox under the names that the build uses.
mkdir -p "$work/rootfs/bin" "$work/rootfs/tmp" "$work/ctx"
cp "$busybox" "$work/rootfs/bin/busybox"
for name in sh cat printf chmod sha256sum wc test echo; do
	ln -s busybox "$work/rootfs/bin/$name"
done
cp -a "$here/." "$work/ctx/"
tar -C "$work/rootfs" --sort=name --owner=0 --group=0 --mtime=@0 -cf "$work/ctx/rootfs.tar" .

build() {
	"$bin/buildctl" build --daemonless --progress=plain --frontend dockerfile.v0 \
		--local context="$work/ctx" --local dockerfile="$work/ctx" "$@"
}

echo "==> first build: an OCI archive"
build --output type=oci,name=example.com/hello:latest,dest="$work/hello.tar"
echo "==> second build: the result as a folder, every step from the cache"
build --output type=local,dest="$work/out" 2> "$work/second.log"
cat "$work/second.log"
if grep -E '^#[0-9]+ \[(base|build|stage-2)[^]]*\]' "$work/second.log" | cut -d' ' -f1 | sort -u |
	while read -r n; do grep -q "^$n CACHED" "$work/second.log" || echo "$n"; done | grep .; then
	echo "not every step was cached" >&2
	exit 1
fi
echo "==> the image"
tar -tf "$work/hello.tar"
echo "==> the folder"
cat "$work/out/app/greetings.txt"
grep -q 'Hello, BuildKit!' "$work/out/app/greetings.txt"
echo "==> what the store holds"
"$bin/buildkitd" --addr "unix://$work/du.sock" --root "$work/state" \
	--otel-socket-path "$work/otel.sock" 2> "$work/daemon.log" &
daemon=$!
"$bin/buildctl" --addr "unix://$work/du.sock" --wait du
kill "$daemon"
wait "$daemon"
echo "demo: ok"
