# Sourced by scripts/debian13 and scripts/package, after apt_lib.sh: a Debian of another release in a
# folder. The script has `log` (a file) and `fail TEXT`.
# shellcheck shell=bash
: "${log=}"

make_seconds=900  # at most, for the packages of the base system

# Runs COMMAND... in the Debian below ROOT, in its folder AT. Each bind is FOLDER:PLACE. Mounts and
# processes are in namespaces of their own: nothing of them is left, however this ends, and no mount
# of this system is ever below ROOT where `rm -rf build` might find it.
inside_root() {  # ROOT AT [FOLDER:PLACE]... -- COMMAND...
  # shellcheck disable=SC2016  # the shell inside expands it
  unshare --mount --propagation private --pid --fork --kill-child bash -euc '
    root=$1 at=$2
    shift 2
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    while [ "$1" != -- ]; do
      mkdir -p "$root/${1#*:}"
      mount --bind "${1%%:*}" "$root/${1#*:}"
      shift
    done
    shift
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    forget=$PWD/scripts/forget_mounts
    cd "$root"
    "$forget"
    exec chroot . env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      sh -c "cd \"\$1\" && shift && exec \"\$@\"" sh "$at" "$@"' \
    scripts/root_lib.sh "$@" </dev/null
}

# Its apt uses the same mirror over the same proxy, and does not sync each file to the disk.
configure_apt() {  # ROOT
  mkdir -p "$1/etc/apt/apt.conf.d" "$1/etc/dpkg/dpkg.cfg.d"
  echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/volfs"
  {
    apt-config dump | grep -iE '^Acquire::(http|https)::Proxy' || true
    echo 'Acquire::Check-Valid-Until "false"; Acquire::Languages "none";'
    echo 'Acquire::Retries "2"; Acquire::http::Timeout "20"; Acquire::https::Timeout "20";'
  } >"$1/etc/apt/apt.conf.d/volfs"
}

# Makes the base system of a release at ROOT, unless it is there: a file `made` beside it says so.
make_root() {  # ROOT RELEASE
  local root=$1 release=$2 made uri more=()
  made=$(dirname "$root")/made
  [ ! -e "$made" ] || return 0
  command -v debootstrap >/dev/null || fail "there is no debootstrap; run scripts/setup"
  uri=$(mirror 2>"$log") || fail "no mirror to take Debian $release from"
  rm -rf --one-file-system "$root"
  configure_apt "$root"
  case $uri in https:*) more=(--include=ca-certificates) ;; esac
  # wget, with which debootstrap fetches, would try for hours.
  printf 'tries = 2\ntimeout = 20\n' >"$made.wgetrc"
  WGETRC=$made.wgetrc timeout "$make_seconds" debootstrap --variant=minbase "${more[@]}" \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$release" "$root" "$uri" \
    >"$log" 2>&1 </dev/null ||
    fail "debootstrap failed; does the mirror answer, and does it have Debian $release?"
  touch "$made"
}
