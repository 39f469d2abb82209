#!/bin/sh
# Pictures and speech for `lmfs eval --paper`, out of packages: usage: eval-data.sh FOLDER
# scikit-image (BSD) ships photographs as PNG, alsa-utils (GPL) spoken words as WAV. Neither is in any training data.
set -eu
folder=${1:?usage: eval-data.sh FOLDER}
mkdir -p "$folder/pictures" "$folder/speech"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$scratch" scikit-image==0.26.0
python3 - "$scratch" "$folder/pictures" <<'PY'
import pathlib, sys, zipfile
scratch, pictures = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
    for name in wheel.namelist():
        if name.startswith("skimage/data/") and name.endswith((".png", ".tif")):
            (pictures / pathlib.Path(name).name).write_bytes(wheel.read(name))
PY

(cd "$scratch" && apt-get download --quiet=2 alsa-utils && dpkg -x alsa-utils_*.deb alsa)
cp "$scratch"/alsa/usr/share/sounds/alsa/*_*.wav "$folder/speech/"
find "$folder" -type f | sort
