#!/usr/bin/env bash
# Runs the programs of gpu-test-build.sh, from the repository's root:
# tools/cuda/gpu-test.sh DIR [FLAG...]
#
# Flags go to each program, such as -test.run=TestCopies (instead of the tests
# that DIR/packages names) or -test.bench=. -test.run=^$.
# HEADINFER_TEST_MINUTES bounds each program (10), HEADINFER_TEST_LOGS names a
# folder that keeps all that each prints, what the tests measured included, and
# HEADINFER_TEST_UNDER is a command to run each under, such as
# "compute-sanitizer --error-exitcode 1 --report-api-errors no" (the tests make
# the driver refuse things on purpose).
# Prints what failed and why what was skipped was, then a last line
# "N passed, N failed, N skipped" of top-level tests; fails if any did. A program that
# ends early (a crash, no time left) counts as one more failure.
set -uo pipefail
dir=$(cd "${1:?usage: gpu-test.sh DIR [FLAG...]}" && pwd) || exit 2
shift
minutes=${HEADINFER_TEST_MINUTES:-10}
[ -s "$dir/packages" ] || { echo "$dir has no test programs; run \"make gpu-test-build\"" >&2; exit 2; }
# cuBLASLt may be here only as a Python package.
if [ -z "${HEADINFER_CUBLAS:-}" ]; then
	packages=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)
	if compgen -G "$packages/nvidia/*/lib/libcublasLt.so.*" >/dev/null; then
		export HEADINFER_CUBLAS=$packages
	fi
fi
if [ -n "${HEADINFER_TEST_LOGS:-}" ]; then
	logs=$(mkdir -p "$HEADINFER_TEST_LOGS" && cd "$HEADINFER_TEST_LOGS" && pwd) || exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log

passed=0 failed=0 skipped=0
count() { grep -c "^--- $1" "$log"; }
while read -r name folder tests; do
	gzip -dc "$dir/$name.gz" >"$work/$name" && chmod +x "$work/$name" || exit 2
	began=$SECONDS
	# shellcheck disable=SC2086 # several words
	(cd "$folder" && ${HEADINFER_TEST_UNDER:-} "$work/$name" -test.v -test.timeout="${minutes}m" -test.run="$tests" "$@") >"$log" 2>&1 </dev/null
	status=$?
	[ -z "${logs:-}" ] || cp "$log" "$logs/${name%.test}.log"
	p=$(count PASS) f=$(count FAIL) s=$(count SKIP)
	if [ $status -ne 0 ] && [ "$f" -eq 0 ]; then
		f=1
	fi
	echo "== $folder: $p passed, $f failed, $s skipped, $((SECONDS - began)) s"
	if [ "$f" -gt 0 ]; then
		grep -v '^=== ' "$log" | tail -n 200
		[ $status -lt 128 ] || echo "$name ended by signal $((status - 128))"
	else
		grep -E '^Benchmark.*[0-9]' "$log"
		# Why tests were skipped: the last message before each "--- SKIP".
		awk '/^    / { sub(/^ *[^ ]*: /, ""); why = $0 }
			/^--- SKIP/ { n[why]++ }
			END { for (w in n) print "   " n[w] " skipped: " w }' "$log"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done <"$dir/packages"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
