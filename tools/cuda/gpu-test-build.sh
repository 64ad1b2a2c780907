#!/usr/bin/env bash
# Builds tests as programs for a machine with a GPU, which may have no Go:
# tools/cuda/gpu-test-build.sh DIR PACKAGE[=TESTS]...
#
# DIR gets a compressed program for each package that has tests, and
# DIR/packages, which says in which folder each has to run and which tests, as
# -test.run takes them (all, without =TESTS). gpu-test.sh runs them.
set -euo pipefail
dir=${1:?usage: gpu-test-build.sh DIR PACKAGE[=TESTS]...}
shift
go=${GO:-go}
mkdir -p "$dir"
rm -f "$dir"/*.test "$dir"/*.test.gz "$dir/packages"
for wanted in "$@"; do
	tests=.
	case $wanted in *=*) tests=${wanted#*=} ;; esac
	"$go" list -tags cuda -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' "${wanted%%=*}" |
		while read -r package folder; do
			name=$(echo "${package#*/}" | tr / -).test
			"$go" test -tags cuda -ldflags='-s -w' -c -o "$dir/$name" "$package"
			gzip -n "$dir/$name"
			echo "$name ${folder#"$PWD"/} $tests" >>"$dir/packages"
		done
done
[ -s "$dir/packages" ] || { echo "no tests in $*" >&2; exit 1; }
echo "$dir: $(wc -l <"$dir/packages") test programs, $(du -sm "$dir" | cut -f1) MB"
