#!/usr/bin/env bash
# Builds the archive that stands in for libcuda: tools/cuda/trampoline.sh DIR
#
# DIR/libcuda.a gets a jump for every driver function that gorgonia.org/cu and
# kernels/cuda/driver call, found by compiling both and asking which symbols
# they leave undefined. See trampoline.c. CGO_CFLAGS says where cuda.h is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: trampoline.sh DIR}
go=${GO:-go}
cc=${CC:-cc}
mkdir -p "$dir"
work=$(mktemp -d "$dir/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The packages' own C functions start with cu too, so what any object defines
# is taken away again.
for package in gorgonia.org/cu headinfer/kernels/cuda/driver; do
	objects=$work/objects/$(basename "$package")
	mkdir -p "$objects"
	CGO_ENABLED=1 "$go" build -tags cuda -o "$work/package.a" "$package"
	(cd "$objects" && ar x "$work/package.a" && rm -f _go_.o)
done
nm --defined-only --extern-only "$work"/objects/*/*.o 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u >"$work/defined"
nm --undefined-only "$work"/objects/*/*.o 2>/dev/null | awk '$1 == "U" && $2 ~ /^cu[A-Z]/ { print $2 }' | sort -u >"$work/undefined"
comm -13 "$work/defined" "$work/undefined" >"$work/symbols"
grep -qx cuInit "$work/symbols" || { echo "found no driver functions in the objects of gorgonia.org/cu" >&2; exit 1; }
awk '{ printf "SYMBOL(%d, %s)\n", NR - 1, $1 }' "$work/symbols" >"$work/symbols.h"

"$cc" -std=gnu11 -O2 -Wall -Wextra -Werror -fPIC -I"$work" -c "$here/trampoline.c" -o "$work/trampoline.o"
ar rcsD "$work/libcuda.a" "$work/trampoline.o"
mv "$work/libcuda.a" "$work/symbols" "$dir/"
echo "$dir/libcuda.a: $(wc -l <"$dir/symbols") driver functions"
