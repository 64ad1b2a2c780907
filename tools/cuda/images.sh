#!/usr/bin/env bash
# Compiles kernels/cuda/src/*.cu into kernels/cuda/images, which the binary
# embeds:
#
#	tools/cuda/images.sh SDK           compile, and write images and manifest
#	tools/cuda/images.sh --check SDK   fail if they are not those of the sources
#
# SDK is the folder that sdk.sh makes; sdk.txt pins what is in it, so the same
# sources give the same images on any machine. --check compares checksums with
# the manifest and, where SDK is in place, compiles everything again.
#
# An image is NAME.tar.gz with one cubin (or PTX) a source file. The manifest's
# checksum is of the tar inside, which no version of gzip changes.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
src=$root/kernels/cuda/src
images=$root/kernels/cuda/images

# PTX runs, compiled when it is loaded, on any device from 8.0 on; a cubin on
# devices of its own major version and the same or a later minor one, but 90a
# on 9.0 alone.
targets=(compute_80 sm_80 sm_89 sm_90a sm_120)
flags=(-O3 -std=c++17)

check=
if [ "${1:-}" = --check ]; then
	check=1
	shift
fi
sdk=$(realpath -m "${1:?usage: images.sh [--check] SDK}")
compiler=$(sed -n 's/^nvidia-cuda-nvcc==\([^ ]*\).*/\1/p' "$root/tools/cuda/sdk.txt")

# inputs FOLDER: what images of the sources there are made from, all that can
# change them.
inputs() {
	local f
	echo "compiler nvcc $compiler"
	echo "flags ${flags[*]}"
	for f in "$1"/*.cu "$1"/*.cuh; do
		echo "source $(sha256sum <"$f" | cut -d' ' -f1) ${f##*/}"
	done | LC_ALL=C sort -k3
}

# outputs FOLDER: the images there.
outputs() {
	local t
	for t in "${targets[@]}"; do
		if [ -e "$1/$t.tar.gz" ]; then
			echo "image $(gzip -dc "$1/$t.tar.gz" | sha256sum | cut -d' ' -f1) $t.tar.gz"
		fi
	done
}

# compile FROM TO: writes the images of the sources in FROM to TO.
compile() {
	local src=$1 out=$2 objects=$2/objects target kind suffix f name
	mkdir -p "$objects"
	for target in "${targets[@]}"; do
		mkdir -p "$objects/$target"
		case $target in
		compute_*) kind=-ptx suffix=ptx ;;
		*) kind=-cubin suffix=cubin ;;
		esac
		for f in "$src"/*.cu; do
			name=$(basename "$f" .cu)
			printf '%s\0' "$kind" "-arch=$target" -o "$objects/$target/$name.$suffix" "$name.cu"
		done
	done | (cd "$src" && xargs -0 -n 5 -P "$(nproc)" "$sdk/bin/nvcc" "${flags[@]}") ||
		{ echo "kernels/cuda/src does not compile" >&2; exit 1; }
	for target in "${targets[@]}"; do
		(cd "$objects/$target" && LC_ALL=C tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=0644 \
			--format=ustar -cf - -- *) | gzip -9n >"$out/$target.tar.gz"
	done
	rm -rf "$objects"
}

# stale DIFFERENCES: says what is wrong and what to do.
stale() {
	echo "kernels/cuda/images is not what kernels/cuda/src gives (< recorded, > found):" >&2
	echo "$1" >&2
	echo "run \"make cuda-images\" and commit kernels/cuda/images" >&2
	exit 1
}

# snapshot: copies the sources to $work/src, so that the manifest describes what
# was compiled even while somebody edits.
snapshot() {
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mkdir "$work/src"
	cp "$src"/*.cu "$src"/*.cuh "$work/src/"
}

sdk_in_place() {
	[ -x "$sdk/bin/nvcc" ] && [ "$(cat "$sdk/sdk.sha256" 2>/dev/null)" = "$(sha256sum <"$root/tools/cuda/sdk.txt" | cut -d' ' -f1)" ]
}

if [ -n "$check" ]; then
	[ -e "$images/manifest.txt" ] || { echo "$images/manifest.txt is missing; run \"make cuda-images\"" >&2; exit 1; }
	difference=$(diff <(grep -v '^#' "$images/manifest.txt") <(inputs "$src" && outputs "$images")) || stale "$difference"
	if ! sdk_in_place; then
		echo "kernels/cuda/images: checksums right; not compiled again, since there is no SDK in $sdk (make cuda-sdk)"
		exit 0
	fi
	snapshot
	compile "$work/src" "$work"
	difference=$(diff <(outputs "$images") <(outputs "$work")) || stale "$difference"
	echo "kernels/cuda/images: checksums right, and compiling gives the same"
	exit 0
fi

sdk_in_place || { echo "$sdk: no SDK as in tools/cuda/sdk.txt; run \"make cuda-sdk\"" >&2; exit 1; }
snapshot
compile "$work/src" "$work"
mkdir -p "$images"
rm -f "$images"/*.tar.gz
mv "$work"/*.tar.gz "$images/"
{
	echo "# What kernels/cuda/images was compiled from. Written by tools/cuda/images.sh."
	inputs "$work/src"
	outputs "$images"
} >"$images/manifest.txt"
du -ch "$images"/*.tar.gz | sed 's/^/  /'
