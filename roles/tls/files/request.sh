#!/bin/sh
# Makes the key of the host, unless it has one, and prints a certificate request (PKCS #10) for it.
# Arguments: path of the key, common name, subject alternative names as openssl writes them.
set -eu
key=$1 name=$2 alternatives=$3
install -d -m 0755 "${key%/*}"
umask 077
# By rename: a run that was interrupted leaves no half a key
if ! openssl pkey -in "$key" -noout 2>/dev/null; then
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$key.new"
    mv "$key.new" "$key"
fi
exec openssl req -new -key "$key" -subj "/CN=$name" -addext "subjectAltName=$alternatives" \
    -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
    -addext extendedKeyUsage=serverAuth
