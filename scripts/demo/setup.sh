# shellcheck shell=bash disable=SC2034 # CURRENT_STEP is used by the error handlers
# Set up the demo before its first step, and remove it.

demo_up() {
    CURRENT_STEP="the preparation"
    check_preconditions
    mkdir -p "${DEMO_DIR%/*}"
    mkdir -m 700 "$DEMO_DIR" # subdirectories that containers share are open to all users
    trap 'report_step_failure "${FUNCNAME[*]:0:3}" "$LINENO"' ERR
    trap report_interrupt INT TERM
    SECONDS=0
    printf '==> preparing; log: %s\n' "${DEMO_LOG#"$PWD/"}"
    create_remotes
    configure_server
    build_images
    print_result "installing the server's requirements (.venv)"
    run_logged make -C "$SERVER_DIR" .venv/.deployment
    PREPARATION_SECONDS=$SECONDS
    SECONDS=0
    run_steps
    printf '\n==> done in %d min %02d s, after %d s of preparation (images, .venv). The stack keeps running.\n' \
        $((SECONDS / 60)) $((SECONDS % 60)) "$PREPARATION_SECONDS"
    print_hint "$URL/recommend/42  $PROMETHEUS_URL  $MAILDEV_URL  cd $SERVER_PATH && docker compose ps"
    print_hint "make demo-down removes everything"
}

check_preconditions() {
    local name port
    for name in docker git jq curl make python3; do
        command -v "$name" >/dev/null || fail "$name is not installed (scripts/install_system.sh python shell docker)"
    done
    docker info >/dev/null 2>&1 || fail "Docker Engine does not respond (scripts/install_system.sh docker)"
    [[ ! -e $DEMO_DIR && -z $(list_project containers)$(list_project volumes) ]] ||
        fail "a demo is running, or parts of one are left in $DEMO_DIR; make demo-down removes it"
    for port in 8082 8083 9090 9093 9094 1025 1080; do
        ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
            fail "port $port of 127.0.0.1 is in use (by another stack? docker compose down)"
    done
}

# Create the git repository, with this clone's HEAD, and the directory for DVC; clone the server.
create_remotes() {
    git config --file "$GIT_CONFIG_GLOBAL" safe.directory '*'
    git config --file "$GIT_CONFIG_GLOBAL" user.name Developer
    git config --file "$GIT_CONFIG_GLOBAL" user.email developer@localhost
    [[ -z $(git status --porcelain) ]] || print_result "uncommitted changes are ignored"
    mkdir -m 777 "$REMOTES_DIR" "$REMOTES_DIR/versions"
    run_logged git init --bare --shared=0666 --initial-branch=main "$REMOTES_DIR/origin.git"
    git --git-dir "$REMOTES_DIR/origin.git" config receive.shallowUpdate true # this clone may be shallow
    run_logged git push --follow-tags "$REMOTES_DIR/origin.git" HEAD:refs/heads/main # with tags of versions
    run_logged git clone "$REMOTES_DIR/origin.git" "$SERVER_DIR"
}

configure_server() {
    cat >"$SERVER_DIR/.env" <<EOF
COMPOSE_PROJECT_NAME=$PROJECT
COMPOSE_PROFILES=demo
MARQUEE_IMAGE=$PROJECT
MARQUEE_KAFKA_SERVERS=kafka:9092
MARQUEE_METADATA_API_URL=http://metadata-api:8080
MARQUEE_SIMULATOR_OPTIONS=--rate 20 --speed 600 --start $SIMULATION_START
MARQUEE_GIT_REMOTE=/remotes/origin.git
MARQUEE_REMOTES='$REMOTES_DIR'
MARQUEE_SMTP_HOST=maildev:1025
MARQUEE_SMTP_TLS=false
MARQUEE_MAIL_FROM=marquee@localhost
MARQUEE_MAIL_TO=team@localhost
EOF
    [[ -z $BUILD_CA ]] || printf "MARQUEE_BUILD_CA='%s'\n" "$BUILD_CA" >>"$SERVER_DIR/.env"
    [[ -z $BUILD_NETWORK ]] || printf 'MARQUEE_BUILD_NETWORK=%s\n' "$BUILD_NETWORK" >>"$SERVER_DIR/.env"
    # An analysis window of a minute instead of half a day: fewer requests, more frequent guards, and wider
    # margins, because a few hundred requests do not tell 0.1 % of failures from 1 %.
    cat >"$SERVER_DIR/release.env" <<EOF
RELEASE_ANALYSIS_WINDOW=${WINDOW_SECONDS}s
RELEASE_MIN_REQUESTS=$((WINDOW_SECONDS * 2))
RELEASE_MIN_TRAFFIC_SHARE=0.15
RELEASE_MAX_TRAFFIC_SHARE=0.25
RELEASE_FAILURE_TOLERANCE=0.02
RELEASE_FAILURE_MARGIN=0.1
RELEASE_POPULAR_TOLERANCE=0.1
RELEASE_POPULAR_MARGIN=0.3
RELEASE_MAX_LATENCY_RATIO=10
RELEASE_MAX_LATENCY_INCREASE_SECONDS=0.2
RELEASE_MAX_BURST_DURATION=10s
RELEASE_GUARD_INTERVAL=10s
RELEASE_GUARD_WINDOW=30s
RELEASE_GUARD_MIN_REQUESTS=40
RELEASE_PROMOTION_DELAY=2s
RELEASE_MIN_FREE_DISK_MB=1024
EOF
}

build_images() {
    print_result "building missing images (takes minutes the first time)"
    run_logged compose build
}

# -- removal ------------------------------------------------------------------------------------

list_project() { # containers|volumes|networks
    local label=label=com.docker.compose.project=$PROJECT
    case $1 in
        containers) docker ps --all --quiet --filter "$label" ;;
        volumes) docker volume ls --quiet --filter "$label" ;;
        networks) docker network ls --quiet --filter "$label" ;;
    esac
}

demo_down() {
    kill_release
    local -a containers volumes networks images
    mapfile -t containers < <(list_project containers)
    ((${#containers[@]} == 0)) || docker rm --force --volumes "${containers[@]}" >/dev/null
    docker rm --force "$PROJECT-smoke-test" >/dev/null 2>&1 || true
    mapfile -t volumes < <(list_project volumes)
    ((${#volumes[@]} == 0)) || docker volume rm --force "${volumes[@]}" >/dev/null
    mapfile -t networks < <(list_project networks)
    ((${#networks[@]} == 0)) || docker network rm "${networks[@]}" >/dev/null
    remove_files
    mapfile -t images < <(docker image ls --format '{{.Repository}}:{{.Tag}}' |
        grep -E "^$PROJECT(-candidate)?:" || true)
    ((${#images[@]} == 0)) || docker image rm --force "${images[@]}" >/dev/null
    printf '==> removed: %d containers, %d volumes, %d networks, %d image tags, %s\n' "${#containers[@]}" \
        "${#volumes[@]}" "${#networks[@]}" "${#images[@]}" "$DEMO_DIR"
}

# A release runs detached in the background and would recreate its slots.
kill_release() {
    local pid
    pid=$(jq -r .pid "$SERVER_DIR/data/release/lock_holder.json" 2>/dev/null) || return 0
    [[ -d /proc/$pid && $(readlink "/proc/$pid/cwd") == "$SERVER_DIR" ]] || return 0
    kill -- "-$(ps -o pgid= -p "$pid" | tr -d ' ')" 2>/dev/null || true
}

# Files written by containers belong to the containers' user: fall back to removing them as root in one.
remove_files() {
    rm -rf "$DEMO_DIR" 2>/dev/null || docker run --rm --network=none --user=0 --volume="$DEMO_DIR:/demo" \
        --entrypoint=find "$PROJECT:deployment" /demo -mindepth 1 -delete || true
    rm -rf "$DEMO_DIR"
}
