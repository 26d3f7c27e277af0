#!/usr/bin/env bash
# Install the Debian packages that the project requires, and Docker; start Docker if it is not running.
set -Eeuo pipefail

readonly PLUGIN_DIRECTORY=/usr/local/lib/docker/cli-plugins
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly DOCKERD_LOG=/var/log/dockerd.log
readonly ENGINE_TIMEOUT_SECONDS=60

usage() {
    cat <<'EOF'
USAGE
  install_system.sh GROUP...

Installs the missing packages of each GROUP, as root or with sudo.

GROUPS
  python    for the virtual environment: Python with venv, OpenMP, git, make
  shell     for the scripts and their tests: bats, GNU parallel, shellcheck, jq, curl, ps,
            systemd-analyze, gpg, HAProxy
  ssh       for the tests of deployments and copies over SSH: an SSH server and client, rsync
  pipeline  for running the CI pipeline on this machine, besides ssh: npm
  browser   for the tests of the console's pages in a browser: Chromium, npm
  spark     for training on Apache Spark: a Java runtime (17 or 21)
  images    for tests/images/build.sh, besides Docker: debootstrap
  campaign  for make campaign, besides docker: a C compiler, for the library that steps clocks
  docker    Docker Engine with compose v2 and buildx; started if it is not running.
            An installed engine of any origin is kept.

OPTIONS
  -h, --help   show this help

EXAMPLES
  install_system.sh python
  install_system.sh shell docker images

EXIT STATUS
  0  everything is installed
  1  something could not be installed or started (reason on standard error)
  2  invalid arguments
EOF
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "root or sudo is required: $*"
    fi
}

apt() { # silent unless it fails
    local output
    output=$(as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 2>&1 </dev/null) ||
        fail "apt-get $* failed:"$'\n'"$output"
}

update_package_lists() { # once a run, and only if something is missing
    [[ -n ${package_lists_updated:-} ]] || apt update
    package_lists_updated=yes
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

install_packages() {
    local package missing=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "apt-get is not available; install manually: ${missing[*]}"
    log "installing ${missing[*]}"
    update_package_lists
    apt install -y --no-install-recommends "${missing[@]}"
}

# -- Docker -----------------------------------------------------------------------------------

engine_responds() { docker info || as_root docker info; } >/dev/null 2>&1
engine_is_running() { pidof dockerd >/dev/null; }
has_plugins() { docker compose version && docker buildx version; } >/dev/null 2>&1

install_engine() {
    command -v dockerd >/dev/null || install_packages docker.io iptables
    # From trixie on the client is a separate package.
    command -v docker >/dev/null || install_packages docker-cli
}

install_plugins() {
    update_package_lists
    local candidate
    candidate=$(apt-cache policy docker-compose | awk '/Candidate:/ { print $2 }')
    if dpkg --compare-versions "${candidate:-0}" ge 2; then
        install_packages docker-compose docker-buildx
    else
        unpack_plugins_from_trixie
    fi
    has_plugins || fail "docker compose (v2) or docker buildx does not work"
}

# Debian 12 has neither plugin. Download both packages from Debian 13, with separate package lists so
# that the system's apt is not affected (signatures are verified), and unpack only the two programs.
unpack_plugins_from_trixie() {
    local mirror directory package
    mirror=$("$(dirname "${BASH_SOURCE[0]}")/debian_mirror.sh")
    log "downloading docker compose and buildx from Debian 13"
    directory=$(mktemp -d)
    echo "deb [signed-by=$KEYRING] $mirror trixie main" >"$directory/sources.list"
    mkdir "$directory/lists" "$directory/cache" "$directory/root"
    local apt_get=(apt-get -qq -o "Dir::Etc::SourceList=$directory/sources.list"
        -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$directory/lists"
        -o "Dir::Cache=$directory/cache" -o APT::Sandbox::User=root)
    "${apt_get[@]}" update >&2
    (cd "$directory" && "${apt_get[@]}" download docker-compose docker-buildx >&2)
    for package in "$directory"/*.deb; do dpkg-deb -x "$package" "$directory/root"; done
    as_root install -D -m 755 -t "$PLUGIN_DIRECTORY" "$directory"/root/usr/libexec/docker/cli-plugins/*
    rm -r "$directory"
}

# dockerd selects its storage driver: overlay2 if it works, else fuse-overlayfs or vfs.
start_engine() {
    log "starting Docker Engine"
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl start docker
        return
    fi
    # dockerd does not start if a PID file is left from before a crash.
    as_root rm -f /var/run/docker.pid
    # Close all inherited descriptors: a test runner would wait until its pipes are closed.
    # shellcheck disable=SC2016 # expanded by the inner shell
    as_root bash -c 'for fd in /proc/$$/fd/*; do
            fd=${fd##*/}; ((fd < 3)) || exec {fd}>&-
        done
        setsid nohup dockerd >>"$1" 2>&1 </dev/null &' start_engine "$DOCKERD_LOG"
}

wait_for_engine() {
    local deadline=$((SECONDS + ENGINE_TIMEOUT_SECONDS))
    until engine_responds; do
        if ((SECONDS >= deadline)) || { ((SECONDS > deadline - ENGINE_TIMEOUT_SECONDS + 2)) && ! engine_is_running; }; then
            as_root tail -n 20 "$DOCKERD_LOG" >&2 || true
            fail "Docker Engine does not respond; the end of its log is above ($DOCKERD_LOG)"
        fi
        sleep 0.5
    done
}

install_docker() {
    engine_responds || install_engine
    has_plugins || install_plugins
    engine_responds || engine_is_running || start_engine
    wait_for_engine
    docker info >/dev/null 2>&1 ||
        fail "Docker is running, but $(id -un) has no access: add the user to the group docker"
}

# ---------------------------------------------------------------------------------------------

main() {
    local group
    # shellcheck source=scripts/lib.sh
    source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    (($#)) || { usage >&2; exit 2; }
    for group in "$@"; do
        [[ $group =~ ^(python|shell|ssh|pipeline|browser|spark|images|campaign|docker)$ ]] || usage_error "unknown group $group"
    done
    for group in "$@"; do
        case $group in
            python) install_packages python3 python3-venv libgomp1 git make ca-certificates ;;
            shell) install_packages bats parallel shellcheck jq curl procps systemd gnupg haproxy ;;
            ssh) install_packages openssh-server openssh-client rsync ;;
            pipeline) command -v npm >/dev/null || install_packages npm ;;
            browser)
                install_packages chromium
                command -v npm >/dev/null || install_packages npm
                ;;
            spark) command -v java >/dev/null || install_packages default-jre-headless ;;
            images) install_packages debootstrap ;;
            campaign) install_packages gcc libc6-dev ;;
            docker) install_docker ;;
        esac
    done
}

main "$@"
