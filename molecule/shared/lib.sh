# shellcheck shell=sh disable=SC2034,SC2310
# What the lab's programs share. Source it with `root` set to the checkout.
: "${root:?}"
state=$root/.lab
# Short names for what is known machine-wide (sockets have at most 107 characters)
short=$(printf '%s' "$root" | sha256sum | cut -c1-8)

say() { printf '%s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        have sudo || die "this needs root: run it as root, or install sudo and let $(id -un) use it"
        sudo --preserve-env=http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY "$@"
    fi
}

# apt_install WHY PACKAGE...: Debian packages, from this machine's own sources
apt_install() {
    why=$1
    shift
    have apt-get || die "$why: install $* (or what your system calls it), then run this again"
    say "    installing $* ($why)"
    apt_log=$(mktemp)
    if ! {
        as_root apt-get update -o DPkg::Lock::Timeout=120 &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
                -o DPkg::Lock::Timeout=120 "$@"
    } >"$apt_log" 2>&1; then
        tail -n 20 "$apt_log" >&2
        rm -f "$apt_log"
        die "apt-get could not install $*"
    fi
    rm -f "$apt_log"
}

# phase TITLE COMMAND...: run it, and say what it is and how long it took
phase() {
    printf '==> %s\n' "$1" >&2
    shift
    phase_start=$(date +%s)
    "$@" || return
    printf '    done in %s s\n' "$(($(date +%s) - phase_start))" >&2
}

# Everything that talks to the engine finds it by DOCKER_HOST
use_engine() {
    DOCKER_HOST=$("$root/molecule/shared/engine" up) || return
    export DOCKER_HOST
    say "    Docker engine at $DOCKER_HOST"
}

# build_images SCENARIO...: what their hosts are made from
build_images() {
    have mmdebstrap || apt_install "the hosts' Debian systems are made with it" mmdebstrap
    suites=$(for scenario; do sed -n 's/^ *suite: //p' "$root/molecule/$scenario/fleet.yml"; done | sort -u)
    # shellcheck disable=SC2086  # a list of words
    "$root/.venv/bin/python" "$root/molecule/shared/image.py" $suites >/dev/null
}
