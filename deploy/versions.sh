#!/bin/sh
# `make test-versions`: tests/integration and tests/acceptance on this machine's servers with classic and with quorum
# queues, and on Debian sid's (RabbitMQ 4.3 or newer, PostgreSQL 18, Redis 8) in a chroot, with quorum queues.
# Root on Debian or Ubuntu only. The chroot stays in .tiercel/sid for the next time; `FRESH=1` makes it anew.
set -eu
cd "$(dirname "$0")/.."
root=$PWD/.tiercel/sid

die() { echo "tiercel: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "test-versions needs root: debootstrap and chroot do"
command -v apt-get >/dev/null || die "test-versions needs Debian or Ubuntu: it fetches the newer servers from Debian sid"

# In a mount namespace of its own: however this ends, nothing stays mounted.
if [ "${IN_NAMESPACE:-}" != 1 ]; then
    IN_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi

# The machine's own Debian mirror; Ubuntu's has no sid, so there MIRROR must be set.
mirror() {
    if [ -n "${MIRROR:-}" ]; then
        echo "$MIRROR"
    else
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
            sed -nE 's/^(URIs:|deb( \[[^]]*\])?) *([^ ]+).*/\3/p' | grep -m 1 '/debian/*$'
    fi
}

make_chroot() {
    command -v debootstrap >/dev/null || apt-get -qq install -y --no-install-recommends debootstrap >/dev/null ||
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends debootstrap >/dev/null; }
    from=$(mirror) || die "no Debian mirror in apt's sources; set MIRROR"
    echo "sid: debootstrap from the machine's mirror (once; about a minute)"
    rm -rf "$root.new"
    mkdir -p "$root.new"
    # sid may be signed by a key that is younger than this machine's keyring.
    debootstrap --variant=minbase sid "$root.new" "$from" >"$root.log" 2>&1 || {
        echo "sid: its signature can't be checked with this machine's keyring; going on without (tests only)"
        rm -rf "$root.new"
        debootstrap --no-check-gpg --variant=minbase sid "$root.new" "$from" >"$root.log" 2>&1 ||
            { tail -n 20 "$root.log" >&2; die "debootstrap failed"; }
    }
    # Nothing may start a server in there but the tests.
    printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
    chmod 755 "$root.new/usr/sbin/policy-rc.d"
    printf '127.0.0.1 localhost\n' >"$root.new/etc/hosts"
    mount -t proc proc "$root.new/proc"
    DEBIAN_FRONTEND=noninteractive chroot "$root.new" apt-get -qq install -y --no-install-recommends \
        rabbitmq-server redis-server postgresql >>"$root.log" 2>&1 ||
        { tail -n 20 "$root.log" >&2; die "apt-get install in the chroot failed"; }
    umount "$root.new/proc"
    rm -rf "$root.new"/var/cache/apt/archives/*.deb
    rm -rf "$root"
    mv "$root.new" "$root"
}

[ "${FRESH:-}" != 1 ] || rm -rf "$root"
[ -x "$root/usr/bin/redis-server" ] || make_chroot
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind /dev/shm "$root/dev/shm"
# The tests' homes lie here; the servers in the chroot must see them at the same place.
TMPDIR=/tmp
export TMPDIR
mount --bind /tmp "$root/tmp"

failed=
run() {
    name=$1
    shift
    echo "== $name"
    env "$@" .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder ${TESTS:-tests/integration tests/acceptance} -q || failed="$failed [$name]"
}
installed() { dpkg-query ${2:+"--admindir=$2/var/lib/dpkg"} -W -f '${Version}' "$1" | sed -E 's/^[0-9]+://; s/[-+].*//'; }

here="RabbitMQ $(installed rabbitmq-server)"
run "$here, classic queues" TEST_BROKER_QUEUE_TYPE=classic
run "$here, quorum queues" TEST_BROKER_QUEUE_TYPE=quorum
newest="RabbitMQ $(installed rabbitmq-server "$root"), PostgreSQL $(installed postgresql "$root"), Redis $(installed redis-server "$root")"
run "$newest, quorum queues" TEST_BROKER_QUEUE_TYPE=quorum TIERCEL_CHROOT="$root"

[ -z "$failed" ] || die "failed on:$failed"
echo "passed on all three"
