# shellcheck shell=bash
# Shell helpers that the scripts share; sourced, never run.
#
# Everything here works under `set -euo pipefail`, without a terminal and without standard input.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Cargo's own rule, so that scripts, tests and the compiler agree on one folder.
target=${CARGO_TARGET_DIR:-$root/target}
# What the tests need besides the binary: interpreters' packages, private brokers, scratch folders.
# shellcheck disable=SC2034
rigs=$target/rigs

heading() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# step TITLE COMMAND...: runs the command under a heading and tells how long it took.
# A failure ends the script with the command's own exit code.
step() {
    local title=$1 began=$SECONDS code=0
    shift
    heading "$title"
    # A shell of its own with errors fatal inside: under `if` or `||` they would not be.
    set +e
    (
        set -e
        "$@"
    )
    code=$?
    set -e
    if ((code != 0)); then
        printf 'failed after %d s: %s (exit code %d)\n' $((SECONDS - began)) "$title" "$code" >&2
        exit "$code"
    fi
    note "done in $((SECONDS - began)) s"
}

# await SECONDS COMMAND...: tries the command until it succeeds; fails when the time is over.
await() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.1
    done
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n --preserve-env=DEBIAN_FRONTEND -- "$@"
    else
        die "needs root for: $*
       Run this script as root, allow sudo without a password, or run that command yourself."
    fi
}

# apt_install PACKAGE...: installs without starting any service that a package brings.
#
# Debian asks /usr/sbin/policy-rc.d before it starts a service; ours says no for the time of the install.
# The RabbitMQ that the tests use is a private node, and one on the usual port would only be in the way.
apt_install() {
    have apt-get || die "this system has no apt-get: install by hand: $*"
    local policy=/usr/sbin/policy-rc.d kept=/usr/sbin/policy-rc.d.before-leveret code=0
    export DEBIAN_FRONTEND=noninteractive
    if [[ -e $policy && ! -e $kept ]]; then
        as_root mv "$policy" "$kept"
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    # A machine that is new has no package lists yet, and old lists name versions that are gone.
    { as_root apt-get update -q && as_root apt-get install -y -q --no-install-recommends "$@"; } ||
        code=$?
    as_root rm -f "$policy"
    if [[ -e $kept ]]; then
        as_root mv "$kept" "$policy"
    fi
    return "$code"
}

# Where Debian's package keeps the server script that runs as whoever calls it; the one on the PATH
# changes to the user rabbitmq and to the system's own data folder.
rabbitmq_bin() {
    local dir
    for dir in "${RABBITMQ_BIN:-}" /usr/lib/rabbitmq/bin /usr/local/lib/rabbitmq/bin /opt/rabbitmq/sbin; do
        if [[ -n $dir && -x $dir/rabbitmq-server ]]; then
            printf '%s\n' "$dir"
            return 0
        fi
    done
    return 1
}

need_rabbitmq() {
    if rabbitmq_bin >/dev/null; then
        return 0
    fi
    note "installing Debian's package rabbitmq-server"
    apt_install rabbitmq-server
    rabbitmq_bin >/dev/null || die "rabbitmq-server is installed, but its scripts are not where Debian puts them; set RABBITMQ_BIN"
}

# What etcd's client is made of is compiled from its .proto files at build time.
need_protoc() {
    local missing=()
    have protoc || missing+=(protobuf-compiler)
    [[ -n ${PROTOC_INCLUDE:-} || -f /usr/include/google/protobuf/descriptor.proto ||
        -f /usr/local/include/google/protobuf/descriptor.proto ]] || missing+=(libprotobuf-dev)
    if ((${#missing[@]})); then
        note "installing Debian's packages ${missing[*]}"
        apt_install "${missing[@]}"
    fi
}

# nsqadmin's pages are tested in a browser.
need_chromium() {
    if ! have "${CHROMIUM:-chromium}"; then
        note "installing Debian's package chromium"
        apt_install chromium
    fi
}

need_etcd() {
    if have "${ETCD:-etcd}"; then
        return 0
    fi
    note "installing Debian's package etcd-server"
    apt_install etcd-server
    have etcd || die "etcd-server is installed, but there is no etcd on the PATH; set ETCD to its path"
}

# The drivers of client libraries, and what they need.
clients=$root/tests/clients

need_python() {
    local missing=()
    have python3 || missing+=(python3)
    # Debian cuts the venv module's other half out of Python's own package.
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    if ((${#missing[@]})); then
        apt_install "${missing[@]}"
    fi
}

# What decides about the packages' content; a second run that finds the same installs nothing.
stamp_of() { { cat "$@" && printf '%s\n' "$root"; } | sha256sum; }

install_once() {
    local name=$1 install=$2 stamp
    shift 2
    stamp=$(stamp_of "$@")
    if [[ -f $rigs/$name/stamp && $(<"$rigs/$name/stamp") == "$stamp" ]]; then
        note "$name: as before"
        return 0
    fi
    rm -rf "${rigs:?}/$name"
    mkdir -p "$rigs/$name"
    # Not under `if` or `||`: errors inside are to end the script.
    "$install"
    printf '%s\n' "$stamp" >"$rigs/$name/stamp"
    note "$name: installed"
}

install_venv() {
    need_python
    python3 -m venv "$rigs/venv"
    "$rigs/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        -r "$clients/requirements.txt"
}
