#!/usr/bin/env bash
# Build the stand-in of debian:trixie-slim with debootstrap and import it under a tag.
set -Eeuo pipefail
trap 'echo "debian.sh: ${FUNCNAME[0]:-main} failed at line ${LINENO}" >&2' ERR

usage() {
    cat <<'EOF'
USAGE
  debian.sh TAG [LABEL...]

EXIT STATUS
  0 imported, 1 failed, 2 wrong usage
EOF
}

# Remove what the original image lacks: documentation (except copyrights), translations, caches;
# and install packages without syncing the disk.
slim() {
    local root=$1
    cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'EOF'
force-unsafe-io
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
EOF
    cat >"$root/etc/apt/apt.conf.d/slim" <<'EOF'
Acquire::GzipIndexes "true";
Acquire::Languages "none";
APT::Default-Release "trixie";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };
EOF
    find "$root/usr/share/doc" -type f ! -name copyright -delete
    find "$root"/usr/share/{info,lintian,locale,man} "$root"/var/cache/{apt,debconf,ldconfig} \
        "$root"/var/lib/apt/lists "$root"/var/log "$root"/dev -mindepth 1 -delete
    mkdir -p "$root/var/cache/apt/archives/partial" "$root/var/lib/apt/lists/partial"
    # Do not start services when packages are installed.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
}

# Use the default mirror of debootstrap in the image, not the mirror of this machine.
original_sources() {
    local root=$1 mirror keyring=/usr/share/keyrings/debian-archive-keyring.pgp
    mirror=$(sed -n 's/^DEF_MIRROR="\(.*\)"$/\1/p' "$(command -v debootstrap)")
    rm -f "$root/etc/apt/sources.list"
    {
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n' \
            "${mirror:?debootstrap names no default mirror}" 'trixie trixie-updates' $keyring
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
            "$mirror-security" trixie-security $keyring
    } >"$root/etc/apt/sources.list.d/debian.sources"
}

main() {
    (($#)) || { usage >&2; exit 2; }
    local tag=$1 label changes=(--change 'CMD ["bash"]'
        --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
    shift
    for label in "$@"; do changes+=(--change "LABEL $label"); done
    directory=$(mktemp -d)
    trap 'rm -rf "$directory"' EXIT
    chmod 755 "$directory"
    debootstrap --variant=minbase trixie "$directory" "$("$(dirname "$0")/../../scripts/debian_mirror.sh")"
    slim "$directory"
    original_sources "$directory"
    tar --directory "$directory" --create . | docker import "${changes[@]}" - "$tag"
}

main "$@"
