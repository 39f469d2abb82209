#!/bin/sh
# Packs a bucket with 64 jobs of Slurm: sbatch slurm.sh s3://logs/2025
# A job that is preempted, or whose node fails, is queued again, and goes on where it was. One that ends with an error
# is not: submit it again.
#SBATCH --job-name=lmfs-pack
#SBATCH --array=0-63
#SBATCH --cpus-per-task=8
#SBATCH --mem=10G
#SBATCH --requeue
#SBATCH --output=lmfs-pack-%a.log
set -eu
: "${1:?usage: sbatch slurm.sh URL}"
shards=$((SLURM_ARRAY_TASK_MAX + 1))
exec lmfs pack-objects "$1" --level 4 --older-than 7d --threads "$SLURM_CPUS_PER_TASK" \
    --shard "$SLURM_ARRAY_TASK_ID/$shards"
