#!/bin/sh
# Installs the Debian packages of the given kinds (build, run, test) that are missing.
set -eu
dir=$(dirname "$0")
missing=
for kind in "$@"; do
	for p in $(awk -v k="$kind" '$1 !~ /^#/ && $2 == k { print $1 }' "$dir/packages.txt"); do
		dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed ||
			missing="$missing $p"
	done
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "missing packages:$missing (run as root to install them)" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
# shellcheck disable=SC2086
apt-get -qy install --no-install-recommends $missing
