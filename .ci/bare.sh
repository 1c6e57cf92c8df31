# Compilers and machines for other targets than this one; sourced by `.ci/run`, `.ci/boards` and
# `sim/tests/kernel/run`.

# What all tests are built with, and whatever else is to be built of the same pieces. Planted bugs
# sleep until a test wakes one: with them everywhere, nothing is built twice.
readonly features=(--features shingle-sim/canary)
readonly as_tests=(--profile tests --workspace "${features[@]}" --locked)

# has_target TARGET: rustup has it, or gets it.
has_target() {
    rustup target list --installed 2>/dev/null | grep -qx "$1" ||
        rustup target add "$1" >/dev/null 2>&1
}

# find_bare_compiler TARGET...: sets `bare` to a cargo that builds for all of them, and
# `bare_flags`: rustup's, or Debian's where rustup lacks one.
find_bare_compiler() {
    local triple lacking=
    bare=(cargo)
    bare_flags=()
    for triple; do
        has_target "$triple" || lacking=$triple
        bare_flags+=(--target "$triple")
    done
    [[ -n $lacking ]] || return 0
    echo "rustup has no $lacking; using Debian's compiler"
    if [[ ! -x /usr/bin/rustc || ! -d /usr/lib/rustlib/src ]]; then
        apt-get update -qq
        apt-get install -y --no-install-recommends \
            rustc-web cargo-web rust-web-src rust-web-llvm lld-22
    fi
    bare=(env "PATH=/usr/bin:/bin" RUSTC_BOOTSTRAP=1 cargo)
    bare_flags+=(-Zbuild-std=core)
}

# build_bare ARGUMENTS...: builds for the targets that the compiler was found for.
build_bare() {
    local log
    log=$(mktemp)
    # Where the library is built too, its own output is of no interest unless it fails.
    if ! "${bare[@]}" build --release "${bare_flags[@]}" "$@" >"$log" 2>&1; then
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
