# Two clones or stacks on one host: side by side with settings of their own, else the second is refused.

load fakes/setup.bash
bats_require_minimum_version 1.5.0

release() { run --separate-stderr scripts/canary_release.sh "$@"; }
another_stack() { printf '%s|%s|%s\n' "$@" >"$FAKES/stacks"; } # PROJECT DIRECTORY IMAGE

@test "a clone whose project belongs to another clone is refused, unless that one is gone" {
    setup_fakes
    mkdir "$BATS_TEST_TMPDIR/other"
    another_stack marquee "$BATS_TEST_TMPDIR/other" marquee:stable-1
    for command in start pin; do
        release "$command"
        [[ $status == 1 && $stderr == *"the containers of the project marquee belong to the clone in $BATS_TEST_TMPDIR/other; set another COMPOSE_PROJECT_NAME in .env"* ]]
    done
    [[ ! -e docker-compose.override.yml && ! -e data/release ]]
    ln -s "$clone" "$BATS_TEST_TMPDIR/link"
    for directory in "$clone" "$BATS_TEST_TMPDIR/link" "$BATS_TEST_TMPDIR/gone"; do
        another_stack marquee "$directory" marquee:stable-1
        release pin
        [[ $status == 0 ]]
    done
}

@test "a project whose image tags another project uses is refused" {
    setup_fakes
    another_stack other "$BATS_TEST_TMPDIR" marquee:stable-1
    release start
    [[ $status == 1 && $stderr == *"the project other ($BATS_TEST_TMPDIR) uses the image tags marquee:..., too; set another MARQUEE_IMAGE in .env"* ]]
    another_stack other "$BATS_TEST_TMPDIR" other:stable-1
    release pin
    [[ $status == 0 ]]
}

@test "deploy.sh refuses the second clone before it changes it" {
    setup_fakes
    cp "$root/scripts/deploy.sh" scripts
    git add scripts && commit "Add deploy.sh"
    git clone -q --bare . "$BATS_TEST_TMPDIR/origin.git"
    git remote add origin "$BATS_TEST_TMPDIR/origin.git"
    git fetch -q && git branch -q --set-upstream-to="origin/$(git branch --show-current)"
    git reset -q --hard HEAD~
    git checkout -q "@{upstream}" -- scripts/deploy.sh
    head=$(git rev-parse HEAD)
    release pin
    another_stack marquee / marquee:stable-1
    run --separate-stderr scripts/deploy.sh
    [[ $status == 1 && $stderr == *"belong to the clone in /; set another COMPOSE_PROJECT_NAME"* && $(git rev-parse HEAD) == "$head" ]]
}

@test "a release finds Prometheus where the stack publishes it" {
    setup_fakes
    MARQUEE_PROMETHEUS_PORT=9190 release start
    [[ $status == 0 ]]
    grep -q "http://127.0.0.1:9190/api/v1/query" "$FAKES/queries"
    grep -qx "analyze http://127.0.0.1:9190" "$FAKES/queries"
    [[ $(grep -c ":9090" "$FAKES/queries") == 0 ]]
    export BUILD_FAILS=1 # for speed: Prometheus is queried before the build
    MARQUEE_PROMETHEUS_PORT=9190 RELEASE_PROMETHEUS_URL=http://metrics:9090 release start --again
    grep -q "http://metrics:9090/api/v1/query" "$FAKES/queries"
}

@test "two stacks with settings of their own share no port, name, volume or image" {
    require_compose
    cd "$BATS_TEST_TMPDIR"
    cp "$BATS_TEST_DIRNAME/../../docker-compose.yml" .
    list_names() { # what only one stack of a host can have; third-party images are shared
        docker compose --env-file "$1" --profile demo --profile grafana config --format json | jq -r '.name, (.services[] | (.ports[]?.published, .container_name,
            (select(.build) | .image) | select(.))), (.volumes, .networks | .[].name)' | sort -u
    }
    list_names /dev/null >first
    grep -qx marquee:stable-1 first && grep -qx 8082 first && grep -qx marquee_spool first
    printf '%s\n' COMPOSE_PROJECT_NAME=second MARQUEE_PORT=8182 MARQUEE_SHIPPER_PORT=8183 MARQUEE_PROMETHEUS_PORT=9190 \
        MARQUEE_ALERTMANAGER_PORT=9193 MARQUEE_CONSOLE_PORT=8190 MARQUEE_GRAFANA_PORT=3100 MARQUEE_KAFKA_PORT=9194 MARQUEE_MAILDEV_PORT=1180 MARQUEE_MAILDEV_SMTP_PORT=1125 >.env
    list_names .env >second
    [[ $(wc -l <first) == "$(wc -l <second)" && -z $(comm -12 first second) ]]
    # Only the edge is published beyond the loopback interface.
    [[ $(docker compose config --format json | jq -r '.services[].ports[]? | select(.host_ip != "127.0.0.1").target') == 8082 ]]
}
