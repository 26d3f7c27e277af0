#!/usr/bin/env bash
# Install from Debian what the project needs of the system; start Docker where no engine answers.
set -Eeuo pipefail
trap 'echo "install_system.sh: ${FUNCNAME[0]:-main} failed at line ${LINENO}" >&2' ERR

readonly PLUGIN_FOLDER=/usr/local/lib/docker/cli-plugins
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly DOCKERD_LOG=/var/log/dockerd.log
readonly PATIENCE=60 # seconds for an engine to answer

usage() {
    cat <<'EOF'
USAGE
  install_system.sh GROUP...

Installs, as root or with sudo, what is missing of each GROUP, and nothing else.

GROUPS
  python    Python with venv, OpenMP, git and make: what a virtual environment needs
  shell     bats, shellcheck, jq and curl: what the scripts and their tests need
  pipeline  rsync, an SSH server and npm: what running the pipeline on this machine needs
  images  debootstrap: what tests/images/build.sh needs besides Docker
  docker    Docker Engine with compose v2 and buildx; starts it where none answers.
            An engine that is there, from wherever it came, is used as it is.

EXAMPLES
  install_system.sh python
  install_system.sh shell docker images

EXIT STATUS
  0 everything is there, 1 something could not be had (said on standard error), 2 wrong usage
EOF
}

say() { printf '==> %s\n' "$1" >&2; }
fail() { printf 'install_system.sh: %s\n' "$1" >&2; exit 1; }

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root, or sudo: $*"
    fi
}

apt() { # silent unless it fails
    local words
    words=$(as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 2>&1 </dev/null) ||
        fail "apt-get $* failed:"$'\n'"$words"
}

refresh_lists() { # once a run, and only when something is missing
    [[ -n ${lists_are_fresh:-} ]] || apt update
    lists_are_fresh=yes
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

install_packages() {
    local package missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "no apt-get here; install by hand: ${missing[*]}"
    say "installing ${missing[*]}"
    refresh_lists
    apt install -y --no-install-recommends "${missing[@]}"
}

# -- Docker -----------------------------------------------------------------------------------

engine_answers() { docker info || as_root docker info; } >/dev/null 2>&1
engine_runs() { pidof dockerd >/dev/null; }
has_plugins() { docker compose version && docker buildx version; } >/dev/null 2>&1

install_engine() {
    command -v dockerd >/dev/null || install_packages docker.io iptables
    # From trixie on the client is a package of its own.
    command -v docker >/dev/null || install_packages docker-cli
}

install_plugins() {
    refresh_lists
    local offered
    offered=$(apt-cache policy docker-compose | awk '/Candidate:/ { print $2 }')
    if dpkg --compare-versions "${offered:-0}" ge 2; then
        install_packages docker-compose docker-buildx
    else
        unpack_plugins_of_trixie
    fi
    has_plugins || fail "docker compose (v2) or docker buildx does not answer"
}

# Debian 12 has neither plugin. Their packages are taken from Debian 13, by an apt with lists of
# its own that checks signatures as always, and only the two programs are unpacked.
unpack_plugins_of_trixie() {
    local mirror place
    mirror=$("$(dirname "$0")/debian_mirror.sh")
    say "taking docker compose and buildx from Debian 13"
    place=$(mktemp -d)
    echo "deb [signed-by=$KEYRING] $mirror trixie main" >"$place/sources.list"
    mkdir "$place/lists" "$place/cache" "$place/root"
    local apt_apart=(apt-get -qq -o "Dir::Etc::SourceList=$place/sources.list"
        -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$place/lists"
        -o "Dir::Cache=$place/cache" -o APT::Sandbox::User=root)
    "${apt_apart[@]}" update >&2
    (cd "$place" && "${apt_apart[@]}" download docker-compose docker-buildx >&2)
    local package
    for package in "$place"/*.deb; do dpkg-deb -x "$package" "$place/root"; done
    as_root install -D -m 755 -t "$PLUGIN_FOLDER" "$place"/root/usr/libexec/docker/cli-plugins/*
    rm -r "$place"
}

# dockerd chooses its storage driver itself: overlay2 where it works, else fuse-overlayfs or vfs.
start_engine() {
    say "starting Docker Engine"
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl start docker
        return
    fi
    # A file left by a machine that went down would keep dockerd from starting.
    as_root rm -f /var/run/docker.pid
    # No file of the caller stays open in it: a test runner would wait for the end of its pipes.
    # shellcheck disable=SC2016 # expanded by the inner shell
    as_root bash -c 'for fd in /proc/$$/fd/*; do
            fd=${fd##*/}; ((fd < 3)) || exec {fd}>&-
        done
        setsid nohup dockerd >>"$1" 2>&1 </dev/null &' start_engine "$DOCKERD_LOG"
}

wait_for_engine() {
    local deadline=$((SECONDS + PATIENCE))
    until engine_answers; do
        if ((SECONDS >= deadline)) || { ((SECONDS > deadline - PATIENCE + 2)) && ! engine_runs; }; then
            as_root tail -n 20 "$DOCKERD_LOG" >&2 || true
            fail "Docker Engine does not answer; its last words are above ($DOCKERD_LOG)"
        fi
        sleep 0.5
    done
}

install_docker() {
    engine_answers || install_engine
    has_plugins || install_plugins
    engine_answers || engine_runs || start_engine
    wait_for_engine
    docker info >/dev/null 2>&1 ||
        fail "Docker runs, but $(id -un) may not use it: add the user to the group docker"
}

# ---------------------------------------------------------------------------------------------

main() {
    [[ ${1:-} != --help ]] || { usage; exit 0; }
    (($#)) || { usage >&2; exit 2; }
    local group
    for group in "$@"; do
        [[ $group =~ ^(python|shell|pipeline|images|docker)$ ]] || { usage >&2; exit 2; }
    done
    for group in "$@"; do
        case $group in
            python) install_packages python3 python3-venv libgomp1 git make ca-certificates ;;
            shell) install_packages bats shellcheck jq curl ;;
            pipeline)
                install_packages rsync openssh-server openssh-client
                command -v npm >/dev/null || install_packages npm
                ;;
            images) install_packages debootstrap ;;
            docker) install_docker ;;
        esac
    done
}

main "$@"
