#!/usr/bin/env bash
# ONNX Runtime's CUDA provider (and TensorRT's with --tensorrt): compares what it finds with the CPU provider, and measures it.
#
#   ORT_DYLIB_PATH=/path/to/libonnxruntime.so.1.24.0 scripts/ort_gpu.sh --yf target/release/yf [--rgb DIR --ir DIR]
#       [--weights best.safetensors] [--onnx MODEL.onnx]... [--network mid-n] [--runs 500] [--bandwidth 4800] [--tensorrt]
#
# The provider libraries (libonnxruntime_providers_cuda.so, _shared.so) lie beside the library; CUDA and cuDNN are found on
# LD_LIBRARY_PATH, to which the library's folder and the nvidia/*/lib folders of the same site-packages are added. The
# comparison wants a trained model (--weights, exported here in every variant, or ready --onnx files) and pairs (--rgb, --ir).
# Without them only the measurement runs, on a network with made-up weights.
set -euo pipefail

yf=target/release/yf; network=mid-n; runs=500; bandwidth=4800; rgb=; ir=; weights=; tensorrt=; models=()
while (($#)); do
  case $1 in
    --yf) yf=$2; shift 2 ;;
    --rgb) rgb=$2; shift 2 ;;
    --ir) ir=$2; shift 2 ;;
    --weights) weights=$2; shift 2 ;;
    --onnx) models+=("$2"); shift 2 ;;
    --network) network=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --bandwidth) bandwidth=$2; shift 2 ;;
    --tensorrt) tensorrt=1; shift ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
done
: "${ORT_DYLIB_PATH:?names libonnxruntime.so of a build with the CUDA provider}"
folder=$(cd "$(dirname "$ORT_DYLIB_PATH")" && pwd)
for lib in "$folder" "$folder"/../../nvidia/*/lib; do
  [[ -d $lib ]] && LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
export LD_LIBRARY_PATH
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
backends=(ort:cuda ${tensorrt:+ort:tensorrt})

if [[ -n $weights ]]; then
  for kind in "" "--u8" "--fp16" "--fp16 --u8" "--nms" "--fp16 --u8 --nms" "--fp16 --u8 --dynamic"; do
    name=$work/model$(tr -d ' ' <<< "$kind" | tr -s '-' '.').onnx
    # shellcheck disable=SC2086
    "$yf" export "$weights" --onnx $kind -o "$name" > /dev/null
    models+=("$name")
  done
fi

status=0
if [[ -n $rgb ]]; then
  for model in "${models[@]}"; do
    "$yf" infer "$rgb" ${ir:+"$ir"} --model "$model" --backend ort --json > "$work/cpu.jsonl"
    for backend in "${backends[@]}"; do
      for batch in 1 8; do
        "$yf" infer "$rgb" ${ir:+"$ir"} --model "$model" --backend "$backend" --batch $batch --json > "$work/gpu.jsonl"
        python3 "$(dirname "$0")/same_detections.py" "$work/cpu.jsonl" "$work/gpu.jsonl" \
          --label "$(basename "$model") $backend batch $batch" || status=1
      done
    done
  done
fi

for backend in "${backends[@]}"; do
  for kind in "--fp16" "--fp16 --u8" ""; do
    for batch in 1 8 32; do
      echo "== $network ${kind:-fp32}, $backend, batch $batch"
      # shellcheck disable=SC2086
      "$yf" bench infer "$network" $kind --backend "$backend" --batch $batch --runs "$runs" --bandwidth "$bandwidth" || status=1
    done
  done
done
exit $status
