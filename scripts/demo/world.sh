# shellcheck shell=bash disable=SC2034 # CURRENT is said when something fails
# What the demo needs before its first step, and how all of it goes away again.

demo_up() {
    CURRENT="the preparation"
    refuse_what_cannot_be
    mkdir -p "${PLACE%/*}"
    mkdir -m 700 "$PLACE" # what containers share in there is open to every user
    trap 'broken "${FUNCNAME[*]:0:3}" "$LINENO"' ERR
    trap interrupted INT TERM
    SECONDS=0
    printf '==> preparing; details: %s\n' "${LOG#"$PWD/"}"
    make_repository
    configure_server
    build_images
    show "installing what the server needs to release (.venv)"
    quietly make -C "$SERVER" .venv/.deployment
    PREPARED=$SECONDS
    SECONDS=0
    eight_steps
    printf '\n==> done in %d min %02d s, after %d s of preparation (images, .venv). It goes on running.\n' \
        $((SECONDS / 60)) $((SECONDS % 60)) "$PREPARED"
    look "$URL/recommend/42  $PROMETHEUS  $MAILS  cd $HERE && docker compose ps"
    look "make demo-down removes it all"
}

refuse_what_cannot_be() {
    local name port
    for name in docker git jq curl make python3; do
        command -v "$name" >/dev/null || fail "there is no $name here (scripts/install_system.sh python shell docker)"
    done
    docker info >/dev/null 2>&1 || fail "no Docker engine answers (scripts/install_system.sh docker)"
    [[ ! -e $PLACE && -z $(left_of containers)$(left_of volumes) ]] ||
        fail "the demo is up, or something of one is left in $PLACE; make demo-down removes it"
    for port in 8082 8083 9090 9093 9094 1025 1080; do
        ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
            fail "port $port of 127.0.0.1 is in use (another stack? docker compose down)"
    done
}

# Where versions are pushed to: this clone's HEAD, and a directory for DVC beside it.
make_repository() {
    git config --file "$GIT_CONFIG_GLOBAL" safe.directory '*'
    git config --file "$GIT_CONFIG_GLOBAL" user.name Developer
    git config --file "$GIT_CONFIG_GLOBAL" user.email developer@localhost
    [[ -z $(git status --porcelain) ]] || show "changes that are not committed are left out"
    mkdir -m 777 "$REMOTES" "$REMOTES/versions"
    quietly git init --bare --shared=0666 --initial-branch=main "$REMOTES/origin.git"
    git --git-dir "$REMOTES/origin.git" config receive.shallowUpdate true # this clone may be shallow
    quietly git push "$REMOTES/origin.git" HEAD:refs/heads/main
    quietly git clone "$REMOTES/origin.git" "$SERVER"
}

configure_server() {
    cat >"$SERVER/.env" <<EOF
COMPOSE_PROJECT_NAME=$PROJECT
COMPOSE_PROFILES=demo
MARQUEE_IMAGE=$PROJECT
MARQUEE_KAFKA_SERVERS=kafka:9092
MARQUEE_METADATA_API_URL=http://metadata-api:8080
MARQUEE_SIMULATOR_OPTIONS=--rate 20 --speed 600 --start 2026-10-31
MARQUEE_GIT_REMOTE=/remotes/origin.git
MARQUEE_REMOTES='$REMOTES'
MARQUEE_SMTP_HOST=maildev:1025
MARQUEE_SMTP_TLS=false
MARQUEE_MAIL_FROM=marquee@localhost
MARQUEE_MAIL_TO=team@localhost
EOF
    [[ -z $BUILD_CA ]] || printf "MARQUEE_BUILD_CA='%s'\n" "$BUILD_CA" >>"$SERVER/.env"
    [[ -z $BUILD_NETWORK ]] || printf 'MARQUEE_BUILD_NETWORK=%s\n' "$BUILD_NETWORK" >>"$SERVER/.env"
    # A window of half a day in a minute: fewer answers, looked at more often.
    cat >"$SERVER/release.env" <<EOF
RELEASE_ANALYSIS_WINDOW=${WINDOW}s
RELEASE_MIN_REQUESTS=$((WINDOW * 2))
RELEASE_GUARD_INTERVAL=5s
RELEASE_GUARD_WINDOW=30s
RELEASE_GUARD_MIN_REQUESTS=40
RELEASE_PROMOTION_DELAY=2s
RELEASE_MIN_FREE_DISK_MB=1024
EOF
}

build_images() {
    show "building images that are not built yet (the first time takes minutes)"
    quietly compose build
}

# -- the end ------------------------------------------------------------------------------------

left_of() { # containers|volumes|networks
    local label=label=com.docker.compose.project=$PROJECT
    case $1 in
        containers) docker ps --all --quiet --filter "$label" ;;
        volumes) docker volume ls --quiet --filter "$label" ;;
        networks) docker network ls --quiet --filter "$label" ;;
    esac
}

demo_down() {
    trap 'echo "demo.sh: ${FUNCNAME[0]:-main} failed at line ${LINENO} of ${BASH_SOURCE[0]}" >&2' ERR
    end_release
    local -a containers volumes networks images
    mapfile -t containers < <(left_of containers)
    ((${#containers[@]} == 0)) || docker rm --force --volumes "${containers[@]}" >/dev/null
    docker rm --force "$PROJECT-smoke-test" >/dev/null 2>&1 || true
    mapfile -t volumes < <(left_of volumes)
    ((${#volumes[@]} == 0)) || docker volume rm --force "${volumes[@]}" >/dev/null
    mapfile -t networks < <(left_of networks)
    ((${#networks[@]} == 0)) || docker network rm "${networks[@]}" >/dev/null
    remove_files
    mapfile -t images < <(docker image ls --format '{{.Repository}}:{{.Tag}}' |
        grep -E "^$PROJECT(-candidate)?:" || true)
    ((${#images[@]} == 0)) || docker image rm --force "${images[@]}" >/dev/null
    printf '==> removed: %d containers, %d volumes, %d networks, %d image tags, %s\n' "${#containers[@]}" \
        "${#volumes[@]}" "${#networks[@]}" "${#images[@]}" "$PLACE"
}

# A release runs by itself, detached from who began it: it would put its slots up again.
end_release() {
    local process
    process=$(jq -r .pid "$SERVER/data/release/holder.json" 2>/dev/null) || return 0
    [[ -d /proc/$process && $(readlink "/proc/$process/cwd") == "$SERVER" ]] || return 0
    kill -- "-$(ps -o pgid= -p "$process" | tr -d ' ')" 2>/dev/null || true
}

# Files that containers wrote belong to their user.
remove_files() {
    rm -rf "$PLACE" 2>/dev/null || docker run --rm --network=none --user=0 --volume="$PLACE:/demo" \
        --entrypoint=find "$PROJECT:deployment" /demo -mindepth 1 -delete || true
    rm -rf "$PLACE"
}
