# scripts/database/start.sh with a fake installation; the server is not started.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    export MARQUEE_DATABASE_DIR=$BATS_TEST_TMPDIR/data
    mkdir "$MARQUEE_DATABASE_DIR" "$BATS_TEST_TMPDIR/bin"
    cd "$BATS_TEST_TMPDIR" || exit
    cat >bin/mariadb-install-db <<'END'
#!/bin/bash
[[ -z $(find "$MARQUEE_DATABASE_DIR" -mindepth 1 -not -name lost+found -not -name .initializing) ]] || exit 3
mkdir "$MARQUEE_DATABASE_DIR/mysql"
echo new >"$MARQUEE_DATABASE_DIR/mysql/user.frm"
[[ -z ${INTERRUPT-} ]] || { kill -KILL "$PPID"; exit; }
echo new >"$MARQUEE_DATABASE_DIR/ibdata1"
END
    # The last step of the script is `exec sh watch_files.sh ...`.
    printf '#!/bin/bash\necho "server started"\n' >bin/sh
    chmod +x bin/*
    export PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

start() { run bash "$root/scripts/database/start.sh"; }

@test "start.sh: initializes an empty directory once" {
    mkdir data/lost+found # a volume with a file system of its own
    start
    [ "$status" -eq 0 ]
    [ "$output" = "server started" ]
    [ -e data/.initialized ] && [ ! -e data/.initializing ] && [ -d data/lost+found ]
    echo changed >data/ibdata1
    start
    [ "$output" = "server started" ]
    [ "$(cat data/ibdata1)" = changed ]
}

@test "start.sh: continues after an interrupted first start" {
    INTERRUPT=1 start
    [ "$status" -ne 0 ]
    [ -e data/mysql/user.frm ] && [ ! -e data/ibdata1 ]
    start
    [ "$status" -eq 0 ]
    [ "$(cat data/ibdata1)" = new ]
}

@test "start.sh: never removes a directory that holds data" {
    for mark in none .initializing; do
        rm -rf data/* data/.initial*
        mkdir data/mysql data/marquee
        echo rows >data/marquee/reccom.ibd
        [[ $mark == none ]] || touch "data/$mark"
        start
        [ "$status" -eq 1 ]
        [[ $output == *"has no file .initialized, but holds data: "*marquee*"Nothing was changed"* ]]
        [ "$(cat data/marquee/reccom.ibd)" = rows ]
    done
    touch data/.initialized # as the message says
    start
    [ "$output" = "server started" ]
    [ "$(cat data/marquee/reccom.ibd)" = rows ]
}

@test "start.sh: starts with a directory of version 0.2.0" {
    mkdir data/mysql data/marquee
    echo rows >data/marquee/reccom.ibd
    touch data/.made
    start
    [ "$status" -eq 0 ]
    [ "$output" = "server started" ]
    [ "$(cat data/marquee/reccom.ibd)" = rows ]
    [ -e data/.initialized ] && [ ! -e data/.made ]
    start
    [ "$output" = "server started" ]
}
