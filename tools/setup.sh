# Sourced by tools/run, tools/test and tools/check: installs the Debian packages that the lists name
# and that are missing, with apt-get, as root or through sudo. Says nothing when nothing is missing.

root=${root:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"
  else die "needs root or sudo to run: $*"; fi
}

# install_packages LIST...: files with one package a line.
install_packages() {
  command -v dpkg-query >/dev/null || die "this is made for Debian 12: dpkg-query was not found"
  local wanted missing=() package
  wanted=$(cat "$@" | sed 's/#.*//' | sort -u)
  for package in $wanted; do
    dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
      missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  say "installing ${#missing[@]} packages: ${missing[*]}"
  as_root apt-get update -qq || die "apt-get update failed"
  # The tests start their own servers: what a package brings along is not to start by itself.
  local policy=/usr/sbin/policy-rc.d ours=0
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod 755 $policy && ours=1
  fi
  local status=0
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >&2 || status=$?
  [ $ours = 0 ] || as_root rm -f $policy
  [ $status = 0 ] || die "apt-get install failed"
}

# build PRESET [TARGET...]: configures once, builds incrementally.
build() {
  local preset=$1
  shift
  export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
  [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" >&2 || die "cmake --preset $preset failed"
  cmake --build --preset "$preset" -- "$@" >&2 || die "the build of preset $preset failed"
}
