#!/usr/bin/env python3
"""The whole road once, for real: synthetic pairs, training, validation, ONNX, inference.

    scripts/demo.py [--yf target/release/yf] [--into demo] [--epochs N] [--pairs N] [--device cpu]

Everything it makes lies in one folder, which is made anew each time. It ends with a table of what was reached,
what was written and how long each stage took. Standard library only.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path


class Road:
    """Runs `yf` in the demo's folder and keeps the time of each stage."""

    def __init__(self, yf: Path, folder: Path):
        self.yf = yf
        self.folder = folder
        self.seconds: dict[str, float] = {}

    def stage(self, name: str, *arguments: str, capture: bool = False) -> str:
        print(f"\n$ yf {' '.join(arguments)}", file=sys.stderr, flush=True)
        start = time.monotonic()
        done = subprocess.run([self.yf, *arguments], cwd=self.folder, text=True,
                              stdout=subprocess.PIPE if capture else None)
        if done.returncode != 0:
            sys.exit(f"demo: `yf {' '.join(arguments)}` ended with status {done.returncode}")
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start
        return done.stdout or ""

    def val(self, name: str, model: str, data: str, *more: str) -> float:
        answer = self.stage(name, "val", "--weights", model, "--data", data, *more, "--json", capture=True)
        return json.loads(answer)["map50"]


def map50_by_epoch(results: Path) -> list[float]:
    with results.open() as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    return [float(row["metrics/mAP50(B)"]) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yf", type=Path, default=Path("target/release/yf"))
    parser.add_argument("--into", type=Path, default=Path("demo"))
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--imgsz", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()

    shutil.rmtree(asked.into, ignore_errors=True)
    asked.into.mkdir(parents=True)
    road = Road(asked.yf.resolve(), asked.into)
    data, run = "pairs/data.yaml", Path("runs/train/exp")
    best = run / "weights/best.safetensors"
    onnx, half = best.with_suffix(".onnx"), best.with_suffix(".fp16.onnx")

    road.stage("synthesise", "data", "synth", "pairs", "--pairs", str(asked.pairs), "--size", "640x512")
    road.stage("check", "data", "check", data)
    road.stage("train", "train", "--data", data, "--model", "mid-n", "--imgsz", str(asked.imgsz),
               "--epochs", str(asked.epochs), "--optimizer", "adamw", "--lr0", "0.002", "--cache", "ram",
               "--device", asked.device)
    after = road.val("validate", str(best), data, "--device", asked.device)
    road.stage("export", "export", str(best), "--onnx")
    road.stage("export", "export", str(best), "--onnx", "--fp16")
    after_onnx = road.val("validate ONNX", str(onnx), data)
    after_half = road.val("validate ONNX", str(half), data)
    rgb = sorted((asked.into / "pairs/images/val").iterdir())[0].relative_to(asked.into)
    ir = next((asked.into / "pairs/imagesIR/val").glob(rgb.stem + ".*")).relative_to(asked.into)
    road.stage("infer", "infer", str(rgb), str(ir), "--model", str(onnx), "--save", "detections")

    before = map50_by_epoch(asked.into / run / "results.csv")[0]
    pictures = sorted(p for p in (asked.into / "detections").rglob("*") if p.suffix in (".jpg", ".png"))
    files = [asked.into / f for f in (best, onnx, half, run / "results.png")] + pictures
    missing = [str(f) for f in files if not f.is_file()]
    if missing or not pictures:
        sys.exit(f"demo: not written: {', '.join(missing) or 'the annotated picture'}")

    print(f"\n{'mAP50':<28}")
    for name, value in (("after the first epoch", before), (f"after {asked.epochs} epochs", after),
                        ("as ONNX, fp32", after_onnx), ("as ONNX, fp16", after_half)):
        print(f"  {name:<26}{value:>8.3f}")
    print("files")
    for file in files:
        print(f"  {str(file):<50}{file.stat().st_size / 1e6:>8.2f} MB")
    print("seconds")
    for name, seconds in road.seconds.items():
        print(f"  {name:<26}{seconds:>8.1f}")
    print(f"  {'all':<26}{sum(road.seconds.values()):>8.1f}")


if __name__ == "__main__":
    main()
