#!/bin/sh
# shellcheck disable=SC2310  # functions are asked as questions
# What the acceptance suite's browser needs of this machine: Debian's Chromium, and certutil, which has it trust a CA.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../molecule/shared/lib.sh
. "$root/molecule/shared/lib.sh"

missing=
have chromium || missing="$missing chromium"
have certutil || missing="$missing libnss3-tools"
# shellcheck disable=SC2086  # a list of words
[ -z "$missing" ] || apt_install "the acceptance suite's browser" $missing
