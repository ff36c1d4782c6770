"""How well a config's anchors cover the faces of a data set, and a ladder of anchors fitted to them. numpy only."""

import dataclasses
import itertools

import numpy as np
from tqdm import tqdm

from facedet.data import jpeg, records
from facedet.data.widerface import SUBSETS
from facedet.runtime import boxes


@dataclasses.dataclass(frozen=True)
class FaceSet:
    """The faces of a set of records that are not ignored.

    boxes_yxyx_norm: float32 [F, 4].  member: bool [F, 3] in the order of SUBSETS, or None where the records know none.
    """

    boxes_yxyx_norm: np.ndarray
    member: np.ndarray | None

    @classmethod
    def read(cls, paths: list[str]) -> "FaceSet":
        """Where the records hold the official lists every annotated box with an area counts, else those not ignored."""
        corners, members, known = [], [], False
        for _, encoded, labels in tqdm(records.read_examples(paths), desc="read records", unit="img"):
            if labels.eval_subsets is None:
                corners.append(labels.boxes_yxyx_norm[labels.weights > 0])
                members.append(np.zeros((len(corners[-1]), len(SUBSETS)), bool))
                continue
            known = True
            info = jpeg.read_info(encoded)
            annotated = boxes.xywh_to_xyxy(labels.eval_boxes_xywh_px)
            real = boxes.area(annotated) > 0
            corners.append(boxes.xyxy_px_to_yxyx_norm(annotated, info.height, info.width)[real])
            members.append((labels.eval_subsets[:, None] >> np.arange(len(SUBSETS)) & 1).astype(bool)[real])
        return cls(np.concatenate([*corners, np.zeros((0, 4))]).astype(np.float32), np.concatenate(members) if known else None)


def best_overlap(faces_yxyx: np.ndarray, anchors_yxyx: np.ndarray, chunk: int = 256) -> np.ndarray:
    """[F] the greatest IoU that any anchor has with each face: [F, 4], [A, 4]."""
    best = np.zeros(len(faces_yxyx), np.float32)
    for start in tqdm(range(0, len(faces_yxyx), chunk), desc="coverage", unit="chunk", leave=False):
        best[start : start + chunk] = boxes.iou(faces_yxyx[start : start + chunk], anchors_yxyx).max(1, initial=0)
    return best


def coverage_table(
    faces: FaceSet, best: np.ndarray, input_size: tuple[int, int], edges=(0, 4, 6, 8, 12, 16, 24, 32, 64, 128, np.inf)
) -> list[dict]:
    """Rows {faces, label, half, third}: the share of faces whose best anchor reaches IoU 0.5 and 0.35, by subset and by height at the input."""

    def row(label, mask):
        count = int(mask.sum())
        return {"label": label, "faces": count, "half": float((best[mask] >= 0.5).mean()) if count else float("nan"),
                "third": float((best[mask] >= 0.35).mean()) if count else float("nan")}  # fmt: skip

    rows = [row("all", np.ones(len(best), bool))]
    if faces.member is not None:
        rows += [row(subset.capitalize(), faces.member[:, i]) for i, subset in enumerate(SUBSETS)]
    heights = (faces.boxes_yxyx_norm[:, 2] - faces.boxes_yxyx_norm[:, 0]) * input_size[0]
    rows += [row(f"{low:g} - {high:g} px", (heights >= low) & (heights < high)) for low, high in itertools.pairwise(edges)]
    return rows


def fit_ladder(faces: FaceSet, input_size: tuple[int, int], smallest_px: float, strides=(4, 8, 16, 32)) -> list[dict]:
    """One shape, the median of the faces' as stretched to the input, in sizes a factor of sqrt 2 apart.

    smallest_px: least width. Widths go up to the 99.9th percentile of the faces. A width of w px goes to the stride nearest below
    w / 2, where its neighbours overlap by more than half. Returns levels {stride, base_sizes, aspect_ratio}; base size is the
    square root of the area, aspect ratio width over height, as flexible_grid_anchor_generator counts them.
    """
    height, width = input_size
    sides = (faces.boxes_yxyx_norm[:, 2:] - faces.boxes_yxyx_norm[:, :2]) * (height, width)
    sides = sides[(sides > 0).all(1)]
    ratio = float(np.median(sides[:, 1] / sides[:, 0]))
    largest = np.quantile(sides[:, 1], 0.999)
    steps = int(np.ceil(2 * np.log2(max(largest, smallest_px) / smallest_px))) + 1
    levels = {stride: [] for stride in strides}
    for size in smallest_px * np.sqrt(2) ** np.arange(steps):
        if size / ratio > 1.5 * height:
            break
        fitting = [stride for stride in strides if stride <= size / 2]
        levels[max(fitting, default=strides[0])].append(round(float(size / np.sqrt(ratio)), 1))
    return [{"stride": stride, "base_sizes": sizes, "aspect_ratio": round(ratio, 4)} for stride, sizes in levels.items() if sizes]


def config_text(levels: list[dict]) -> str:
    """A ladder as the text of a pipeline config's anchor_generator."""
    lines = ["anchor_generator {", "  flexible_grid_anchor_generator {"]
    for level in levels:
        ratios = ", ".join([f"{level['aspect_ratio']}"] * len(level["base_sizes"]))
        stride, offset = level["stride"], level["stride"] / 2
        lines += [
            "    anchor_grid {",
            f"      base_sizes: [{', '.join(map(str, level['base_sizes']))}] aspect_ratios: [{ratios}]",
            f"      height_stride: {stride} width_stride: {stride} height_offset: {offset:g} width_offset: {offset:g}",
            "    }",
        ]
    return "\n".join([*lines, "  }", "}"])
