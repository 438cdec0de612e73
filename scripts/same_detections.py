"""Whether two files of `yf infer --json` lines hold the same detections.

    python same_detections.py A.jsonl B.jsonl [--overlap .98] [--score .02] [--conf .25] [--label TEXT]

Every detection of one file that is clearly above the confidence must be in the other: same class, this overlap at
least, scores no further apart than that. Prints one line; status 1 where one is missing.
"""

import argparse
import json


def overlap(a, b):
    """Intersection over union of two boxes x1 y1 x2 y2."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    area = sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - both
    return both / area if area > 0 else 0.0


def missing(wanted, found, asked):
    """Detections that have no counterpart."""

    def same(a, b):
        near = abs(a["score"] - b["score"]) <= asked.score
        return a["class"] == b["class"] and near and overlap(a["box"], b["box"]) >= asked.overlap

    clear = [d for d in wanted if d["score"] > asked.conf + asked.score]
    return [d for d in clear if not any(same(d, other) for other in found)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs=2)
    for name, default in (("overlap", 0.98), ("score", 0.02), ("conf", 0.25)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--label", default="")
    asked = parser.parse_args()
    first, second = ([json.loads(line) for line in open(path, encoding="utf-8")] for path in asked.files)
    assert [(x["rgb"], x["ir"]) for x in first] == [(x["rgb"], x["ir"]) for x in second], "other pairs, or another order"
    lost = []
    for a, b in zip(first, second):
        lost += missing(a["detections"], b["detections"], asked) + missing(b["detections"], a["detections"], asked)
    total = sum(len(x["detections"]) for x in first)
    print(f"{asked.label}: {len(first)} pairs, {total} detections, {len(lost)} without a counterpart", lost[:3] or "")
    raise SystemExit(1 if lost or not total else 0)


if __name__ == "__main__":
    main()
