# shellcheck shell=bash disable=SC2016 # variables in single quotes are jq's
# Bring the services of the stack, except for the slots, to the commit of this clone. Every step can be
# repeated; one that fails leaves the services after it as they were.

readonly STACK_LOG=$STATE_DIR/stack.log
readonly SCHEDULER_LOG=$STATE_DIR/scheduler.log
readonly SCHEDULER_LOCK=$STATE_DIR/scheduler.lock
readonly LOCK_IS_HELD=75 # exit status, not used by docker
readonly HEALTH_TIMEOUT_SECONDS=300

# The settings of containers are those of .env. Variables of the environment are for the release on this
# host, such as a name of the mail server that it resolves.
stack_compose() (
    unset "${!MARQUEE_SMTP_@}" "${!MARQUEE_MAIL_@}" MARQUEE_DVC_REMOTE
    MARQUEE_COMMIT=$(git rev-parse HEAD) compose "$@"
)

is_running() { # [SERVICE]
    local containers
    containers=$(list_containers --quiet "$@") || fail "docker compose cannot list the containers"
    [[ -n $containers ]]
}

fail_stack_step() { # MESSAGE
    tail -n 20 "$STACK_LOG" >&2
    fail "$1 (see $STACK_LOG); nothing after this step was changed. Run scripts/deploy.sh again to continue"
}

run_stack_step() { # ERROR-MESSAGE COMPOSE-ARGUMENT...
    stack_compose "${@:2}" >>"$STACK_LOG" 2>&1 </dev/null || fail_stack_step "$1"
}

# Not with --no-deps: older versions of Compose count dependencies to a service's definition, and the next
# `docker compose up -d` would replace its container.
start_services() { # ERROR-MESSAGE SERVICE...; waits until they are healthy
    run_stack_step "$1" up -d --no-build --quiet-pull --wait --wait-timeout "$HEALTH_TIMEOUT_SECONDS" "${@:2}"
}

run_to_end() { # ERROR-MESSAGE SERVICE; a service that ends by itself
    local status
    run_stack_step "$1" up -d --no-build --quiet-pull "$2"
    status=$(docker wait "$(get_container "$2")") || status=unknown
    [[ $status == 0 ]] || {
        stack_compose logs --no-log-prefix --tail 20 "$2" >>"$STACK_LOG" 2>&1 || true
        fail_stack_step "$1"
    }
}

update_stack() {
    local configuration
    local -a built others
    is_running || { log "no service of the stack is running: there is none to update"; return 0; }
    : >"$STACK_LOG"
    configuration=$(stack_compose config --format json) || fail "docker compose rejects its configuration"
    # The simulated environment (profile `demo`) and what is run by hand are no part of a deployment.
    mapfile -t built < <(list_services "$configuration" '.build')
    mapfile -t others < <(list_services "$configuration" true | grep -vxE 'init|migrate|scheduler|nginx')
    ! is_running nginx || run_stack_step "NGINX rejects its configuration (if that needs the new definition of its container: docker compose up -d nginx)" \
        exec -T nginx nginx -t
    log "building the images of the services beside the slots; the log is $STACK_LOG"
    run_stack_step "the images cannot be built" --progress plain build "${built[@]}"
    log "updating secrets, database and tables"
    run_to_end "the secrets or the settings are not valid" init
    run_to_end "the tables of the database cannot be upgraded" migrate
    log "updating ${others[*]}"
    start_services "a service does not become healthy" "${others[@]}"
    update_scheduler
    update_nginx
}

list_services() { # CONFIGURATION JQ-FILTER; except for slots and services with a profile
    jq -r '.services | to_entries[] | select(.key | IN($ARGS.positional[]) | not)
        | select(.value | (.profiles | not) and ('"$2"')) | .key' --args "${SLOTS[@]}" <<<"$1"
}

# -- scheduler: a retraining in progress takes up to hours, and replacing its container would kill it ---

update_scheduler() {
    if is_retraining; then
        log "a retraining is running: the scheduler is updated when it has ended (log: $SCHEDULER_LOG)"
        setsid nohup scripts/deploy.sh --scheduler >>"$SCHEDULER_LOG" 2>&1 </dev/null 8>&- &
    else
        replace_scheduler
    fi
}

# Whether a run, also a manual one, holds the workspace's lock.
is_retraining() {
    local status=0
    is_running scheduler || return 1
    stack_compose exec -T scheduler flock --nonblock --conflict-exit-code "$LOCK_IS_HELD" /workspace/lock true \
        >/dev/null 2>&1 </dev/null || status=$?
    ((status == LOCK_IS_HELD))
}

replace_scheduler() { start_services "the scheduler does not become healthy" scheduler; }

# Replace the scheduler when no retraining is running. One process waits for all deployments.
replace_scheduler_after_retraining() {
    local attempts=0
    mkdir -p "$STATE_DIR"
    exec 8>>"$SCHEDULER_LOCK"
    flock --nonblock 8 || { log "another process is waiting for the end of the retraining"; return 0; }
    while is_retraining; do sleep "${SCHEDULER_POLL_SECONDS:-5}" 8>&-; done
    # A release that changes a slot at the same time can make it fail.
    until (replace_scheduler); do
        ((++attempts < 4)) || exit 1
        sleep "${SCHEDULER_POLL_SECONDS:-5}" 8>&-
    done
    log "the scheduler is up to date"
}

# -- NGINX --------------------------------------------------------------------------------------------

# NGINX reloads changed files by itself. Only another image or definition needs a new container, for
# which port 8082 is closed for about a second: that is left to an operator.
update_nginx() {
    local running current
    if is_running nginx; then
        running=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.config-hash"}}' "$(get_container nginx)")
        current=$(stack_compose config --hash nginx)
        [[ $running != "${current##* }" ]] || return 0
        log "NGINX has a new image or definition: 'docker compose up -d nginx' replaces its container, and closes port 8082 for about a second (docs/upgrade.md)"
    else
        start_services "NGINX does not become healthy" nginx
    fi
}
