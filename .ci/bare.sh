# Compilers and machines for other targets than this one; sourced by `.ci/run`, `.ci/boards` and
# `sim/tests/kernel/run`.

# find_bare_compiler TARGET: sets `bare` to a cargo that builds for it, and `bare_flags`: rustup's,
# or Debian's where rustup cannot download.
find_bare_compiler() {
    local triple=$1
    if rustup target list --installed 2>/dev/null | grep -qx "$triple" ||
        rustup target add "$triple" >/dev/null 2>&1; then
        bare=(cargo)
        bare_flags=()
        return
    fi
    echo "rustup has no $triple; using Debian's compiler"
    if [[ ! -x /usr/bin/rustc || ! -d /usr/lib/rustlib/src ]]; then
        apt-get install -y --no-install-recommends \
            rustc-web cargo-web rust-web-src rust-web-llvm lld-22
    fi
    bare=(env "PATH=/usr/bin:/bin" RUSTC_BOOTSTRAP=1 cargo)
    bare_flags=(-Zbuild-std=core)
}

# build_bare TARGET ARGUMENTS...
build_bare() {
    local log triple=$1
    shift
    log=$(mktemp)
    # Where the library is built too, its own output is of no interest unless it fails.
    if ! "${bare[@]}" build --release --target "$triple" "${bare_flags[@]}" "$@" >"$log" 2>&1; then
        cat "$log"
        rm -f "$log"
        return 1
    fi
    tail -n 1 "$log"
    rm -f "$log"
}

# find_kernel FOLDER: sets `release` to that of Debian's kernel, and unpacks it below `debian` there
# with what its first files need.
find_kernel() {
    local package folder
    folder=$(realpath "$1")
    if ! command -v modprobe >/dev/null || ! command -v cpio >/dev/null; then
        apt-get install -qq -y --no-install-recommends kmod cpio >/dev/null
    fi
    if [[ -f $folder/debian/release ]]; then
        release=$(<"$folder/debian/release")
        return
    fi
    apt-get update -qq
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-/ { print $2 }')
    release=${package#linux-image-}
    rm -rf "$folder/debian" "$folder/packages"
    mkdir -p "$folder/debian" "$folder/packages"
    (
        cd "$folder/packages"
        # The one that is signed has no more in it.
        apt-get download -qq "$package" busybox-static 2>/dev/null
        for package in *.deb; do
            dpkg-deb -x "$package" "$folder/debian"
        done
    )
    depmod -b "$folder/debian" "$release"
    echo "$release" >"$folder/debian/release"
}

# find_qemu MACHINE: Debian's backports have the QEMU that fits the tools for disk images.
find_qemu() {
    if command -v "qemu-system-$1" >/dev/null; then
        return
    fi
    local archive codename list=/etc/apt/sources.list.d/shingle-backports.list
    apt-get update -qq
    archive=$(apt-get indextargets --format '$(REPO_URI)' | awk '/debian\/*$/ && !found++')
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    echo "deb $archive $codename-backports main" >"$list"
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends -t "$codename-backports" \
        qemu-system-arm qemu-system-riscv qemu-system-x86 >/dev/null
}
