# shellcheck shell=bash
# Sets a Debian or Ubuntu machine up for scripts/demo, scripts/test and scripts/bench, which
# source this. Everything here may be called again at any time: what is there already costs
# next to nothing and prints nothing.
#
#   setup_packages KIND                what to install with apt-get (as root, or with sudo)
#   setup_stompjs                      the STOMP client of Node.js, in .cache/interop
#   setup_venv system|local [GROUP…]   .venv with the project and those dependency groups
#   setup_libvirtd                     qemu:///system answers, its network "default" is up
#   setup_image_dir                    prints the directory to keep guest images in
#   setup_hand_back                    under sudo: what was made in the checkout is its owner's
#   as_root COMMAND…                   runs a command as root
#
# KIND is system: with libvirt, QEMU and what builds guests; local: only what Python needs; brokers:
# other people's STOMP brokers and clients, for tests; scp, guest-agent: for the benchmarks.

setup_repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

setup_say() { printf 'setup: %s\n' "$*" >&2; }
setup_fail() {
    setup_say "$*"
    return 1
}

as_root() {
    if [[ $EUID == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo --preserve-env "$@"
    else
        setup_fail "this needs root, and there is no sudo: $*"
    fi
}

# -- packages --------------------------------------------------------------------------------

setup_system_packages=(
    # the hypervisor, and the guests' network
    qemu-system-x86 qemu-utils seabios ovmf ipxe-qemu
    libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-daemon-config-network libvirt-clients
    dnsmasq-base iptables iproute2
    # libvirt-python comes as source
    libvirt-dev pkg-config gcc libc6-dev python3-dev python3-venv ca-certificates
    # guest images
    mmdebstrap debian-archive-keyring kmod xz-utils e2fsprogs fdisk dosfstools mtools
    syslinux syslinux-common
)

# RabbitMQ, ActiveMQ, a client in Perl, and Node.js for one in JavaScript. Java and Node.js may come
# from elsewhere.
setup_broker_packages=(rabbitmq-server activemq libnet-stomp-perl)
setup_stompjs_version=7.5.0

setup_packages() {
    local package missing=() install=setup_apt_get
    case ${1-} in
        system)
            for package in "${setup_system_packages[@]}"; do
                setup_is_installed "$package" || missing+=("$package")
            done
            ;;
        local) setup_find_python venv >/dev/null || missing=(python3 python3-venv) ;;
        guest-agent) [ -x /usr/sbin/qemu-ga ] || missing=(qemu-guest-agent) ;;
        scp) command -v scp >/dev/null || missing=(openssh-client) ;;
        brokers)
            install=setup_apt_get_quietly
            for package in "${setup_broker_packages[@]}"; do
                setup_is_installed "$package" || missing+=("$package")
            done
            command -v java >/dev/null || missing+=(default-jre-headless)
            command -v node >/dev/null || missing+=(nodejs)
            command -v npm >/dev/null || missing+=(npm)
            ;;
        *) setup_fail "setup_packages: system, local, brokers, scp or guest-agent, not '${1-}'" || return ;;
    esac
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        setup_fail "not installed: ${missing[*]}; there is no apt-get to install them with" || return
    [[ $EUID == 0 ]] || command -v sudo >/dev/null ||
        setup_fail "not installed: ${missing[*]}; install them, or run this as root" || return
    setup_say "installing ${missing[*]}"
    if ! setup_apt_get update ||
        ! "$install" install --yes --no-install-recommends "${missing[@]}"; then
        setup_fail "could not install: ${missing[*]} (what apt-get says is above)"
    fi
}

setup_is_installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Quiet unless it fails: then all that it printed is shown.
setup_apt_get() {
    local printed
    printed=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" 2>&1 </dev/null) || {
        printf '%s\n' "$printed" >&2
        return 1
    }
}

# As above, but no service of what is installed is started, now or at the next boot.
setup_policy=/usr/sbin/policy-rc.d
setup_apt_get_quietly() {
    local status=0 made=''
    if [[ ! -e $setup_policy ]]; then
        made=1
        printf '#!/bin/sh\nexit 101\n' | as_root install --mode=755 /dev/stdin "$setup_policy" ||
            return
    fi
    setup_apt_get "$@" || status=$?
    [[ -z $made ]] || as_root rm -f "$setup_policy"
    if [[ -d /run/systemd/system ]]; then
        as_root systemctl disable --quiet rabbitmq-server.service epmd.service epmd.socket \
            activemq.service >/dev/null 2>&1 || true
    fi
    return "$status"
}

setup_stompjs() {
    local dir=$setup_repo/.cache/interop printed
    local stamp=$dir/.stompjs-$setup_stompjs_version
    [[ ! -e $stamp ]] || return 0
    setup_say "installing @stomp/stompjs $setup_stompjs_version in .cache/interop"
    rm -rf "$dir"
    mkdir -p "$dir"
    printed=$(npm install --prefix "$dir" --no-save --no-audit --no-fund --ignore-scripts \
        --loglevel=error "@stomp/stompjs@$setup_stompjs_version" 2>&1 </dev/null) || {
        printf '%s\n' "$printed" >&2
        return 1
    }
    touch "$stamp"
    setup_hand_back
}

# -- Python ----------------------------------------------------------------------------------

# Prints the first Python that is new enough; with "venv" it must be able to make one.
setup_find_python() {
    local python check='import sys; sys.exit(sys.version_info < (3, 11))'
    [[ ${1-} == venv ]] && check="import venv, ensurepip; $check"
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c "$check" 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    return 1
}

setup_venv() {
    local kind=${1-} python version state stamp project=. group groups=()
    case $kind in
        system) project='.[client,libvirt,tls]' ;;
        local) project='.[client]' ;;
        *) setup_fail "setup_venv: system or local, not '$kind'" || return ;;
    esac
    shift
    for group in "$@"; do groups+=(--group "$group"); done

    python=$setup_repo/.venv/bin/python
    if ! version=$("$python" -c 'import sys; print(sys.version); sys.exit(sys.version_info < (3, 11))' \
        2>/dev/null); then
        setup_new_venv || return
        version=$("$python" -c 'import sys; print(sys.version)')
    fi
    # One stamp for each set of arguments: what one script installs, another one doesn't undo.
    # What system has, local has, too.
    state=$({ cat "$setup_repo/pyproject.toml" && echo "$version"; } | sha256sum | cut -c 1-16)
    stamp=$setup_repo/.venv/.setup-$state-
    if [[ -e $stamp$(printf '%s+' system "$@") || -e $stamp$(printf '%s+' "$kind" "$@") ]]; then
        setup_hand_back
        return
    fi
    stamp+=$(printf '%s+' "$kind" "$@")

    setup_say "installing the project${*:+ with the groups: $*} in .venv"
    if ! setup_has_new_pip "$python"; then
        setup_pip "$python" install --upgrade 'pip>=25.1' || return
    fi
    (cd "$setup_repo" && setup_pip "$python" install --editable "$project" "${groups[@]}") || return
    find "$setup_repo/.venv" -maxdepth 1 -name '.setup-*' ! -name ".setup-$state-*" -delete
    touch "$stamp"
    setup_hand_back
}

# What root has made in a checkout of somebody else's would be in that user's way later: it is
# given to them, and nothing outside the checkout, nor what symbolic links in it point to. The
# guests stay root's: the trees that they are made of have the owners that the guest will see.
# From here on Python leaves no bytecode of root's there.
setup_hand_back() {
    local repo=$setup_repo
    [[ $EUID == 0 && -n ${SUDO_UID-} && -n ${SUDO_GID-} && $SUDO_UID != 0 ]] || return 0
    [[ $(stat --format=%u "$repo") == "$SUDO_UID" ]] || return 0
    export PYTHONDONTWRITEBYTECODE=1
    # Files come and go meanwhile when something else runs there.
    {
        find "$repo" -maxdepth 1 \( -name .venv -o -name '*.egg-info' -o -name '_trial_temp*' \
            -o -name '.coverage*' -o -name '.*_cache' -o -name .hypothesis \) -print0
        find "$repo" -path "$repo/.git" -prune -o -path "$repo/.venv" -prune -o \
            -path "$repo/.cache" -prune -o -name __pycache__ -print0
        find "$repo" -maxdepth 2 -path "$repo/.cache/*" ! -path "$repo/.cache/guest-image" -print0
    } | xargs -0 --no-run-if-empty chown --no-dereference --recursive -P "$SUDO_UID:$SUDO_GID" \
        2>/dev/null || true
    if [[ -d $repo/.cache && ! -L $repo/.cache ]]; then
        chown --no-dereference "$SUDO_UID:$SUDO_GID" "$repo/.cache"
    fi
}

setup_new_venv() {
    local python
    python=$(setup_find_python venv) || setup_fail \
        "no Python >= 3.11 that can make a venv: python3 here is $(python3 --version 2>&1 || true)" \
        || return
    setup_say "making .venv with $python"
    "$python" -m venv --clear "$setup_repo/.venv"
}

# Dependency groups came with pip 25.1.
setup_has_new_pip() {
    "$1" -c 'import sys, pip
sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1))' 2>/dev/null
}

# Quiet unless it fails, as above.
setup_pip() {
    local python=$1 printed
    shift
    printed=$(PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
        "$python" -m pip --quiet "$@" 2>&1) || {
        printf '%s\n' "$printed" >&2
        return 1
    }
}

# -- libvirt ---------------------------------------------------------------------------------

setup_virsh() { LC_ALL=C as_root virsh --quiet --connect qemu:///system "$@" </dev/null; }

setup_libvirtd() {
    command -v virsh >/dev/null ||
        setup_fail "virsh isn't installed: setup_packages system installs it" || return
    if ! setup_virsh uri >/dev/null 2>&1; then
        setup_say "starting libvirtd"
        setup_start_libvirtd || return
        setup_wait_for_libvirtd 30 || return
    fi
    setup_kvm_device
    setup_default_network
}

# As udev would have it. Where no udev runs, /dev/kvm is root's only; libvirt 9 then finds KVM
# when it examines QEMU as root but not when it asks as QEMU's user, mistrusts what it remembers
# of QEMU, and examines it anew for 4 s at each definition of a domain.
setup_kvm_device() {
    [[ -c /dev/kvm && ! -d /run/systemd/system ]] || return 0
    [[ $(stat --format='%G 0%a' /dev/kvm) =~ ^kvm|[67]$ ]] && return 0
    getent group kvm >/dev/null || return 0
    if ! as_root chgrp kvm /dev/kvm || ! as_root chmod 660 /dev/kvm; then
        setup_say "/dev/kvm can't be given to the group kvm; libvirt will be slow"
    fi
}

setup_start_libvirtd() {
    local unit daemon
    if [[ -d /run/systemd/system ]]; then
        for unit in libvirtd.service virtqemud.service; do
            systemctl cat "$unit" >/dev/null 2>&1 || continue
            [[ $unit == libvirtd.service ]] ||
                as_root systemctl start virtnetworkd.socket virtlogd.socket
            as_root systemctl start "$unit" ||
                setup_fail "systemctl start $unit failed; see: journalctl --unit $unit" || return
            return 0
        done
        setup_fail "systemd knows neither libvirtd.service nor virtqemud.service"
        return
    fi
    for daemon in virtlogd libvirtd; do
        if ! setup_is_running "$daemon"; then
            # Away from the caller's files: a daemon must not hold a pipe of his open.
            as_root "$daemon" --daemon </dev/null >/dev/null 2>&1 ||
                setup_fail "$daemon --daemon failed; to see why, run: $daemon --verbose" || return
        fi
    done
}

# By the name of the process, as files with numbers outlive a machine that went down.
setup_is_running() {
    local comm name
    for comm in /proc/[0-9]*/comm; do
        { read -r name <"$comm"; } 2>/dev/null && [[ $name == "$1" ]] && return
    done
    return 1
}

setup_wait_for_libvirtd() {
    local deadline=$((SECONDS + $1)) answer=''
    until answer=$(setup_virsh uri 2>&1); do
        ((SECONDS < deadline)) ||
            setup_fail "libvirtd was started but qemu:///system did not answer in $1 s: $answer" ||
            return
        sleep 0.2
    done
}

setup_default_network() {
    local shipped answer
    if ! setup_virsh net-info default >/dev/null 2>&1; then
        for shipped in /usr/share/libvirt/networks/default.xml \
            /etc/libvirt/qemu/networks/default.xml; do
            [[ -e $shipped ]] || continue
            setup_say "defining libvirt's network default"
            setup_virsh net-define "$shipped" >/dev/null && break
        done
    fi
    if ! setup_virsh net-list --name | grep -qx default; then
        setup_say "starting libvirt's network default"
        if ! answer=$(setup_virsh net-start default 2>&1); then
            [[ $answer == *"already in use"* ]] && setup_move_network &&
                answer=$(setup_virsh net-start default 2>&1) ||
                setup_fail "libvirt's network default can't be started: $answer" || return
        fi
    fi
    setup_virsh net-list --name --autostart | grep -qx default ||
        setup_virsh net-autostart default >/dev/null ||
        setup_say "libvirt's network default will not start by itself after a reboot"
}

# A machine that is itself a guest of libvirt's has the addresses of its default network on its
# own interface already: there the network takes other ones.
setup_move_network() {
    local third xml moved
    xml=$(setup_virsh net-dumpxml --inactive default) || return
    for third in {123..199}; do
        ip route show | grep -qF "192.168.$third." && continue
        moved=$(mktemp)
        printf '%s\n' "${xml//192.168.122./192.168.$third.}" >"$moved"
        setup_say "192.168.122.0/24 is in use here; the network default gets 192.168.$third.0/24"
        setup_virsh net-define "$moved" >/dev/null
        rm -f "$moved"
        return
    done
    return 1
}

# QEMU runs as a user of its own, libvirt-qemu. libvirt gives it the disks, but the directories
# above them it must be able to pass by itself. A checkout below a closed home directory is out
# of its reach; then images are kept in /var/cache.
setup_image_dir() {
    local dir=$setup_repo
    while [[ $dir != / ]]; do
        if ((($(stat --format='0%a' "$dir") & 1) == 0)); then
            echo /var/cache/vmcontroller/guest-image
            return
        fi
        dir=$(dirname "$dir")
    done
    mkdir -p "$setup_repo/.cache" # by whoever has to build in it; to be handed back
    setup_hand_back
    printf '%s\n' "$setup_repo/.cache/guest-image"
}
