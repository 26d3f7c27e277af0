# scripts/pin_images.sh with a fake registry.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    mkdir -p "$BATS_TEST_TMPDIR"/{bin,clone/scripts,clone/app}
    cd "$BATS_TEST_TMPDIR/clone" || exit
    cp "$root"/scripts/{pin_images.sh,lib.sh} scripts/
    cp "$root/docker-compose.yml" .
    cp "$root/app/Dockerfile" app/
    cat >../bin/docker <<'END'
#!/bin/bash
[[ "$1 $2 $3 $5 $6" == "buildx imagetools inspect --format {{.Manifest.Digest}}" ]] || exit 99
echo "$4" >>"${0%/*}/../requested"
[[ $4 != "${REFUSED-}" ]] || { echo "no route" >&2; exit 1; }
[[ -z ${GARBAGE-} ]] || { echo "latest"; exit; }
echo "sha256:$(sha256sum <<<"$4${MOVED-}" | cut -d " " -f 1)"
END
    chmod +x ../bin/docker
    export PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

unpinned() { grep -hE '^ +image: [a-z]|^FROM [a-z].*:' docker-compose.yml app/Dockerfile | grep -cv '@sha256:'; }

@test "pin_images.sh: writes a digest behind every tag of an image of others, and updates it" {
    run scripts/pin_images.sh --check
    [ "$status" -eq 1 ]
    cmp docker-compose.yml "$root/docker-compose.yml"
    run scripts/pin_images.sh
    [ "$status" -eq 0 ]
    [ "$(unpinned)" -eq 0 ]
    [ "$(sort -u ../requested | wc -l)" -eq "$(grep -hoE '@sha256:[0-9a-f]{64}' docker-compose.yml app/Dockerfile | sort -u | wc -l)" ]
    grep -q '^FROM python:.*@sha256:.* AS base$' app/Dockerfile
    run scripts/pin_images.sh --check
    [ "$status" -eq 0 ]
    cp docker-compose.yml before
    MOVED=1 run scripts/pin_images.sh --check
    [ "$status" -eq 1 ]
    MOVED=1 run scripts/pin_images.sh
    [ "$(unpinned)" -eq 0 ]
    run cmp docker-compose.yml before
    [ "$status" -eq 1 ]
    sed -E 's/@sha256:[0-9a-f]{64}//' docker-compose.yml | cmp - "$root/docker-compose.yml"
}

@test "pin_images.sh: writes nothing if a registry does not answer, or answers something else" {
    nginx=$(sed -n 's/^ *image: \(nginx:.*\)/\1/p' docker-compose.yml)
    REFUSED=$nginx run scripts/pin_images.sh
    [ "$status" -eq 1 ]
    [[ $output == *"the registry of $nginx does not answer; nothing was changed"* ]]
    cmp docker-compose.yml "$root/docker-compose.yml"
    GARBAGE=1 run scripts/pin_images.sh
    [ "$status" -eq 1 ]
    cmp docker-compose.yml "$root/docker-compose.yml"
    cmp app/Dockerfile "$root/app/Dockerfile"
}
