#!/bin/sh
# Installs the programs that the tests use as second implementations. Safe to run again.
# Needs root or sudo for the distribution's packages; without, it says what it could not do and exits 1.
set -eu
cd "$(dirname "$0")"

missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need storescp dcmtk
need gdcmconv libgdcm-tools
need Orthanc orthanc
need dciodvfy dicom3tools
need chromium chromium
need node nodejs
need npm npm
need curl curl
need ip iproute2
need unshare util-linux
need systemd-analyze systemd
need systemd-nspawn systemd-container
need pkg-config pkg-config
need g++ g++
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
[ -e /usr/include/systemd/sd-daemon.h ] || missing="$missing libsystemd-dev gcc"

failed=0
if [ -n "$missing" ]; then
    if [ "$(id -u)" -eq 0 ]; then as_root=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo"
    else as_root="none"
    fi
    if [ "$as_root" = none ]; then
        echo "not installed, for want of root or sudo:$missing" >&2
        failed=1
    else
        # services that apt would start with what it installs (Orthanc listens on every interface) stay stopped
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
            $as_root chmod +x "$policy"
            trap '$as_root rm -f "$policy"' EXIT
        fi
        # another apt may hold the lock: wait for it
        $as_root apt-get -o DPkg::Lock::Timeout=600 update -qq
        # shellcheck disable=SC2086 # a list of packages, and sudo or nothing
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=600 install -y -qq --no-install-recommends $missing
    fi
fi

if command -v npm >/dev/null 2>&1; then
    npm install --ignore-scripts --no-audit --no-fund --silent
else
    echo "not installed, for want of npm: the MLLP receiver's and the FHIR server's packages" >&2
    failed=1
fi
exit "$failed"
