#!/bin/sh
# Packs a bucket with GNU parallel: parallel.sh URL SHARDS [OPTIONS OF PARALLEL...], such as
#     parallel.sh s3://logs/2025 64 --sshloginfile hosts --env AWS_ACCESS_KEY_ID --env AWS_SECRET_ACCESS_KEY \
#         --env AWS_REGION
# Run it again after an interruption: shards that are done are left out, and the others go on where they were.
set -eu
: "${2:?usage: parallel.sh URL SHARDS [OPTIONS OF PARALLEL...]}"
url=$1 shards=$2
shift 2
seq 0 $((shards - 1)) | parallel --joblog lmfs-pack.log --resume-failed --retries 3 "$@" \
    lmfs pack-objects "$url" --level 4 --older-than 7d --threads 1 --shard "{}/$shards"
