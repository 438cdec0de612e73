"""What pycocotools makes of the pictures in a JSON file: mAP50, mAP50-95 and both per class, as JSON."""
import contextlib
import json
import sys

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

case = json.load(open(sys.argv[1]))


def xywh(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


truths, found = [], []
for image, picture in enumerate(case["pictures"], 1):
    for t in picture["truths"]:
        box = xywh(t["box"])
        truths.append(dict(id=len(truths) + 1, image_id=image, category_id=t["class"] + 1, bbox=box,
                           area=box[2] * box[3], iscrowd=0))
    for d in picture["detections"]:
        found.append(dict(image_id=image, category_id=d["class"] + 1, bbox=xywh(d["box"]), score=d["score"]))

with contextlib.redirect_stdout(sys.stderr):
    coco = COCO()
    coco.dataset = dict(info={}, images=[dict(id=i + 1) for i in range(len(case["pictures"]))], annotations=truths,
                        categories=[dict(id=c + 1, name=str(c)) for c in range(case["classes"])])
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
    evaluation.params.maxDets = [1, 10, 300]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()

precision = evaluation.eval["precision"][:, :, :, 0, 2]  # [threshold, recall, class]; -1 without instances


def mean(values):
    values = values[values > -1]
    return float(np.mean(values)) if values.size else 0.0


print(json.dumps(dict(
    map50=mean(precision[0]), map50_95=mean(precision),
    per_class=[[mean(precision[0, :, c]), mean(precision[:, :, c])] for c in range(case["classes"])])))
