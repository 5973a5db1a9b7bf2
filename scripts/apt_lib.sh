# Sourced by scripts/setup and scripts/debian13: finds the mirror of this system's packages.
# shellcheck shell=bash

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Prints the mirror from which this system takes its own release. apt itself names it, because apt
# knows every form of its sources, but only if it has an index of the mirror.
known_mirror() {
  local release
  release=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
  # shellcheck disable=SC2016  # apt expands it
  apt-get indextargets --format '$(LABEL) $(CODENAME) $(COMPONENT) $(REPO_URI)' \
    'Created-By: Packages' | awk -v release="$release" \
    '$1 == "Debian" && $2 == release && $3 == "main" && $4 !~ /^cdrom:/ { print $4; exit }'
}

# Prints the mirror, after fetching the indexes if there are none yet. Says why there is no mirror.
mirror() {
  local uri
  uri=$(known_mirror)
  if [ -z "$uri" ]; then
    as_root apt-get update >&2
    uri=$(known_mirror)
  fi
  [ -n "$uri" ] || { echo "apt's sources name no mirror of Debian" >&2; return 1; }
  echo "$uri"
}
