# What the scripts have in common: where things are kept outside the clone, and how tools that are missing come.
# Sourced, not run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Outside the clone, so that a second clone neither downloads nor rebuilds anything.
cache="${COTERIE_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/coterie}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
tools="$cache/tools"
export PATH="$tools/bin:$HOME/.cargo/bin:$PATH"

say() { printf '\n\033[1m== %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_rust() {
  command -v cc >/dev/null || install_package gcc
  command -v make >/dev/null || install_package make
  command -v cargo >/dev/null && return
  say "installing Rust"
  if command -v apt-get >/dev/null && apt-cache show rustup >/dev/null 2>&1; then
    install_package rustup
  else
    command -v curl >/dev/null || install_package curl
    curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs | sh -s -- -y --profile minimal --no-modify-path >&2
  fi
  command -v cargo >/dev/null || die "cargo is still missing. Install Rust from https://rustup.rs, then run this again."
}

need_python() {
  command -v python3 >/dev/null || install_package python3
  python3 -c 'import venv, ensurepip' 2>/dev/null || install_package python3-venv
}

install_package() {
  command -v apt-get >/dev/null || die "$1 is missing and there is no apt-get here; install $1, then run this again."
  say "installing $1"
  local sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -q >&2 && $sudo apt-get install -yq "$1" >&2
}

# A Python with the packages that requirements file $1 pins; prints its path.
python_with() {
  local sum venv
  sum=$(sha256sum "$1" | cut -c1-12)
  venv="$tools/python-$sum"
  if [ ! -e "$venv/complete" ]; then
    python3 -m venv --clear "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$1" >&2
    touch "$venv/complete"
  fi
  printf '%s' "$venv/bin/python"
}

# cargo_tool NAME VERSION: installed once, without optimisation, because building it takes longer than running it.
cargo_tool() {
  if [ "$("$1" --version 2>/dev/null | awk 'NR == 1 {print $2}')" = "$2" ]; then return; fi
  say "installing $1 $2"
  CARGO_TARGET_DIR="$tools/target" cargo install --quiet --debug --locked --root "$tools" "$1@$2"
  rm -rf "$tools/target"
}
