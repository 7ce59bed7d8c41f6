#!/bin/sh
# Check every shell script of the repository with shellcheck, whatever its name.
set -eu
cd "$(dirname "$0")/.."
bin=${QUALITY_BIN:-.venv/bin}
mkdir -p .cache

# Also as root in a checkout that belongs to somebody else (safe.directory).
# The symlink collections/ansible_collections/pyindex/fleet is a directory: -f leaves it out
git -c "safe.directory=$PWD" ls-files --cached --others --exclude-standard | while IFS= read -r file; do
    [ -f "$file" ] || continue
    case $file in
        *.sh) printf '%s\n' "$file" ;;
        *.*) ;;
        *) if head -n 1 "$file" | grep -Eq '^#!.*[/ ](ba|da)?sh( |$)'; then printf '%s\n' "$file"; fi ;;
    esac
done >.cache/shell_scripts
printf 'shellcheck: %s scripts\n' "$(wc -l <.cache/shell_scripts)"
xargs "$bin/shellcheck" <.cache/shell_scripts
