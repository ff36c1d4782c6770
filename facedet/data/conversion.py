"""A data set of faces -> TFRecord shards and a manifest in which every face that it states is accounted for."""

import collections
import dataclasses
import os
import pathlib
import random
import sys

import numpy as np
from tqdm import tqdm

from facedet.data import jpeg, records, widerface, workers
from facedet.data.widerface import Entry, FaceImage, Problem, WiderFace, WiderFaceError
from facedet.runtime import boxes

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
    max_faces_per_image: int = 2000  # to learn; the smallest faces past it are written as ignored
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
    """Writes the shards of `splits` and the manifest to `output_dir`; returns the manifest.

    What is there of those splits is replaced when all of them are whole; other splits stay. Raises WiderFaceError for input
    that cannot be used and RecordsError for an output_dir that cannot: what was there is then as it was.
    """
    landmarks = None
    if landmarks_path is not None:
        landmarks = widerface.load_landmarks(landmarks_path)
    eval_gt_dir = eval_gt_dir or widerface.find_eval_gt(data_dir)
    subsets = widerface.load_subsets(eval_gt_dir) if eval_gt_dir else None
    if "val" in splits and subsets is None:
        say("No official evaluation lists (wider_{easy,medium,hard}_val.mat) found: training will score val as one set.")
    return convert_sources([WiderFace(data_dir, split) for split in splits], output_dir, options, landmarks, subsets, say)


def convert_sources(sources, output_dir, options=Options(), landmarks=None, subsets=None, say=print) -> dict:
    """As convert(), of what stands for a split each and has WiderFace's attributes and methods.

    landmarks, subsets: as widerface.load_landmarks() and load_subsets() give them, or None.
    """
    output_dir = pathlib.Path(output_dir)
    parts = [part for source in sources for part in _plan(source, options)]
    splits_of = {"train": {"train", "holdout"}, "val": {"val"}}
    kept = records.splits_to_keep(output_dir, set().union(*(splits_of[source.split] for source in sources)))
    with records.new_set(output_dir, sum(part.bytes for part in parts)) as directory:
        made = _convert(parts, _Known(subsets, landmarks), directory, options, say)
        manifest = {"classes": [records.CLASS_NAME], "attributes": sources[0].attributes, "splits": {**kept, **made}}
        records.write_manifest(directory, manifest)
    return manifest


def _recorded(options: Options) -> dict:
    """The options that decide what is written; not how fast."""
    return {key: value for key, value in dataclasses.asdict(options).items() if key != "num_workers"}


@dataclasses.dataclass(frozen=True)
class _Part:
    """A split to write: all of an official split, or the held-out or remaining part of it."""

    name: str
    source: WiderFace
    entries: list[Entry]  # of the pictures that are there
    sizes: dict[str, int]  # of the source's pictures, bytes
    missing: list[Entry]
    repeated: list[tuple[Entry, Entry]]  # each with the one that is taken

    @property
    def bytes(self) -> int:
        """About what the shards take: the pictures, and what is said of them and of their faces."""
        return sum(self.sizes[entry.name] + 400 + 120 * len(entry.rows) for entry in self.entries)


@dataclasses.dataclass(frozen=True)
class _Known:
    """What other files say of pictures, by name: the official evaluation lists, and landmarks; None where there are none."""

    subsets: dict | None
    landmarks: dict | None

    def of(self, entries: list[Entry]) -> "_Known":
        def own(table):
            return None if table is None else {entry.name: table[entry.name] for entry in entries if entry.name in table}

        return _Known(own(self.subsets), own(self.landmarks))


def _plan(source: WiderFace, options: Options) -> list[_Part]:
    """The splits to write from one official split: itself, and the held-out part of train where one is asked for."""
    first, repeated = {}, []
    for entry in source.annotation():
        if first.setdefault(entry.name, entry) is not entry:
            repeated.append((entry, first[entry.name]))
    entries = list(first.values())
    sizes = source.sizes()
    missing = [entry for entry in entries if entry.name not in sizes and not _is_something_else(source, entry)]
    if missing and not options.allow_missing_images:
        raise WiderFaceError(
            f"{len(missing):,} of {len(entries):,} {source.split} pictures are missing from {source.images_source}, "
            f"the first is {missing[0].name} ({missing[0].where}). Complete the folder, or go on without them: --allow_missing_images."
        )
    if len(missing) == len(entries):
        raise WiderFaceError(f"None of the {len(entries):,} {source.split} pictures is in {source.images_source}.")

    def part(name, chosen):
        there, absent = [entry for entry in chosen if entry.name in sizes], [entry for entry in chosen if entry.name not in sizes]
        return _Part(name, source, there, sizes, absent, [pair for pair in repeated if pair[1] in chosen])

    if source.split != "train" or not options.holdout_percent:
        return [part(source.split, entries)]
    by_event = collections.defaultdict(list)
    for entry in entries:
        by_event[entry.event].append(entry.name)
    held = set()
    for event, names in sorted(by_event.items()):
        random.Random(f"{options.seed} {event}").shuffle(names)
        held.update(names[: round(len(names) * options.holdout_percent / 100)])
    return [
        part("train", [entry for entry in entries if entry.name not in held]),
        part("holdout", [entry for entry in entries if entry.name in held]),
    ]


def _is_something_else(source: WiderFace, entry: Entry) -> bool:
    """Whether a folder, a pipe or a link to nothing stands in a picture's place: reading it would fail, or never end."""
    return os.path.lexists(source.images_dir / entry.name) and not os.path.isfile(source.images_dir / entry.name)


def _convert(parts: list[_Part], known: _Known, directory: pathlib.Path, options: Options, say) -> dict:
    """Writes the shards of all parts to `directory`, on all cores. Returns what the manifest says of each."""
    import tensorflow  # noqa: F401  (forked workers share it)

    tasks, summaries = [], {}
    for part in parts:
        summaries[part.name] = summary = _Summary()
        for entry in part.missing:
            if _is_something_else(part.source, entry):
                summary.leave_out(
                    entry.where, "image_not_a_file", f"{entry.name} is a folder, a pipe or a link to nothing", entry.count, options
                )
            else:
                summary.leave_out(entry.where, "image_missing", None, entry.count, options)
        for entry, taken in part.repeated:
            summary.leave_out(entry.where, "image_repeated", f"{entry.name} is listed already, in {taken.where}", entry.count, options)
        order = list(part.entries)
        random.Random(options.seed).shuffle(order)
        num_shards = max(1, -(-sum(part.sizes[entry.name] for entry in order) // SHARD_BYTES))
        for shard in range(num_shards):
            own = order[shard::num_shards]
            path = records.shard_path(directory, part.name, shard, num_shards)
            tasks.append((part.name, part.source, own, known.of(own), path, options))
    with tqdm(total=sum(len(part.entries) for part in parts), desc="pictures", unit="img", file=sys.stderr) as progress:
        try:
            for name, done in workers.run(_convert_shard, tasks, options.num_workers):
                summaries[name] += done
                progress.update(done.balance.images.total())
        except workers.WorkerDiedError as error:
            raise records.RecordsError(str(error)) from error
    notable = [problem for summary in summaries.values() for problem in summary.notable]
    for problem in notable[:20]:
        say(f"  {problem}")
    if len(notable) > 20:
        say(f"  ... and {len(notable) - 20} more; all of them are in {records.MANIFEST}")
    return {name: {**summary.as_dict(), "options": _recorded(options)} for name, summary in summaries.items()}


@dataclasses.dataclass
class _Summary:
    """What became of a split, or of one shard of it; `+=` adds another."""

    balance: Balance = dataclasses.field(default_factory=Balance)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    shards: list[dict] = dataclasses.field(default_factory=list)
    most_faces: int = 0  # of a picture, ignored ones too: the OD API's max_number_of_boxes cuts both

    def __iadd__(self, other: "_Summary") -> "_Summary":
        self.balance += other.balance
        self.problems += other.problems
        self.shards += other.shards
        self.most_faces = max(self.most_faces, other.most_faces)
        return self

    def leave_out(self, where: str, reason: str, message: str | None, faces: int, options: Options) -> None:
        """Counts a picture that is not written, with its faces. message: None for what need not be named."""
        self.balance.images[reason] += 1
        self.balance.faces[DROPPED, reason] += faces
        if message is not None:
            _note(Problem(where, reason, message, faces), self.problems, options)

    @property
    def notable(self) -> list[Problem]:
        chosen = [problem for problem in self.problems if problem.reason != widerface.ROW_OF_ZEROS]
        return sorted(chosen, key=lambda problem: problem.where)

    def as_dict(self) -> dict:
        return {
            **self.balance.as_dict(),
            "max_faces_per_image": self.most_faces,
            "shards": sorted(self.shards, key=lambda shard: shard["file"]),
            "problems": [dataclasses.asdict(problem) for problem in self.notable],
        }


def _convert_shard(name: str, source: WiderFace, entries: list[Entry], known: _Known, path: pathlib.Path, options: Options):
    """Writes one shard and reads it back. Returns the split's name and what became of its pictures."""
    summary, written = _Summary(), 0
    balance = summary.balance
    with records.shard_writer(path) as writer:
        for entry in entries:
            image = entry.parse()
            for problem in image.problems:
                balance.faces[DROPPED, problem.reason] += problem.faces
                _note(problem, summary.problems, options)
            try:
                encoded, info = _read_image(source, image, options.verify_images)
            except _UnusableImage as error:
                summary.leave_out(image.where, error.reason, f"{image.name} {error}", len(image.boxes_xywh_px), options)
                continue
            if known.landmarks is not None:
                image = widerface.with_landmarks(image, known.landmarks)
            official = _official(image, source, known, summary, options)
            faces, outcome = _faces(image, info, official, options)
            balance.faces.update(outcome)
            balance.images["written" if (faces.weights > 0).any() else "written_without_face"] += 1
            writer.write(records.to_example(image.name, encoded, info.height, info.width, faces, source.attributes))
            written += 1
            summary.most_faces = max(summary.most_faces, len(faces.weights))
    count = records.read_back(path)
    if count != written:
        raise records.RecordsError(f"{path}: wrote {written} examples, read back {count}. Is the disk full or failing?")
    summary.shards.append({"file": path.name, "examples": count, "bytes": path.stat().st_size})
    return name, summary


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
    except OSError as error:
        raise _UnusableImage("image_unreadable", f"cannot be read: {error.strerror}") from error
    except jpeg.NotJpegError as error:
        raise _UnusableImage("image_not_jpeg", f"is {error}") from error
    except jpeg.TruncatedJpegError as error:
        raise _UnusableImage("image_truncated", str(error)) from error
    except jpeg.DamagedJpegError as error:
        raise _UnusableImage("image_damaged", str(error)) from error
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


def _official(image: FaceImage, source: WiderFace, known: _Known, summary: _Summary, options: Options):
    """The official list of a picture: boxes_xywh_px [M, 4] and member [M, 3]. None without lists, which are of val only."""
    if known.subsets is None or source.split != "val":
        return None
    official, member = known.subsets.get(image.name, (np.zeros((0, 4)), np.zeros((0, len(widerface.SUBSETS)), bool)))
    if len(official) != len(image.boxes_xywh_px) and official.any() | (image.name not in known.subsets):  # zeros stand for no face
        message = f"{len(image.boxes_xywh_px)} faces, {len(official)} in the official list, which is scored ({image.name})"
        _note(Problem(image.where, "lists_differ", message), summary.problems, options)
    return official, member


def _faces(image: FaceImage, info: jpeg.JpegInfo, official, options: Options) -> tuple[records.Labels, dict]:
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
    outcome = {_OUTCOMES[i]: int(n) for i, n in enumerate(np.bincount(code)) if n}
    keep = np.argsort(code, kind="stable")[: int((code < 4).sum())]  # the OD API cuts at max_number_of_boxes: those to learn come first

    landmarks = None
    if image.landmarks_xy_px is not None:
        landmarks = image.landmarks_xy_px[keep] / np.asarray((info.width, info.height), np.float32)
    scored, member = (annotated, None) if official is None else official
    bits = None if member is None else member @ (1 << np.arange(len(widerface.SUBSETS)))
    weights = (code[keep] == 0).astype(np.float32)
    return records.Labels(normalized[keep], weights, image.attributes[keep], landmarks, scored.astype(np.float32), bits), outcome
