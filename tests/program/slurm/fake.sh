#!/bin/sh
# A Slurm that does on demand what a real one does rarely. It is linked as sbatch, squeue, scancel, srun and so
# on; its state lies in $FAKE: a file a job in jobs/ (NAME|STATE|REASON|NODE), and every call in log. A file
# $FAKE/NAME is what the command of that name does instead of, or before, what it is for.
name=$(basename "$0")
echo "$(date +%s.%N) $name $*" >>"$FAKE/log"
if [ -f "$FAKE/$name" ]; then . "$FAKE/$name"; fi

# Carries out one task of an array, when nothing holds it back and what it follows has ended.
task() {
    job="$FAKE/jobs/$id${1:+_$1}"
    state() { echo "$jobname|$1|$2|$3" >"$job.new" && mv "$job.new" "$job"; }
    while [ -f "$FAKE/hold" ] && [ -f "$job" ]; do
        state PENDING "$(cat "$FAKE/hold")" ""
        sleep 0.05
    done
    for other in $follows; do
        while ls "$FAKE/jobs/${other}"* >/dev/null 2>&1; do sleep 0.05; done
    done
    [ -f "$job" ] || return
    state RUNNING None "n${1:-0}"
    output=$(echo "$output" | sed "s/%A/$id/; s/%a/$1/; s/%j/$id/")
    SLURM_JOB_ID=$id SLURM_ARRAY_JOB_ID=$id SLURM_ARRAY_TASK_ID=$1 sh "$script" >>"$output" 2>&1 &
    echo $! >"$FAKE/pids/${job##*/}"
    wait
    rm -f "$job"
}

case "$name" in
sbatch)
    last="" follows="" jobname="" output=""
    for word in "$@"; do
        case "$word" in
        --version) echo "slurm 0.0.0" && exit ;;
        --test-only) echo "sbatch: Job 1 to start at once" >&2 && exit ;;
        --array=0-*) last=${word#--array=0-} ;;
        --job-name=*) jobname=${word#--job-name=} ;;
        --output=*) output=${word#--output=} ;;
        --dependency=afterany:*) follows=$(echo "${word#--dependency=afterany:}" | tr : ' ') ;;
        esac
        script=$word
    done
    id=${id:-$(cat "$FAKE/next")}
    echo $((id + 1)) >"$FAKE/next"
    for place in $([ -n "$last" ] && seq 0 "$last" || echo alone); do
        [ "$place" = alone ] && place=""
        echo "$jobname|PENDING|None|" >"$FAKE/jobs/$id${place:+_$place}"
        (task "$place") </dev/null >/dev/null 2>&1 &
    done
    echo "$id"
    [ -z "$late" ] || sleep "$late"
    ;;
squeue)
    while [ "$1" != -n ]; do shift; done
    for job in "$FAKE"/jobs/*; do
        case "$job" in *.new | *\*) continue ;; esac
        line=$(cat "$job" 2>/dev/null) || continue
        [ "${line%%|*}" != "$2" ] || echo "$(basename "$job")|${line#*|}"
    done
    ;;
scancel)
    for job in "$FAKE"/jobs/*; do
        line=$(cat "$job" 2>/dev/null) || continue
        if [ "$1" = -n ]; then [ "${line%%|*}" = "$2" ]; else [ "${job##*/}" = "$1" ]; fi || continue
        rm "$job"
        kill "$(cat "$FAKE/pids/${job##*/}")" 2>/dev/null
    done
    true
    ;;
srun)
    while [ "${1#--}" != "$1" ]; do shift; done
    exec "$@"
    ;;
esac
