#!/usr/bin/env bash
# Assembles CUDA's compiler and headers in a folder: tools/cuda/sdk.sh DIR
#
# They come from the Python wheels that sdk.txt pins by version and SHA-256.
# Does nothing if DIR holds them already; otherwise DIR changes only once
# everything has been fetched and tried.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: sdk.sh DIR}
python=${PYTHON:-python3}
pins=$here/sdk.txt
want=$(sha256sum <"$pins" | cut -d' ' -f1)

if [ "$(cat "$dir/sdk.sha256" 2>/dev/null)" = "$want" ]; then
	echo "$dir: CUDA SDK in place ($("$dir/bin/nvcc" --version | grep -o 'V[0-9][0-9.]*'))"
	exit 0
fi
if [ "$(uname -sm)" != "Linux x86_64" ]; then
	echo "$(uname -sm): sdk.txt pins wheels for Linux x86_64 only; install NVIDIA's CUDA toolkit and set CUDA_HOME" >&2
	exit 1
fi
mkdir -p "$dir"
work=$(mktemp -d "$dir/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "$dir: fetching CUDA's compiler and headers (105 MB, 210 MB unpacked)"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
	--require-hashes --requirement "$pins" --dest "$work/wheels" || {
	echo "could not fetch the wheels of $pins; pip (of $python) needs access to a package index" >&2
	exit 1
}
for wheel in "$work"/wheels/*.whl; do
	"$python" -m zipfile -e "$wheel" "$work/all"
done
sdk=$work/all/nvidia/cu13
# A library for programs that compile at run time; nothing here does.
rm -f "$sdk"/lib/libnvvm.so.*
chmod +x "$sdk"/bin/* "$sdk"/nvvm/bin/*
"$sdk/bin/nvcc" --version >/dev/null || { echo "the nvcc of sdk.txt does not run on this machine" >&2; exit 1; }

rm -f "$dir/sdk.sha256"
for part in bin include lib nvvm; do
	rm -rf "${dir:?}/$part"
	mv "$sdk/$part" "$dir/$part"
done
echo "$want" >"$dir/sdk.sha256"
echo "$dir: $("$dir/bin/nvcc" --version | grep release)"
