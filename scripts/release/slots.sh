# shellcheck shell=bash disable=SC2016 # variables in single quotes are jq's
# Slots, on any platform. scripts/platforms/$RELEASE_PLATFORM.sh places images into them, reads and empties them:
#
#   load_stack                    check the configuration; set what the other functions need
#   REQUIRED_COMMANDS, REPAIR_ADVICE, DEFINITIONS_ERROR     programs that it needs; parts of messages
#   require_platform              fail if the platform does not respond
#   check_platform                fail if it is not ready for a release
#   get_published_prometheus      print the URL of the stack's Prometheus, if it has one
#   get_tagged, tag_image, image_exists       the images `stable` and `previous`, and those of builds
#   get_slot_image, is_slot_ready, is_canary_empty
#   read_definitions, get_definition, set_build, JQ_BUILD, pin_slots     what a slot runs, besides its image
#   deploy_slot                   place an image and wait until the slot is ready
#   stop_slot, stop_candidate, remove_canary
#   check_source, describe_source, prepare_tree, build_candidate, keep_build, smoke_test     the image of a version
#   remove_build_tag, prune_images, remove_tree

readonly SLOTS=(stable-1 stable-2 canary)

# Print the definitions that the state file holds at a path. A release that an earlier version of this
# script has started has none: it leaves the slots' definitions as they are.
get_definitions() { # JQ-PATH
    local slot definitions
    definitions=$(get_state "$1")
    [[ -z $definitions ]] || { printf '%s\n' "$definitions"; return; }
    for slot in "${SLOTS[@]}"; do
        get_definition "$slot" | jq --arg slot "$slot" '{($slot): del(.scale)}'
    done | jq -cs add
}

slots_as_json() { # what runs in each slot, to be restored if a promotion fails
    local slot
    for slot in "${SLOTS[@]}"; do
        jq -n --arg slot "$slot" --arg image "$(get_slot_image "$slot" || true)" \
            --argjson definition "$(get_definition "$slot")" \
            '{($slot): ({image: $image, definition: $definition} + ($definition | '"$JQ_BUILD"'))}'
    done | jq -s add
}
