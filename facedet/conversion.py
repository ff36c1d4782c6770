"""WIDER FACE -> TFRecord shards and a manifest in which every face of the official list is accounted for."""

import collections
import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import random
import sys

import numpy as np
from tqdm import tqdm

from facedet import boxes, jpeg, records, widerface
from facedet.widerface import FaceImage, Problem, WiderFace, WiderFaceError

SHARD_BYTES = 64 * 2**20
WRITTEN, IGNORED, DROPPED = "written", "ignored", "dropped"
_OUTCOMES = (
    (WRITTEN, ""),
    (IGNORED, "past_cap"),
    (IGNORED, "too_small"),
    (IGNORED, "flagged_invalid"),
    (DROPPED, "outside_image"),
    (DROPPED, "no_area"),
)
_INVALID = widerface.ATTRIBUTES.index("invalid")


@dataclasses.dataclass(frozen=True)
class Options:
    """How to convert. Sizes are in pixels of the original picture."""

    min_face_px: float = 4  # a face whose longer side is below is written as ignored
    max_faces_per_image: int = 2000  # the smallest faces past it are written as ignored
    holdout_percent: float = 0  # of the train pictures of each event, as a third split
    seed: int = 0
    allow_missing_images: bool = False
    verify_images: bool = False
    strict: bool = False
    num_workers: int = 0  # 0: one a core


class Balance:
    """Counts of faces by (outcome, reason) and of pictures by outcome; `+=` adds another."""

    def __init__(self):
        self.faces: collections.Counter = collections.Counter()
        self.images: collections.Counter = collections.Counter()

    def __iadd__(self, other: "Balance") -> "Balance":
        self.faces.update(other.faces)
        self.images.update(other.images)
        return self

    def as_dict(self) -> dict:
        faces = {WRITTEN: self.faces[WRITTEN, ""]}
        for outcome in (IGNORED, DROPPED):
            faces[outcome] = {reason: n for (kind, reason), n in sorted(self.faces.items()) if kind == outcome}
        return {"images": dict(sorted(self.images.items())), "faces": {"stated": self.faces.total(), **faces}}


def convert(data_dir, output_dir, splits=("train", "val"), options=Options(), landmarks_path=None, eval_gt_dir=None, say=print) -> dict:
    """Writes the shards of `splits` and the manifest to `output_dir`, replacing an earlier set; returns the manifest.

    Raises WiderFaceError for input that cannot be used; then no manifest is left, and no shard under its final name
    unless all of its split's were whole.
    """
    output_dir = pathlib.Path(output_dir)
    landmarks = {}
    if landmarks_path is not None:
        landmarks = widerface.parse_landmarks(pathlib.Path(landmarks_path).read_text(), str(landmarks_path))
    eval_gt_dir = eval_gt_dir or widerface.find_eval_gt(data_dir)
    subsets = widerface.load_subsets(eval_gt_dir) if eval_gt_dir else {}
    if "val" in splits and not subsets:
        say("No official evaluation lists (wider_{easy,medium,hard}_val.mat) found: training will score val as one set.")

    jobs = []
    for split in splits:
        source = WiderFace(data_dir, split)
        jobs += _plan(source, options, say)
    output_dir.mkdir(parents=True, exist_ok=True)
    records.remove_set(output_dir)
    manifest = {"classes": [records.CLASS_NAME], "attributes": widerface.ATTRIBUTES, "options": _recorded(options), "splits": {}}
    for name, source, images in jobs:
        if landmarks:
            images = [widerface.with_landmarks(image, landmarks) for image in images]
        manifest["splits"][name] = _convert_split(name, source, images, subsets, output_dir, options, say)
    records.write_manifest(output_dir, manifest)
    return manifest


def _recorded(options: Options) -> dict:
    """The options that decide what is written; not how fast."""
    return {key: value for key, value in dataclasses.asdict(options).items() if key != "num_workers"}


def _plan(source: WiderFace, options: Options, say) -> list[tuple[str, WiderFace, list[FaceImage]]]:
    """The splits to write from one official split: itself, and the held-out part of train where one is asked for."""
    images = source.annotation()
    sizes = source.sizes()
    missing = [image for image in images if image.name not in sizes]
    if missing and not options.allow_missing_images:
        raise WiderFaceError(
            f"{len(missing):,} of {len(images):,} {source.split} pictures are missing from {source.images_source}, "
            f"the first is {missing[0].name} ({missing[0].where}). Complete the folder, or go on without them: --allow_missing_images."
        )
    if len(missing) == len(images):
        raise WiderFaceError(f"None of the {len(images):,} {source.split} pictures is in {source.images_source}.")
    if source.split != "train" or not options.holdout_percent:
        return [(source.split, source, images)]
    by_event = collections.defaultdict(list)
    for image in images:
        by_event[image.event].append(image.name)
    held = set()
    for event, names in sorted(by_event.items()):
        random.Random(f"{options.seed} {event}").shuffle(names)
        held.update(names[: round(len(names) * options.holdout_percent / 100)])
    return [
        ("train", source, [image for image in images if image.name not in held]),
        ("holdout", source, [image for image in images if image.name in held]),
    ]


def _convert_split(name, source, images, subsets, output_dir, options, say) -> dict:
    sizes = source.sizes()
    order = [image for image in images if image.name in sizes]
    random.Random(options.seed).shuffle(order)
    num_shards = max(1, -(-sum(sizes[image.name] for image in order) // SHARD_BYTES))
    tasks = []
    for shard in range(num_shards):
        part = order[shard::num_shards]
        own = {image.name: subsets[image.name] for image in part if image.name in subsets}
        path = records.shard_path(output_dir, name, shard, num_shards)
        tasks.append((source, part, own, path, options))

    total, problems, shards, most_faces = Balance(), [], [], 0
    for image in images:
        if image.name not in sizes:
            total.images["image_missing"] += 1
            total.faces[DROPPED, "image_missing"] += image.faces_stated
    try:
        with tqdm(total=len(order), desc=f"{name} pictures", unit="img", file=sys.stderr) as progress:
            for balance, found, shard, most in _run(tasks, options.num_workers):
                total += balance
                problems += found
                shards.append(shard)
                most_faces = max(most_faces, most)
                progress.update(balance.images.total())
    except BaseException:
        for task in tasks:
            task[3].unlink(missing_ok=True)
        raise
    problems.sort(key=lambda problem: problem.where)
    notable = [problem for problem in problems if problem.reason != widerface.ROW_OF_ZEROS]
    for problem in notable[:20]:
        say(f"  {problem}")
    if len(notable) > 20:
        say(f"  ... and {len(notable) - 20} more; all of them are in {output_dir / records.MANIFEST}")
    return {
        **total.as_dict(),
        "max_faces_per_image": most_faces,
        "shards": sorted(shards, key=lambda shard: shard["file"]),
        "problems": [dataclasses.asdict(problem) for problem in notable],
    }


def _run(tasks, num_workers):
    """Yields each shard's result as it is done, on all cores. Forked workers share TensorFlow's import with the parent."""
    import tensorflow  # noqa: F401

    num_workers = min(num_workers or os.cpu_count() or 1, len(tasks))
    if num_workers <= 1:
        yield from (_convert_shard(*task) for task in tasks)
        return
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with concurrent.futures.ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        futures = [pool.submit(_convert_shard, *task) for task in tasks]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _convert_shard(source: WiderFace, images: list[FaceImage], subsets: dict, path: pathlib.Path, options: Options):
    """Writes one shard and reads it back. Returns its balance, problems, manifest entry and the most faces of a picture."""
    balance, problems, written, most = Balance(), [], 0, 0
    with records.shard_writer(path) as writer:
        for image in images:
            for problem in image.problems:
                balance.faces[DROPPED, problem.reason] += problem.faces
                _note(problem, problems, options)
            try:
                encoded, info = _read_image(source, image, options.verify_images)
            except _UnusableImage as error:
                count = len(image.boxes_xywh_px)
                balance.images[error.reason] += 1
                balance.faces[DROPPED, error.reason] += count
                _note(Problem(image.where, error.reason, f"{image.name} {error}", count), problems, options)
                continue
            faces, outcome = _faces(image, info, subsets.get(image.name), options)
            balance.faces.update(outcome)
            balance.images["written" if (faces.weights > 0).any() else "written_without_face"] += 1
            writer.write(records.to_example(image.name, encoded, info.height, info.width, faces, widerface.ATTRIBUTES))
            written += 1
            most = max(most, len(faces.weights))
    count = records.read_back(path)
    if count != written:
        raise records.RecordsError(f"{path}: wrote {written} examples, read back {count}. Is the disk full or failing?")
    entry = {"file": path.name, "examples": count, "bytes": path.stat().st_size}
    return balance, problems, entry, most


def _note(problem: Problem, problems: list[Problem], options: Options) -> None:
    if options.strict and problem.reason != widerface.ROW_OF_ZEROS:
        raise WiderFaceError(f"{problem} (--strict)")
    problems.append(problem)


class _UnusableImage(Exception):
    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def _read_image(source: WiderFace, image: FaceImage, decode: bool) -> tuple[bytes, jpeg.JpegInfo]:
    try:
        encoded = source.read(image.name)
        info = jpeg.read_info(encoded)
    except FileNotFoundError as error:
        raise _UnusableImage("image_missing", "is missing") from error
    except jpeg.NotJpegError as error:
        raise _UnusableImage("image_not_jpeg", f"is {error}") from error
    except jpeg.TruncatedJpegError as error:
        raise _UnusableImage("image_truncated", str(error)) from error
    if info.orientation != 1:
        # The annotation does not say which way up its author saw the picture.
        message = f"has EXIF orientation {info.orientation}: save it upright, without the tag"
        raise _UnusableImage("image_exif_rotated", message)
    if decode:
        import io

        from PIL import Image

        try:
            with Image.open(io.BytesIO(encoded)) as picture:
                picture.load()
        except (OSError, ValueError) as error:
            raise _UnusableImage("image_undecodable", f"cannot be decoded: {error}") from error
    return encoded, info


def _faces(image: FaceImage, info: jpeg.JpegInfo, subsets, options: Options) -> tuple[records.Labels, dict]:
    """The faces of a picture as a record keeps them, and how many were written, ignored and dropped, by reason."""
    size = (info.height, info.width)
    annotated = image.boxes_xywh_px
    clipped = boxes.clip_xyxy(boxes.xywh_to_xyxy(annotated), *size)
    normalized = boxes.xyxy_px_to_yxyx_norm(clipped, *size).astype(np.float32)
    no_area = (annotated[:, 2:] <= 0).any(1)
    outside = ~no_area & (boxes.area(normalized) <= 0)
    longer = annotated[:, 2:].max(1, initial=0)
    code = np.zeros(len(annotated), np.int64)  # into _OUTCOMES; a later line wins over an earlier one
    if len(annotated) > options.max_faces_per_image:
        by_size = np.lexsort((-longer, no_area | outside))
        code[by_size[options.max_faces_per_image :]] = 1
    code[longer < options.min_face_px] = 2
    code[image.attributes[:, _INVALID] == 1] = 3
    code[outside] = 4
    code[no_area] = 5
    keep = code < 4
    outcome = {_OUTCOMES[i]: int(n) for i, n in enumerate(np.bincount(code)) if n}

    landmarks = None
    if image.landmarks_xy_px is not None:
        landmarks = image.landmarks_xy_px[keep] / np.asarray((info.width, info.height), np.float32)
    bits = None
    if subsets is not None:
        official, member = subsets
        if len(official) == len(annotated):
            bits = member @ (1 << np.arange(len(widerface.SUBSETS)))
        elif len(annotated) == 0:
            bits = np.zeros(0, np.int64)
    weights = (code[keep] == 0).astype(np.float32)
    return records.Labels(normalized[keep], weights, image.attributes[keep], landmarks, annotated.astype(np.float32), bits), outcome
