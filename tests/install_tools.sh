#!/bin/sh
# Installs the Debian packages that tests need and that are missing; where it may not, it says which they are.
set -eu

missing=""
test -x /usr/lib/postgresql/15/bin/initdb || missing="$missing postgresql-15"
test -x /usr/sbin/pgbouncer || missing="$missing pgbouncer"
test -x "${CHROMIUM:-/usr/bin/chromium}" || missing="$missing chromium"
test -n "$missing" || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "Some tests will fail, or be skipped with CRM_TEST_WITHOUT_TOOLS=1. They need these packages of Debian:$missing"
    exit 0
fi

# Tests make clusters of their own: no cluster and no pooler is to start with the installation.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
install() { apt-get -qq -y --no-install-recommends install "$@" >/dev/null; }
apt-get -qq update
case "$missing" in
*postgresql-15*)
    install postgresql-common
    sed -i 's/^#* *create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    ;;
esac
for package in $missing; do
    install "$package" || echo "Some tests will fail: Debian's package $package could not be installed."
done
