#!/usr/bin/env bash
# Distributed training on a machine with GPUs: its speed, and what it promises.
#
#     scripts/ddp_gpu.sh YF DATA.yaml [GPUS]
#
# YF: the program, with yf-train beside it. DATA.yaml: the pairs to measure with. GPUS: how many (2).
# Prints pairs a second on one GPU and on all at the same batch a GPU, then: weights equal on all ranks after an epoch,
# a killed rank, going on with another number of ranks, and, where there is one, the same through torchrun.
# BATCH (64, a GPU), MODEL (mid-n), IMGSZ (640), STEPS (100), CACHE (ram) and FLAGS (--amp) may be set.
set -euo pipefail

yf=$(realpath "$1")
data=$(realpath "$2")
gpus=${3:-2}
batch=${BATCH:-64}
read -ra setup <<< "--data $data --model ${MODEL:-mid-n} --imgsz ${IMGSZ:-640} --cache ${CACHE:-ram} ${FLAGS---amp}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

rate() { # ranks -> pairs a second
    "$yf" bench train "${setup[@]}" --ddp "$1" --batch $((batch * $1)) --steps "${STEPS:-100}" --json |
        python3 -c 'import json, sys; r = json.load(sys.stdin); print(r["pairs_per_s"], r["resident_pairs_per_s"])'
}

echo "== speed, batch $batch a GPU (end to end, and on one batch that is there)"
read -r one one_resident <<< "$(rate 1)"
echo "1 GPU: $one pairs/s end to end, $one_resident resident"
read -r all all_resident <<< "$(rate "$gpus")"
echo "$gpus GPUs: $all pairs/s end to end, $all_resident resident"
python3 -c "print(f'ratio: {$all / $one:.3f} end to end, {$all_resident / $one_resident:.3f} resident')"

echo "== one epoch on $gpus GPUs; every epoch ends with a comparison of all ranks' weights, bit by bit"
"$yf" train "${setup[@]}" --ddp "$gpus" --batch $((batch * gpus)) --epochs 1 --name equal
echo "weights are equal on all ranks"

echo "== a rank is killed in mid-epoch"
"$yf" train "${setup[@]}" --ddp "$gpus" --batch $((batch * gpus)) --epochs 500 --name killed 2> killed.log &
launcher=$!
until [ -f runs/train/killed/weights/last.safetensors ]; do
    kill -0 $launcher || { cat killed.log; exit 1; }
    sleep 0.1
done
sleep 2
ranks=$(pgrep -P $launcher)
victim=$(tail -n 1 <<< "$ranks")
kill -KILL "$victim"
since=$(date +%s.%N)
if wait $launcher; then echo "the launcher does not mind"; exit 1; fi
tail -n 1 killed.log
python3 -c "import time; print(f'all had ended after {time.time() - $since:.1f} s')"
for rank in $ranks; do
    if kill -0 "$rank" 2> /dev/null; then echo "process $rank is left"; exit 1; fi
done

echo "== it goes on with one rank less"
done=$(($(wc -l < runs/train/killed/results.csv)))
sed -i "s/^epochs = .*/epochs = $done/" runs/train/killed/args.toml  # one more than are done: the first line is a heading
"$yf" train --resume runs/train/killed --ddp $((gpus - 1)) 2> resumed.log || { tail resumed.log; exit 1; }
grep -E "^(resuming|epoch $done/$done:)" resumed.log

if command -v torchrun > /dev/null; then
    echo "== through torchrun"
    torchrun --no-python --nproc_per_node "$gpus" "$yf" train "${setup[@]}" --batch $((batch * gpus)) --epochs 1 \
        --name torchrun
    ls runs/train/torchrun/weights
else
    echo "== no torchrun here"
fi
