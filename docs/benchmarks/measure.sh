#!/usr/bin/env bash
# Measures training on one GPU as docs/benchmarks/2026-12-h200-graphs.md has it, and writes what it finds to text files.
#
#   docs/benchmarks/measure.sh DATA OUT PART…
#
# DATA is made unless it is there: one synthetic subject of 600 training frames and 150 others of 512 x 512. OUT gets a file
# per part, whole lines as they come, so that a measurement that is cut off keeps what it has. PARTs, each on a GPU that
# does nothing else but the last, which keeps three runs at work: tests, steps, batches, whole, seeds.
set -euo pipefail
data=$1 out=$2
shift 2
mkdir -p "$out"
all="FateAvatar FlashAvatar GaussianAvatars SplattingAvatar"
[ -d "$data/insta" ] || bench data synth "$data" --frames 750 --size 512 --seed 0 --no-around

stamped() { # every line with the seconds since the start
    local start
    start=$(date +%s%N)
    while IFS= read -r line; do printf '%7.2f %s\n' "$(((($(date +%s%N) - start) / 10000000)))e-2" "$line"; done
}
profile() { # LABEL METHODS OPTION…
    echo "== $1"
    bench profile --data-root "$data" --preset fateavatar --methods "$2" "${@:3}"
}
run() { # FOLDER METHODS OPTION…
    bench run --data-root "$data" --datasets insta --preset fateavatar --methods "$2" --out "$out/runs/$1" "${@:3}"
}
tests() { python -m pytest -m gpu -n 6 --dist worksteal -q -rf; }
steps() { # criterion: iterations per second from the start, and what a step's kernels are
    profile "batch 1" all
    profile "FlashAvatar, 14,918" FlashAvatar --set FlashAvatar.uv_size=151
    profile "the same in TF32" FlashAvatar --set FlashAvatar.uv_size=151 --set FlashAvatar.products=tf32
    profile "SplattingAvatar from 30,000" SplattingAvatar --set SplattingAvatar.num_points=30000
    for products in float32 tf32; do
        profile "MonoGaussianAvatar, 100,000, $products" MonoGaussianAvatar --warmup 15 --steps 40 \
            --set MonoGaussianAvatar.start_points=100000 --set MonoGaussianAvatar.products=$products
    done
    HEADBENCH_SPARE_ROWS=0.25 profile "spare rows" GaussianAvatars,SplattingAvatar
}
batches() {
    for size in 2 4 8 16; do
        options=()
        for method in $all; do options+=(--set "$method.batch=$size"); done
        profile "batch $size" "${all// /,}" --warmup $((160 / size)) --steps $((480 / size)) "${options[@]}"
        HEADBENCH_TARGET_FEATURES=0.4 HEADBENCH_SPARE_ROWS=0.25 profile "batch $size, kept features, spare rows" \
            SplattingAvatar --warmup $((640 / size)) --steps $((240 / size)) --set SplattingAvatar.batch=$size
    done
}
whole() { # the second of two runs is warm
    for method in $all; do
        run "warm-$method" "$method" --limit 20 --no-report > /dev/null
        echo "== $method"
        run "whole-$method" "$method" | stamped
        bench status "$out/runs/whole-$method" --times
    done
}
seeds() {
    run seeds FlashAvatar,SplattingAvatar,FateAvatar,GaussianAvatars --seeds 0,1,2 --workers 3
    bench report "$out/runs/seeds" --format markdown
}
for part in "$@"; do
    "$part" > "$out/$part.txt" 2>&1
done
