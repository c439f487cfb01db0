#!/usr/bin/env bash
# What a TPU VM does for `signbind launch tpu`: the same file on every worker, in ~/signbind.
#
#   worker.sh install REQUIREMENT [MOUNT...]   environment and shared storage
#   worker.sh start NAME with|without COMMAND [ARGUMENT...]
#                                              starts the command, once, detached from the login;
#                                              with the variables in ~/signbind/environment-NAME
#   worker.sh report NAME OFFSET               state, and the log from that byte on
#   worker.sh ending NAME                      how the command ended here, in one line
set -euo pipefail

here=$HOME/signbind

log() { printf 'signbind worker %s: %s\n' "$(hostname)" "$*"; }

fail() {
  log "error: $*" >&2
  exit 1
}

# --- storage -------------------------------------------------------------------------------

apt_install() {
  # A machine that has just booted is often updating itself and holds the lock.
  sudo DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq update
  sudo DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -qq -y install "$@"
}

install_gcsfuse() {
  local keyring=/usr/share/keyrings/cloud.google.asc
  curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee "$keyring" >/dev/null
  echo "deb [signed-by=$keyring] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  apt_install gcsfuse
}

# gs://BUCKET:/POINT or HOST:/EXPORT:/POINT
mount_one() {
  local point=${1##*:} source=${1%:*}
  if mountpoint -q "$point"; then
    log "$point is mounted"
    return
  fi
  sudo mkdir -p "$point"
  case $source in
    gs://*)
      command -v gcsfuse >/dev/null || install_gcsfuse
      sudo chown "$(id -u):$(id -g)" "$point"
      # Checkpoints are renamed as directories, and every host has to see at once what another
      # one wrote: no metadata from a cache.
      gcsfuse --implicit-dirs --rename-dir-limit=1000000 --metadata-cache-ttl-secs=0 \
        "${source#gs://}" "$point"
      ;;
    *)
      command -v mount.nfs >/dev/null || apt_install nfs-common
      sudo mount -t nfs -o rw,hard,timeo=600 "$source" "$point"
      # Whose the export is, is not ours to change: every other user of it would be let in too.
      if [ ! -w "$point" ]; then
        log "$point is not writable for $(id -un): the working directory has to lie in a directory beneath that is"
      fi
      ;;
  esac
  log "$source is mounted at $point"
}

# --- environment ---------------------------------------------------------------------------

# The runtimes' own Python is older than ours (3.10 on Ubuntu 22.04): uv brings one. The name of
# a copied source holds its digest, so the requirement says whether it is installed already.
install_environment() {
  local requirement=$1 constraints=()
  if [ -x "$here/venv/bin/signbind" ] && [ "$(cat "$here/installed" 2>/dev/null)" = "$1" ]; then
    log "signbind is installed"
    return
  fi
  rm -f "$here/installed"
  case $requirement in
    source-*)
      requirement=$here/$requirement
      # The versions that were tested together, where the checkout says them.
      if tar -xzOf "${requirement%%\[*}" signbind-jax/constraints.txt \
        >"$here/constraints.txt" 2>/dev/null; then
        constraints=(--constraint "$here/constraints.txt")
      fi
      ;;
  esac
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --user --quiet uv
  python3 -m uv venv --quiet --allow-existing --python 3.11 "$here/venv"
  python3 -m uv pip install --quiet --python "$here/venv/bin/python" \
    --reinstall-package signbind-jax "${constraints[@]}" "$requirement"
  printf '%s' "$1" >"$here/installed"
  log "signbind is installed"
}

install() {
  local requirement=$1 mount
  shift
  for mount in "$@"; do mount_one "$mount"; done
  install_environment "$requirement"
}

# --- the command ---------------------------------------------------------------------------

job_dir() {
  printf '%s/jobs/%s' "$here" "$1"
}

# Whoever runs the command holds the lock, and so do its children: it tells a running command
# from one whose process number was given to another program.
is_running() {
  [ -e "$1/lock" ] && ! flock --shared --nonblock "$1/lock" true
}

start() {
  local name=$1 environment=$here/environment-$1 with=$2 dir
  shift 2
  # Nothing of it stays where the command was not started, nor from a start that was cut off.
  # shellcheck disable=SC2064
  trap "rm -f ${environment@Q}" EXIT
  rm -f "$here/environment" # one for all jobs, which earlier versions may have left
  dir=$(job_dir "$name")
  mkdir -p "$dir"
  chmod 700 "$dir"
  if is_running "$dir"; then
    log "$name is running already"
    return
  fi
  if [ "$(cat "$dir/exit_code" 2>/dev/null)" = 0 ] && printf '%s\0' "$@" | cmp -s - "$dir/argv"; then
    log "$name has finished already"
    return
  fi
  rm -f "$dir/exit_code"
  rm -f "$dir/environment"
  if [ "$with" = with ]; then
    chmod 600 "$environment"
    mv "$environment" "$dir/environment"
  fi
  printf '%s\0' "$@" >"$dir/argv"
  setsid nohup bash "$0" supervise "$name" </dev/null >>"$dir/log.txt" 2>&1 &
  for _ in $(seq 100); do
    if is_running "$dir" || [ -e "$dir/exit_code" ]; then
      log "$name started"
      return
    fi
    sleep 0.1
  done
  rm -f "$dir/environment"
  fail "$name did not start: $(tail -n 1 "$dir/log.txt")"
}

supervise() {
  local dir child code told
  dir=$(job_dir "$1")
  exec 9>"$dir/lock"
  flock --wait 5 9 || fail "$1 is running already"
  mapfile -d '' -t argv <"$dir/argv"
  PATH=$here/venv/bin:$PATH
  export SIGNBIND_INTERRUPTED_CODE=75 # of a command that was stopped and has saved
  cd "$here"
  begin "$dir/environment" "${argv[@]}" &
  child=$!
  # A machine that is taken away tells its processes first.
  trap 'told=yes; kill -TERM "$child" 2>/dev/null || true' TERM INT
  told=yes
  while [ -n "$told" ]; do # a wait that a signal ended says nothing of the command
    told=''
    code=0
    wait "$child" || code=$?
  done
  printf '%s' "$code" >"$dir/exit_code.partial"
  mv "$dir/exit_code.partial" "$dir/exit_code"
}

# Becomes the command. Its variables are read by the process that runs it alone, where they may
# have the names of this script's own, and their file is gone before it begins.
begin() {
  local file=$1
  shift
  unset argv # an array is never exported
  if [ -e "$file" ]; then
    exec 8<"$file"
    rm -f "$file"
    # shellcheck disable=SC1091
    source /dev/fd/8
    exec 8<&-
  fi
  exec -- "$@"
}

state() {
  local dir=$1
  if [ -e "$dir/exit_code" ]; then
    printf 'exited %s' "$(cat "$dir/exit_code")"
  elif is_running "$dir"; then
    printf 'running -'
  else
    printf 'absent -' # never started here, or killed with its supervisor
  fi
}

# The state, the log's size and the byte to go on from; then the bytes up to there. A negative
# offset counts from the end.
report() {
  local dir state size=0 from=$2 to
  dir=$(job_dir "$1")
  state=$(state "$dir") # before the log, so that an ended command has its whole log there
  if [ -e "$dir/log.txt" ]; then size=$(stat -c %s "$dir/log.txt"); fi
  if [ "$from" -lt 0 ]; then from=$((size + from > 0 ? size + from : 0)); fi
  to=$((size - from > 1000000 ? from + 1000000 : size))
  printf 'signbind-job %s %s %s\n' "$state" "$size" "$to"
  if [ "$to" -gt "$from" ]; then
    tail -c "+$((from + 1))" "$dir/log.txt" | head -c $((to - from)) || true # tail's broken pipe
  fi
}

ending() {
  local dir
  dir=$(job_dir "$1")
  log "$(state "$dir" | sed 's/ -$//'): $(tail -n 1 "$dir/log.txt" 2>/dev/null || echo 'no log')"
}

case ${1:-} in
  install | start | supervise | report | ending) "$@" ;;
  *) fail "found ${1:-nothing}, wanted install, start, report or ending" ;;
esac
