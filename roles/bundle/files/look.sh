#!/bin/sh
# look.sh PYTHON FOLDER PACKAGE...: says as JSON what this host is, for which a bundle is made and by which it is
# checked: its Python (PYTHON, or else the operating system's), suite and machine, which of the packages it lacks, and
# how many bytes are free where FOLDER is or will be.
set -eu
export LC_ALL=C
python=$1 folder=$2
shift 2
# shellcheck source=/dev/null
. /etc/os-release
if [ -z "$python" ]; then
    case " ${ID:-} ${ID_LIKE:-} " in
        *" rhel "* | *" fedora "*) python=/usr/bin/python3.12 ;;
        *) python=/usr/bin/python3 ;;
    esac
fi
[ -x "$python" ] || { echo "$python is not there" >&2; exit 1; }
suite=
missing=
if command -v dpkg-query >/dev/null; then
    suite=${VERSION_CODENAME:-}
    for package; do
        [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing="$missing $package"
    done
fi
while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
exec "$python" - "$folder" "$suite" "$missing" <<'PYTHON'
import json, platform, shutil, sys

folder, suite, missing = sys.argv[1:]
print(json.dumps({
    "python": platform.python_version(),
    "glibc": platform.libc_ver()[1],
    "machine": platform.machine(),
    "suite": suite,
    "missing_packages": missing.split(),
    "free_bytes": shutil.disk_usage(folder).free,
}))
PYTHON
