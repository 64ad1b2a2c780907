#!/usr/bin/env bash
# Fails if `go generate ./...` changes a file, and puts nothing back.
set -euo pipefail
before=$(git ls-files -z --cached --others --exclude-standard | xargs -0 sha256sum 2>/dev/null | sort)
go generate ./...
after=$(git ls-files -z --cached --others --exclude-standard | xargs -0 sha256sum 2>/dev/null | sort)
if [ "$before" != "$after" ]; then
	diff <(echo "$before") <(echo "$after") || true
	echo "generated files were stale; commit what go generate made" >&2
	exit 1
fi
