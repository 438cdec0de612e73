#!/usr/bin/env bash
# TensorRT on this machine's GPU: builds engines, compares what they find with ONNX Runtime on the CPU, and measures them.
#
#   scripts/tensorrt_gpu.sh --weights best.safetensors --rgb DIR --ir DIR [--yf target/release/yf] [--runs 500]
#
# TensorRT is found as docs/tensorrt.md says (YF_TENSORRT_DIR), ONNX Runtime as usual (ORT_DYLIB_PATH or a Python package).
# Every engine is run twice: the second start takes what the first has kept. Status 1 where detections differ, or where an
# engine is refused (--nms, of TensorRT-RTX).
set -euo pipefail

yf=target/release/yf; runs=500; weights=; rgb=; ir=
while (($#)); do
  case $1 in
    --yf) yf=$2; shift 2 ;;
    --weights) weights=$2; shift 2 ;;
    --rgb) rgb=$2; shift 2 ;;
    --ir) ir=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
done
: "${weights:?--weights names trained weights}" "${rgb:?--rgb names pictures}"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
status=0
for kind in "" "--fp16" "--fp16 --u8" "--fp16 --dynamic" "--fp16 --u8 --dynamic" "--nms"; do
  name=$work/model$(tr -d ' ' <<< "$kind" | tr -s '-' '.')
  # shellcheck disable=SC2086
  "$yf" export "$weights" --onnx --engine $kind -o "$name.onnx" > /dev/null || { status=1; continue; }
  "$yf" infer "$rgb" ${ir:+"$ir"} --model "$name.onnx" --backend ort --json > "$work/cpu.jsonl"
  for batch in 1 8; do
    for start in first second; do
      "$yf" infer "$rgb" ${ir:+"$ir"} --model "$name.engine" --backend tensorrt --batch $batch --json > "$work/gpu.jsonl" &&
        python3 "$(dirname "$0")/same_detections.py" "$work/cpu.jsonl" "$work/gpu.jsonl" \
          --label "${kind:-fp32}, batch $batch, $start start" || status=1
    done
    "$yf" bench infer "$name.engine" --backend tensorrt --batch $batch --runs "$runs" || status=1
  done
done
exit $status
