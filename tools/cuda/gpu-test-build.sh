#!/usr/bin/env bash
# Builds tests as programs for a machine with a GPU, which may have no Go:
# tools/cuda/gpu-test-build.sh DIR PACKAGE...
#
# DIR gets a program for each package that has tests, and DIR/packages, which
# says in which folder each has to run. gpu-test.sh runs them.
set -euo pipefail
dir=${1:?usage: gpu-test-build.sh DIR PACKAGE...}
shift
go=${GO:-go}
mkdir -p "$dir"
rm -f "$dir"/*.test "$dir/packages"
"$go" list -tags cuda -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' "$@" |
	while read -r package folder; do
		name=$(echo "${package#*/}" | tr / -).test
		"$go" test -tags cuda -ldflags='-s -w' -c -o "$dir/$name" "$package"
		echo "$name ${folder#"$PWD"/}" >>"$dir/packages"
	done
[ -s "$dir/packages" ] || { echo "no tests in $*" >&2; exit 1; }
echo "$dir: $(wc -l <"$dir/packages") test programs, $(du -sm "$dir" | cut -f1) MB"
