#!/bin/sh
# The filesystem testers that Debian does not have, of pinned versions: the user's own, or built once into target/tools.
set -eu
for tool in pjdfstest:0.2.2 fsx:0.3.2; do
    name=${tool%%:*} version=${tool##*:}
    for at in "$name" "target/tools/bin/$name"; do
        [ "$($at --version 2>/dev/null || true)" != "$name $version" ] || continue 2
    done
    echo "testers: building $name $version (once, a minute)"
    cargo install --quiet --locked --version "=$version" --root target/tools "$name"
done
