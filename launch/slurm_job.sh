#!/usr/bin/env bash
# The batch script of every `signbind launch slurm` job; sbatch hands its arguments over as they
# are:
#
#   slurm_job.sh FOLDER SETUP MAX_RESTARTS LOCAL_DEVICES COMMAND [ARGUMENT...]
#
#   FOLDER         where the exit code goes, as exit-JOB or exit-JOB_INDEX
#   SETUP          shell file to source first, or -
#   MAX_RESTARTS   how often the job may have been requeued
#   LOCAL_DEVICES  as 0,1,2,3: GPUs of the one task of a node, or -: each task takes its own
#
# {array_index} in an argument stands for the index of the array's task.
set -uo pipefail

folder=$1 setup=$2 max_restarts=$3 local_devices=$4
shift 4

interrupted=75 # exit code of a command that was stopped and has saved
id=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
restarts=${SLURM_RESTART_COUNT:-0}

log() { printf 'signbind job %s: %s\n' "$id" "$*"; }

end() {
  printf '%s' "$1" >"$folder/exit-$id.partial"
  mv "$folder/exit-$id.partial" "$folder/exit-$id"
  exit "$1"
}

# RUNNING for one that is near its limit or in the grace time before it is preempted; PENDING,
# CANCELLED or COMPLETING where SLURM requeues it by itself or somebody has cancelled it.
job_state() {
  scontrol show job --oneliner "$SLURM_JOB_ID" | sed -n 's/.*\bJobState=\([A-Z_]*\).*/\1/p'
}

rm -f "$folder/exit-$id"
log "start $restarts on ${SLURM_JOB_NODELIST:-this node}"
if [ "$setup" != - ]; then
  # shellcheck disable=SC1090
  source "$setup" || { log "error: $setup failed"; end 1; }
fi
if [ "$local_devices" != - ]; then export JAX_LOCAL_DEVICE_IDS=$local_devices; fi
export SIGNBIND_INTERRUPTED_CODE=$interrupted
command=("${@//'{array_index}'/${SLURM_ARRAY_TASK_ID:-}}")

# A task that has saved ends a moment before the others: nobody is killed for that. A task that
# crashed is noticed by JAX's runtime on the others.
srun --export=ALL --kill-on-bad-exit=0 --wait=0 "${command[@]}" &
step=$!
stopped='' told=yes
trap 'stopped=yes; told=yes; log "told to stop"; kill -TERM "$step"' USR1 TERM
while [ -n "$told" ]; do # a wait that a signal ended says nothing of the command
  told=''
  code=0
  wait "$step" || code=$?
done
trap '' USR1 TERM

if [ "$code" -eq 0 ]; then end 0; fi
log "exit code $code"
if [ -z "$stopped" ] && [ "$code" -ne "$interrupted" ]; then end "$code"; fi
if [ "$(job_state)" != RUNNING ]; then end "$code"; fi
if [ "$restarts" -ge "$max_restarts" ]; then
  log "error: requeued $restarts times already (--max_resumes); start it again to go on"
  end "$code"
fi
for pause in 0 10 30 60; do
  sleep "$pause"
  if scontrol requeue "$SLURM_JOB_ID"; then
    log "requeued; it goes on from its last checkpoint"
    exit "$code"
  fi
done
log "error: could not be requeued; start it again to go on"
end "$code"
