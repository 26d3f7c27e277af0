# shellcheck shell=bash disable=SC2034 # the constants are used by those that source this file
# What images are built from: files of the repository, and the model in the directory `model`.

# Files that determine the content of a service's image, beside the model.
readonly SOURCES=(app requirements data/sample params.yaml pyproject.toml version.txt)
readonly MODEL_MANIFEST=model/lists/manifest.json

get_manifest() { # JQ-PATH [TREE]
    local manifest=${2:-.}/$MODEL_MANIFEST
    if [[ -e $manifest ]]; then
        jq -r "$1 // \"unknown\"" "$manifest"
    else
        echo unknown
    fi
}

# The version number, the model and dvc.lock belong together; a retraining changes all three.
check_version() {
    local version
    require_unchanged version.txt dvc.lock
    version=$(<version.txt)
    [[ $version =~ ^[0-9]+$ ]] || fail "version.txt does not contain a number"
    if [[ -e $MODEL_MANIFEST ]]; then
        [[ $(get_manifest .version) == "$version" ]] ||
            fail "version.txt contains $version, but the model in ${MODEL_MANIFEST%%/*} has version $(get_manifest .version) (marquee restore)"
    elif [[ -e dvc.lock ]]; then
        fail "dvc.lock names a model, but there is none in ${MODEL_MANIFEST%%/*} (marquee restore)"
    fi
}

require_committed() { # PATH...
    [[ -z $(git status --porcelain -- "$@") ]] ||
        fail "files that the image is built from have uncommitted changes (git status)"
}
