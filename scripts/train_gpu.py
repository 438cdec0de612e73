"""How fast training is on this machine's GPU: the table of docs/measurements.md, made by `yf bench train`.

    python scripts/train_gpu.py [--yf target/release/yf] [--pairs DIR] [--model mid-n] [--imgsz 640] [--steps 100]
        [--count 2560] [--device 0] [--batches 64,16]

DIR gets 2,560 synthetic pairs of 1280x1024 (JPEG, 1.2 GB) where it has none; a fifth is for validation, so that an epoch
of batches of 64 has no smaller last one. Prints Markdown: pairs a second of a first epoch, of those after it and of the
network alone, milliseconds by stage, peak memory, and what mixed precision brings.
"""

import argparse
import json
import pathlib
import subprocess


def bench(asked, batch, cache, flags):
    """The report of one measurement."""
    command = [asked.yf, "bench", "train", "--data", f"{asked.pairs}/data.yaml", "--model", asked.model]
    command += ["--imgsz", asked.imgsz, "--device", asked.device, "--steps", asked.steps]
    command += ["--batch", batch, "--cache", cache, "--json", *flags]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--yf", default="target/release/yf")
    parser.add_argument("--pairs", default="bench-pairs")
    parser.add_argument("--count", type=int, default=2560)
    parser.add_argument("--model", default="mid-n")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--device", default="0")
    parser.add_argument("--batches", default="64,16")
    asked = parser.parse_args()
    if not pathlib.Path(asked.pairs, "data.yaml").exists():
        size = ["--size", "1280x1024", "--pairs", str(asked.count)]
        subprocess.run([asked.yf, "data", "synth", asked.pairs, *size], stdout=subprocess.DEVNULL, check=True)

    kinds = {"fp16": ["--amp"], "fp32": ["--no-tf32"]}
    plan = [(int(batch), "fp16", cache) for batch in asked.batches.split(",") for cache in ("device", "ram")]
    first = plan[0][0]
    plan.append((first, "fp32", "ram"))
    names = {
        "first_epoch_pairs_per_s": "first epoch",
        "pairs_per_s": "end to end",
        "resident_pairs_per_s": "network alone",
        "decode_ms_per_pair": "decoding a pair",
        "wait_ms": "waiting",
        "transfer_ms": "transfer",
        "augment_ms": "augmentation",
        "gradient_ms": "gradients",
        "step_ms": "optimizer",
        "eager_forward_ms": "eager forward",
        "eager_loss_ms": "loss",
        "eager_backward_ms": "backward",
        "peak_memory_gb": "GB",
    }
    row(["batch", "precision", "cache", *names.values(), "of a matrix product"])
    row(["---"] * 3 + ["---:"] * (len(names) + 1))
    reports = {}
    for batch, kind, cache in plan:
        report = bench(asked, batch, cache, kinds[kind])
        reports[batch, kind, cache] = report
        values = [f"{report[key]:,.0f}" if key.endswith("per_s") else f"{report[key]:.2f}" for key in names]
        row([str(batch), kind, cache, *values, f"{100 * report['mfu']:.1f} %"])
    half, single = (reports[first, kind, "ram"] for kind in ("fp16", "fp32"))
    speed = half["pairs_per_s"] / single["pairs_per_s"]
    memory = 100 * (half["peak_memory_gb"] / single["peak_memory_gb"] - 1)
    print(f"\nfp16 against fp32 without TF32, batch {first}: {speed:.2f} times the speed, {memory:+.0f} % memory")


if __name__ == "__main__":
    main()
