#!/bin/sh
# Run PROGRAM in the place of this shell, and COMMAND each time that files change:
#   watch_files.sh COMMAND PATH... -- PROGRAM [ARGUMENT...]
# $PID in COMMAND is the process id of PROGRAM. A COMMAND that fails is repeated. Files are compared by
# content, because `marquee init` and git replace them. POSIX sh: the image of Alertmanager has busybox.
set -eu

command=$1
shift
paths=
while [ "$1" != -- ]; do
    paths="$paths $1"
    shift
done
shift
PID=$$
export PID

checksums() {
    # shellcheck disable=SC2086 # several paths, none with a space
    find -L $paths -type f -exec cksum {} + 2>/dev/null | sort
}

seen=$(checksums) # before the program reads them
(
    while sleep "${WATCH_SECONDS:-2}" && kill -0 "$PID" 2>/dev/null; do
        current=$(checksums)
        [ "$current" != "$seen" ] || continue
        echo "watch_files.sh: files have changed:$paths" >&2
        if sh -c "$command"; then seen=$current; fi
    done
) &
exec "$@"
