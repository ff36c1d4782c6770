"""Scores that tie: each head of an int8 file has 256 levels at most, and no threshold tells boxes with the same score apart."""

from collections.abc import Iterable

import numpy as np
from tabulate import tabulate

from facedet.evaluation.protocol import Detections

LEAST_SCORE = 0.05  # of the scores that are told apart
SURE = 0.5  # of the boxes whose ties are counted


def count(detections: Iterable[Detections]) -> dict:
    """Of a detector's detections, a picture each: {distinct_scores, boxes, tied, share}.

    distinct_scores: over all pictures, from LEAST_SCORE on.  boxes: from SURE on; tied: those whose score another box of the same
    picture has; share: tied of boxes, None without a box.
    """
    scores = [np.asarray(found.scores) for found in detections]
    every = np.concatenate([np.zeros(0), *scores])
    boxes = tied = 0
    for of_picture in scores:
        _, numbers = np.unique(of_picture[of_picture >= SURE], return_counts=True)
        boxes, tied = boxes + int(numbers.sum()), tied + int(numbers[numbers > 1].sum())
    distinct = len(np.unique(every[every >= LEAST_SCORE]))
    return {"distinct_scores": distinct, "boxes": boxes, "tied": tied, "share": tied / boxes if boxes else None}


def in_words(told: dict) -> str:
    """count() as half a sentence."""
    said = f"{told['distinct_scores']:,} distinct scores from {LEAST_SCORE} on; "
    if told["share"] is None:
        return said + f"no box from {SURE} on"
    return said + f"{told['share']:.1%} of {told['boxes']:,} boxes from {SURE} on share theirs with another box of the picture"


def markdown(by_file: dict[str, dict] | None) -> list[str]:
    """{file: count()} as lines of a model card."""
    if not by_file:
        return []
    rows = [
        [file, f"{told['distinct_scores']:,}", f"{told['boxes']:,}", "-" if told["share"] is None else f"{told['share']:.1%}"]
        for file, told in by_file.items()
    ]
    heads = ["file", f"distinct scores from {LEAST_SCORE} on", f"boxes from {SURE} on", "share their score with another of the picture"]
    return ["Scores that tie, on the same pictures:", "", tabulate(rows, heads, "github", disable_numparse=True), ""]
