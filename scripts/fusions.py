#!/usr/bin/env python3
"""What every network costs on this machine: a Markdown table on standard output.

    scripts/fusions.py [--yf target/release/yf] [--scale n] [--classes 1] [--threads 2] [--runs 10] [--rounds 3]

Parameters and operations are counted by `yf info`; milliseconds are those of the network alone in `yf bench infer`: one
pair, 640x640, fp32, made-up weights. The networks take turns, and of the rounds' medians the least counts, because
what else runs on a machine only ever makes it slower. Standard library only.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

NETWORKS = ("mid", "early", "data", "easy", "decision", "deyolo", "defa", "gated", "cross", "duo", "yolov8", "yolo11")
BACKENDS = ("ort", "embedded")
# The ratios' denominator.
YARDSTICK = "mid"


def ask(yf: Path, *arguments: str) -> dict:
    done = subprocess.run([yf, *arguments, "--json"], text=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"fusions: `yf {' '.join(arguments)}` ended with status {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yf", type=Path, default=Path("target/release/yf"))
    parser.add_argument("--scale", default="n", choices=list("nsmlx"))
    parser.add_argument("--classes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    yf = asked.yf.resolve()

    least: dict[tuple[str, str], float] = {}
    nodes: dict[str, int] = {}
    for turn in range(asked.rounds):
        for name in NETWORKS:
            for backend in BACKENDS:
                print(f"round {turn + 1}, {name}, {backend}", file=sys.stderr, flush=True)
                report = ask(yf, "bench", "infer", f"{name}-{asked.scale}", "--classes", str(asked.classes),
                             "--backend", backend, "--threads", str(asked.threads), "--runs", str(asked.runs))
                nodes[name] = report["nodes"]
                ms = report["network"]["p50"]
                least[name, backend] = min(ms, least.get((name, backend), ms))

    print("| network | parameters | GFLOPs | ONNX nodes | ONNX Runtime | x mid | embedded | x mid |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in NETWORKS:
        info = ask(yf, "info", f"{name}-{asked.scale}", "--classes", str(asked.classes))
        times = "".join(f" {least[name, backend]:.0f} ms | {least[name, backend] / least[YARDSTICK, backend]:.2f} |"
                        for backend in BACKENDS)
        print(f"| {name}-{asked.scale} | {info['parameters']:,} | {info['gflops']:.2f} | {nodes[name]} |{times}")


if __name__ == "__main__":
    main()
