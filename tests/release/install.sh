#!/bin/sh
# Installs what the checks before a release need beside tests/peers/install.sh. Safe to run again; needs npm, root or sudo.
set -eu
cd "$(dirname "$0")"
OHIF=3.12.10 # its packed distribution: as a dependency it would bring everything that it was built from

npm install --ignore-scripts --no-audit --no-fund --silent
if [ ! -e "ohif/$OHIF" ]; then
    rm -rf ohif && mkdir ohif
    npm pack --silent --pack-destination ohif "@ohif/app@$OHIF" >/dev/null
    tar -xzf "ohif/ohif-app-$OHIF.tgz" -C ohif --strip-components=1
    rm "ohif/ohif-app-$OHIF.tgz"
    touch "ohif/$OHIF"
fi
# what OHIF reads from; what builds the packages and the bundle; what judges and tries them and the documents
packages="orthanc-dicomweb \
    debhelper gcc gpg libsystemd-dev patchelf pkg-config python3-pip \
    debootstrap gpgv lintian nftables nginx-light prometheus systemd-container"
# shellcheck disable=SC2086 # a list
if ! dpkg-query --show --showformat='${Status}\n' $packages 2>&1 | awk '!/ installed$/ { exit 1 }'; then
    [ "$(id -u)" -eq 0 ] && as_root="" || as_root="sudo -n"
    policy=/usr/sbin/policy-rc.d # a service that apt would start stays stopped
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod +x "$policy"
        trap '$as_root rm -f "$policy"' EXIT
    fi
    # shellcheck disable=SC2086 # nothing, or sudo; a list
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $packages
fi
