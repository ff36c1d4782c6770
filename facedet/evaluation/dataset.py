"""The pictures of a WIDER FACE split with their official lists, a detector's detections on them, and their text form."""

import io
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from facedet.data import shard, widerface
from facedet.evaluation import errors
from facedet.evaluation.protocol import Detections, GroundTruth
from facedet.evaluation.scoring import Picture
from facedet.evaluation.truth import ground_truth
from facedet.runtime import boxes


def load(data_dir: str, eval_gt_dir: str | None = None) -> tuple[widerface.WiderFace, dict[str, GroundTruth]]:
    """The val pictures that are there, with what the protocol scores them against.

    Raises WiderFaceError where there are no pictures or no official evaluation lists.
    """
    source = widerface.WiderFace(data_dir, "val")
    directory = eval_gt_dir or widerface.find_eval_gt(data_dir) or pathlib.Path(data_dir) / "eval_gt"
    subsets = widerface.load_subsets(directory)
    present = source.sizes()
    truth = {name: GroundTruth(*lists) for name, lists in subsets.items() if name in present}
    if not truth:
        raise widerface.WiderFaceError(f"{source.images_source} holds none of the {len(subsets):,} val pictures.")
    return source, truth


def pictures(source: widerface.WiderFace, truth: dict[str, GroundTruth], names: Iterable[str]) -> Iterator[Picture]:
    """The pictures of those names with their truth, both of load(). Raises WiderFaceError as read_picture()."""
    for name in names:
        yield Picture(name, read_picture(source, name), truth[name])


def annotated(data_dir: str, limit: int = 0) -> tuple[Iterator[Picture], int]:
    """An even sample of at most `limit` of the val pictures that are there, all where that is 0, and their number.

    They know no Easy, Medium and Hard: the faces are those of the annotation, as the converter would write them. Raises WiderFaceError.
    """
    source = widerface.WiderFace(data_dir, "val")
    present = source.sizes()
    entries = {entry.name: entry for entry in reversed(source.annotation()) if entry.name in present}
    if not entries:
        raise widerface.WiderFaceError(f"{source.images_source} holds none of the annotated val pictures.")
    names = sample(sorted(entries), limit)

    def pictures() -> Iterator[Picture]:
        for name in names:
            image = read_picture(source, name)
            labels, _ = shard.labels(entries[name].parse(), *image.shape[:2])
            yield Picture(name, image, ground_truth(labels, *image.shape[:2]), labels)

    return pictures(), len(names)


def attributes(source: widerface.WiderFace, truth: dict[str, GroundTruth]) -> dict[str, np.ndarray]:
    """{picture: int [M, 6], WIDER FACE's attributes of its truth's faces}, of the pictures that the annotation knows."""
    entries = {entry.name: entry for entry in reversed(source.annotation()) if entry.name in truth}
    faces = {name: entry.parse() for name, entry in entries.items()}
    return {name: errors.attributes_of(truth[name], face.boxes_xywh_px, face.attributes) for name, face in faces.items()}


def sample(names: list[str], limit: int) -> list[str]:
    """An even sample of at most `limit` of them; all where that is 0."""
    return names[:: max(1, len(names) // limit)][:limit] if limit else names


def read_picture(source: widerface.WiderFace, name: str) -> np.ndarray:
    """RGB uint8 [H, W, 3], as stored. Raises WiderFaceError naming a picture that cannot be read or decoded."""
    try:
        with Image.open(io.BytesIO(source.read(name))) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise widerface.WiderFaceError(
            f"{source.images_source}: {name} cannot be read ({error}). Restore it from the official zip, or take it away."
        ) from error


def write_predictions(detections: dict[str, Detections], output_dir: str) -> None:
    """<event>/<picture>.txt in the official form: name, count, then 'left top width height score' a line, best first."""
    for name, found in detections.items():
        path = pathlib.Path(output_dir) / pathlib.Path(name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        order = np.argsort(-found.scores, kind="stable")
        rows = np.column_stack([boxes.xyxy_to_xywh(found.boxes_xyxy_px), found.scores])[order]
        lines = [pathlib.Path(name).stem, str(len(rows)), *(" ".join(f"{v:.3f}" for v in row[:4]) + f" {row[4]:.5f}" for row in rows)]
        path.write_text("\n".join(lines) + "\n")
