#!/usr/bin/env bash
# Runs every fuzz target for a while, one after another: tools/fuzz.sh 60s. A second
# argument is a regular expression, and only the targets are run whose folder and
# name match it: tools/fuzz.sh 10m 'model/(gguf|tokenizer) |FuzzConfig'.
# FUZZ_PARALLEL says how many processes try inputs at a time.
set -euo pipefail
time=${1:-60s} which=${2:-.}
grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do
	folder=$(dirname "$file")
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file"); do
		[[ "$folder $target" =~ $which ]] || continue
		echo "== $folder $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 20x -parallel "${FUZZ_PARALLEL:-2}" "$folder" </dev/null
	done
done
