#!/bin/sh
# Install what the unit tests need beside .venv: a devpi-server and a pypiserver from the roles' locks, in .cache, and nginx, which checks
# the configuration that our role writes. Does nothing when they are there. Leaves no web server running and none that starts at boot.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=molecule/shared/lib.sh
. "${root}/molecule/shared/lib.sh"

"${root}/.venv/bin/python" "${root}/tests/devpi_server.py" >/dev/null
"${root}/.venv/bin/python" "${root}/tests/pypiserver_programs.py" >/dev/null

# libfaketime sets a clock back for nginx alone
set -- nginx libnginx-mod-http-lua libnginx-mod-http-perl libfaketime
missing=""
for package; do
    dpkg-query --show --showformat '${db:Status-Status}\n' "${package}" 2>/dev/null | grep -qx installed || missing=yes
done
[ -n "${missing}" ] || exit 0

# Debian starts a web server as soon as it is installed, unless its unit is masked
masked=""
unmask() {
    [ -z "${masked}" ] || as_root systemctl --quiet unmask nginx.service
}
trap unmask EXIT
if [ -d /run/systemd/system ] && ! systemctl cat nginx.service >/dev/null 2>&1; then
    as_root systemctl --quiet mask nginx.service
    masked=yes
fi
apt_install "the unit tests check nginx's configuration with it" "$@"
if [ -n "${masked}" ]; then
    as_root systemctl --quiet unmask nginx.service
    masked=""
    as_root systemctl --quiet disable nginx.service
fi
