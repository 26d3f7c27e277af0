#!/usr/bin/env bash
# Write the settings with which this machine reaches package registries, as build secrets.
set -Eeuo pipefail
trap 'echo "build_secrets.sh: ${FUNCNAME[0]:-main} failed at line ${LINENO}" >&2' ERR

usage() {
    cat <<'EOF'
USAGE
  build_secrets.sh DIRECTORY

Writes the files that build stages mount as secrets, so that no image contains them:
  apt.sources   this machine's Debian mirror, with trixie and unstable
  ca.crt        the certificates that this machine trusts
  clients       environment variables of package clients, to be sourced by sh
  maven.xml     this user's Maven settings

EXIT STATUS
  0 done, 1 a file could not be written, 2 wrong usage
EOF
}

apt_sources() {
    local mirror suite
    mirror=$("$(dirname "$0")/../../scripts/debian_mirror.sh")
    for suite in trixie trixie-updates unstable; do
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$mirror" "$suite"
        # Unstable changes several times a day; a mirror may have an expired version.
        printf 'Check-Valid-Until: no\nSigned-By: /usr/share/keyrings/debian-archive-keyring.pgp\n\n'
    done
}

# Print paths of mounted secrets, and the variables of this machine's package clients.
clients() {
    printf 'export SSL_CERT_FILE=%s NODE_EXTRA_CA_CERTS=%s PIP_CERT=%s CURL_CA_BUNDLE=%s\n' \
        /run/secrets/{ca,ca,ca,ca}
    local name
    if command -v go >/dev/null; then
        for name in GOPROXY GOSUMDB GONOSUMDB GONOPROXY GOPRIVATE; do
            printf 'export %s=%q\n' "$name" "$(go env "$name")"
        done
    fi
    if command -v npm >/dev/null; then
        printf 'export NPM_CONFIG_REGISTRY=%q\n' "$(npm config get registry 2>/dev/null)"
    fi
    for name in PIP_INDEX_URL UV_INDEX_URL UV_DEFAULT_INDEX; do
        [[ -z ${!name:-} ]] || printf 'export %s=%q\n' "$name" "${!name}"
    done
}

main() {
    [[ $# -eq 1 && $1 != -* ]] || { usage >&2; exit 2; }
    local directory=$1 settings=$HOME/.m2/settings.xml
    apt_sources >"$directory/apt.sources"
    cat "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" >"$directory/ca.crt"
    clients >"$directory/clients"
    if [[ -e $settings ]]; then cat "$settings"; else echo '<settings/>'; fi >"$directory/maven.xml"
}

main "$@"
