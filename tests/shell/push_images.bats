# scripts/push_images.sh with a fake of docker, in a repository of its own.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    cd "$BATS_TEST_TMPDIR" || exit
    mkdir -p bin work/scripts/release work/app
    cp "$root/scripts/push_images.sh" "$root/scripts/lib.sh" work/scripts
    cp "$root/scripts/release/sources.sh" work/scripts/release
    echo 7 >work/version.txt
    # The image has been pushed to another repository before.
    cat >bin/docker <<'END'
#!/bin/bash
echo "$*" >>"$BATS_TEST_TMPDIR/calls"
[[ $1 != image ]] || jq -n --arg name "${3%:*}" '[{RepoDigests: ["elsewhere/x@sha256:old", "\($name)@sha256:new"]}]'
END
    chmod +x bin/docker
    export PATH=$BATS_TEST_TMPDIR/bin:$PATH
    cd work || exit
    git init --quiet
    git add --all
    git -c user.name=D -c user.email=d@localhost commit --quiet --message "Begin"
}

@test "push_images.sh: prints each image with the digest of its own repository" {
    scripts/push_images.sh registry.example/team >images.yaml
    [[ $(<images.yaml) == "images:"*"  service: registry.example/team/service@sha256:new"* ]]
    [[ $(grep -c "@sha256:new$" images.yaml) == 4 ]]
    tag=7-$(git rev-parse --short=12 HEAD)
    grep -q "^push --quiet registry.example/team/release:$tag$" ../calls
    scripts/push_images.sh registry.example/team >images.yaml # the file from before is no part of an image
}

@test "push_images.sh: builds nothing that is not committed" {
    touch app/new.py
    run scripts/push_images.sh registry.example/team
    [[ $status == 1 && $output == *"uncommitted changes"* ]]
    [[ ! -e ../calls ]]
}

@test "push_images.sh: refuses a model of another version" {
    mkdir -p model/lists
    echo model >.gitignore
    echo '{"version": 6}' >model/lists/manifest.json
    run scripts/push_images.sh registry.example/team
    [[ $status == 1 && $output == *"version.txt contains 7, but the model in model has version 6"* ]]
}

@test "push_images.sh: a registry without the digest is an error" {
    sed -i 's/, "\\(\$name)@sha256:new"//' ../bin/docker
    run scripts/push_images.sh registry.example/team
    [[ $status == 1 && $output == *"the registry gave registry.example/team/service:7-"*" no digest"* ]]
}
