#!/usr/bin/env bash
# Distributed training on a machine with GPUs: its speed, and what it promises.
#
#     scripts/ddp_gpu.sh YF DATA.yaml [GPUS]
#
# YF: the program, with yf-train beside it. DATA.yaml: the pairs to measure with. GPUS: how many (2).
# Prints pairs a second on one GPU and on more at the same batch a GPU, then, started by yf and, where there is one, by
# torchrun: weights equal on all ranks after an epoch, a killed rank, going on with half the ranks. With REAL=real.yaml it
# also compares mAP50 of one GPU and of all after the same epochs, for the seeds of SEEDS ("0 1 2").
# PARTS ("speed promises real") says which of the three are wanted; BATCH (64, a GPU), MODEL (mid-n), IMGSZ (640), STEPS
# (100), CACHES ("device ram"), FLAGS (--amp), REAL_BATCH (16, in all) and EPOCHS (200) may be set too.
set -euo pipefail

yf=$(realpath "$1")
data=$(realpath "$2")
gpus=${3:-2}
batch=${BATCH:-64}
read -ra flags <<< "${FLAGS---amp}"
setup=(--model "${MODEL:-mid-n}" --imgsz "${IMGSZ:-640}" "${flags[@]}")
real=${REAL:+$(realpath "$REAL")}
folder=$(mktemp -d)
running=()
# What still trains in the background ends with the script: such jobs do not hear Ctrl-C.
trap 'kill "${running[@]}" 2> /dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"

speed() { # cache -> a line for 1, 2, 4, ... GPUs
    local first=""
    for ((n = 1; n <= gpus; n *= 2)); do
        "$yf" bench train --data "$data" "${setup[@]}" --cache "$1" --ddp $n --batch $((batch * n)) \
            --steps "${STEPS:-100}" --json > speed.json
        first=${first:-$(cat speed.json)}
        python3 - "$first" "$1" $n << 'PYTHON'
import json, sys
first, now = json.loads(sys.argv[1]), json.load(open("speed.json"))
kinds = {"pairs_per_s": "end to end", "resident_pairs_per_s": "network alone", "first_epoch_pairs_per_s": "first epoch"}
told = [f"{now[key]:,.0f} {name} ({now[key] / first[key]:.3f})" for key, name in kinds.items()]
print(f"--cache {sys.argv[2]}, {sys.argv[3]} GPUs: " + ", ".join(told), flush=True)
PYTHON
    done
}

seconds_since() { python3 -c "import time; print(f'{time.time() - $1:.1f}')"; }

# NAME COMMAND...: trains long, kills one rank after the first epoch, and waits for the others.
kill_one_rank() {
    local name=$1 launcher ranks since
    shift
    "$@" train --data "$data" "${setup[@]}" --cache ram --batch $((batch * gpus)) --epochs 500 --name "$name" \
        ${ddp:+--ddp $ddp} > "$name.log" 2>&1 &
    launcher=$!
    running=("$launcher")
    until [ -f "runs/train/$name/weights/last.safetensors" ]; do
        kill -0 $launcher || { cat "$name.log"; exit 1; }
        sleep 0.1
    done
    sleep 2
    ranks=$(pgrep -P $launcher)
    kill -KILL "$(tail -n 1 <<< "$ranks")"
    since=$(date +%s.%N)
    if wait $launcher; then echo "the launcher does not mind"; exit 1; fi
    running=()
    grep -m 1 "rank" <<< "$(tail -n 40 "$name.log" | grep "error:" || tail -n 1 "$name.log")" || true
    for rank in $ranks; do
        if kill -0 "$rank" 2> /dev/null; then echo "process $rank is left"; exit 1; fi
    done
    echo "all had ended after $(seconds_since "$since") s"
}

# NAME COMMAND...: goes on with a killed run for one epoch.
go_on() {
    local name=$1 epochs
    shift
    epochs=$(wc -l < "runs/train/$name/results.csv") # one more than are done: the first line is a heading
    sed -i "s/^epochs = .*/epochs = $epochs/" "runs/train/$name/args.toml"
    "$@" train --resume "runs/train/$name" ${ddp:+--ddp $ddp} > "$name-resumed.log" 2>&1 || { tail "$name-resumed.log"; exit 1; }
    grep -E "^(resuming|epoch $epochs/$epochs:)" "$name-resumed.log"
}

# NAME COMMAND-FOR-N...: what distributed training promises, by one launcher; `ddp` is its --ddp, where it has one.
promises() {
    local name=$1 all=$2 half=$3
    echo "== $name: one epoch on $gpus GPUs; every epoch ends with a comparison of all ranks' weights, bit by bit"
    ddp=${ddp:+$gpus}
    $all train --data "$data" "${setup[@]}" --cache ram --batch $((batch * gpus)) --epochs 1 --name "$name-equal" \
        ${ddp:+--ddp $ddp} > "$name-equal.log" 2>&1 || { tail "$name-equal.log"; exit 1; }
    echo "weights are equal on all ranks"
    echo "== $name: a rank is killed in mid-epoch"
    kill_one_rank "$name" $all
    ddp=${ddp:+$((gpus / 2))}
    echo "== $name: it goes on with $((gpus / 2)) of them"
    go_on "$name" $half
}

start_real() { # GPUS SEED DEVICES: begins a training, which is the last of `running`
    "$yf" train --data "$real" "${setup[@]}" --batch "${REAL_BATCH:-16}" --epochs "${EPOCHS:-200}" --patience 0 --seed "$2" \
        --ddp "$1" --device "$3" --name "real-$1-$2" > "real-$1-$2.log" 2>&1 &
    running+=($!)
}

end_real() { # GPUS SEED PROCESS -> a line
    local name=real-$1-$2 last
    wait "$3" || { tail "$name.log"; exit 1; }
    last=$(tail -n 1 "runs/train/$name/results.csv")
    echo "$1 GPUs, seed $2: mAP50 $(cut -d, -f8 <<< "$last"), mAP50-95 $(cut -d, -f9 <<< "$last")" | tee -a "real-$1.txt"
}

all_speeds() {
    echo "== pairs a second, batch $batch a GPU (beside them: times one GPU)"
    for cache in ${CACHES:-device ram}; do speed "$cache"; done
}

all_promises() {
    ddp=1 promises yf "$yf" "$yf"
    if ! command -v torchrun > /dev/null; then echo "== no torchrun here" && return; fi
    local run="torchrun --no-python --nproc_per_node"
    ddp="" promises torchrun "$run $gpus $yf" "$run $((gpus / 2)) $yf"
}

summary() { # GPUS -> a line for all seeds
    python3 - "$1" << 'PYTHON'
import re, statistics, sys
found = [re.findall(r"mAP\S+ ([0-9.]+)", line) for line in open(f"real-{sys.argv[1]}.txt")]
for name, values in zip(["mAP50", "mAP50-95"], zip(*found)):
    values = sorted(map(float, values))
    spread = statistics.stdev(values) if len(values) > 1 else 0
    print(f"{sys.argv[1]} GPUs, {name}: mean {statistics.mean(values):.3f}, standard deviation {spread:.3f}, "
          f"{values[0]:.3f} to {values[-1]:.3f}")
PYTHON
}

compare_real() {
    local seeds
    read -ra seeds <<< "${SEEDS:-0 1 2}"
    echo "== mAP50 after ${EPOCHS:-200} epochs of $real, batch ${REAL_BATCH:-16} in all"
    for i in "${!seeds[@]}"; do start_real 1 "${seeds[i]}" $((i % gpus)); done
    for i in "${!seeds[@]}"; do end_real 1 "${seeds[i]}" "${running[i]}"; done
    for seed in "${seeds[@]}"; do
        running=()
        start_real "$gpus" "$seed" "$(seq -s, 0 $((gpus - 1)))"
        end_real "$gpus" "$seed" "${running[0]}"
    done
    running=()
    for n in 1 "$gpus"; do summary "$n"; done
}

for part in ${PARTS:-speed promises real}; do
    case $part in
        speed) all_speeds ;;
        promises) all_promises ;;
        real) [ -z "$real" ] || [ "$gpus" = 1 ] || compare_real ;;
        *) echo "PARTS: no part '$part'" && exit 2 ;;
    esac
done
