#!/bin/sh
# cargo deny check, with a cargo-deny of the pinned version: the user's own, or one built once into target/tools.
set -eu
version=0.20.2
tool=cargo-deny
if [ "$($tool --version 2>/dev/null || true)" != "cargo-deny $version" ]; then
    tool=target/tools/bin/cargo-deny
    if [ "$($tool --version 2>/dev/null || true)" != "cargo-deny $version" ]; then
        echo "deny: building cargo-deny $version (once, some minutes)"
        cargo install --quiet --locked --version "=$version" --root target/tools cargo-deny
    fi
fi
"$tool" check --hide-inclusion-graph bans licenses sources
# Known faults are listed in a git repository that has to be fetched, which a machine without that road cannot do.
if "$tool" fetch db 2>target/deny-fetch.log; then
    "$tool" check --disable-fetch --hide-inclusion-graph advisories
else
    echo "deny: NOT CHECKED: known faults (advisories), because their list cannot be fetched:" >&2
    grep -m 1 fatal target/deny-fetch.log >&2 || tail -n 1 target/deny-fetch.log >&2
fi
