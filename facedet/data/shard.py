"""One shard: the pictures of a source and what is annotated of them -> records, and what became of every face."""

import collections
import dataclasses
import pathlib

import numpy as np

from facedet.data import jpeg, records
from facedet.data.official_files import WiderFaceError
from facedet.data.source import Entry, FaceImage, Problem, RotatedPictureError, Source
from facedet.data.widerface import SUBSETS
from facedet.data.widerface_text import ROW_OF_ZEROS, with_landmarks
from facedet.runtime import boxes

WRITTEN, IGNORED, DROPPED = "written", "ignored", "dropped"
_OUTCOMES = (
    (WRITTEN, ""),
    (IGNORED, "past_cap"),
    (IGNORED, "too_small"),
    (IGNORED, "flagged_invalid"),
    (DROPPED, "outside_image"),
    (DROPPED, "no_area"),
)
_WRONG = {"outside_image": "lies outside of the picture", "no_area": "has no area"}


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


@dataclasses.dataclass(frozen=True)
class Known:
    """What other files say of pictures, by name: the official evaluation lists, and landmarks; None where there are none."""

    subsets: dict | None
    landmarks: dict | None

    def of(self, entries: list[Entry]) -> "Known":
        def own(table):
            return None if table is None else {entry.name: table[entry.name] for entry in entries if entry.name in table}

        return Known(own(self.subsets), own(self.landmarks))


@dataclasses.dataclass
class Summary:
    """What became of a split, or of one shard of it; `+=` adds another."""

    balance: Balance = dataclasses.field(default_factory=Balance)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    shards: list[dict] = dataclasses.field(default_factory=list)
    most_faces: int = 0  # of a picture, ignored ones too: the OD API's max_number_of_boxes cuts both

    def __iadd__(self, other: "Summary") -> "Summary":
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
        chosen = [problem for problem in self.problems if problem.reason != ROW_OF_ZEROS]
        return sorted(chosen, key=lambda problem: problem.where)

    def as_dict(self) -> dict:
        return {
            **self.balance.as_dict(),
            "max_faces_per_image": self.most_faces,
            "shards": sorted(self.shards, key=lambda shard: shard["file"]),
            "problems": [dataclasses.asdict(problem) for problem in self.notable],
        }


def write(name: str, source: Source, entries: list[Entry], known: Known, path: pathlib.Path, options: Options):
    """Writes one shard and reads it back. Returns the split's name and what became of its pictures."""
    summary, written = Summary(), 0
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
            image = image.in_px(info.width, info.height)
            if known.landmarks is not None:
                image = with_landmarks(image, known.landmarks)
            official = _official(image, source, known, summary, options)
            faces, outcome = labels(image, info.height, info.width, official, options, summary.problems)
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
    if options.strict and problem.reason != ROW_OF_ZEROS:
        raise WiderFaceError(f"{problem} (--strict)")
    problems.append(problem)


class _UnusableImage(Exception):
    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def _read_image(source: Source, image: FaceImage, decode: bool) -> tuple[bytes, jpeg.JpegInfo]:
    try:
        encoded = source.read(image.name)
        info = jpeg.read_info(encoded)
    except FileNotFoundError as error:
        raise _UnusableImage("image_missing", "is missing") from error
    except OSError as error:
        raise _UnusableImage("image_unreadable", f"cannot be read: {error.strerror or error}") from error
    except RotatedPictureError as error:
        raise _UnusableImage("image_exif_rotated", str(error)) from error
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
    if image.size not in (None, (info.width, info.height)):
        sizes = "is {}x{} px, and its annotation was made on {}x{} px".format(info.width, info.height, *image.size)
        raise _UnusableImage("image_size_differs", f"{sizes}: put the picture there that was annotated")
    if decode:
        import io

        from PIL import Image

        try:
            with Image.open(io.BytesIO(encoded)) as picture:
                picture.load()
        except (OSError, ValueError) as error:
            raise _UnusableImage("image_undecodable", f"cannot be decoded: {error}") from error
    return encoded, info


def _official(image: FaceImage, source: Source, known: Known, summary: Summary, options: Options):
    """The official list of a picture: boxes_xywh_px [M, 4] and member [M, 3]. None without lists, which are of val only."""
    if known.subsets is None or source.split != "val":
        return None
    official, member = known.subsets.get(image.name, (np.zeros((0, 4)), np.zeros((0, len(SUBSETS)), bool)))
    if len(official) != len(image.boxes_xywh_px) and official.any() | (image.name not in known.subsets):  # zeros stand for no face
        message = f"{len(image.boxes_xywh_px)} faces, {len(official)} in the official list, which is scored ({image.name})"
        _note(Problem(image.where, "lists_differ", message), summary.problems, options)
    return official, member


def labels(image: FaceImage, height: int, width: int, official=None, options: Options = Options(), problems: list | None = None):
    """The faces of a picture of height x width px as a record keeps them, and {(outcome, reason): how many}.

    official: (boxes_xywh_px [M, 4], member [M, 3]) of the official lists, None without.  problems: gets those faces that are dropped
    and whose place is known. WiderFaceError for the first of these where options.strict.
    """
    size = (height, width)
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
    code[image.ignored] = 3
    code[outside] = 4
    code[no_area] = 5
    outcome = {_OUTCOMES[i]: int(n) for i, n in enumerate(np.bincount(code)) if n}
    if problems is not None and image.places is not None:
        for i in np.flatnonzero(code >= 4):
            reason = _OUTCOMES[code[i]][1]
            box = "left {:g}, top {:g}, width {:g}, height {:g}".format(*annotated[i])
            message = f"the box {box} {_WRONG[reason]} ({image.name} has {width}x{height} px)"
            _note(Problem(image.places[i], reason, message, 1), problems, options)
    keep = np.argsort(code, kind="stable")[: int((code < 4).sum())]  # the OD API cuts at max_number_of_boxes: those to learn come first

    landmarks = None
    if image.landmarks_xy_px is not None:
        landmarks = image.landmarks_xy_px[keep] / np.asarray((width, height), np.float32)
    scored, member = (annotated, None) if official is None else official
    bits = None if member is None else member @ (1 << np.arange(len(SUBSETS)))
    weights = (code[keep] == 0).astype(np.float32)
    return records.Labels(normalized[keep], weights, image.attributes[keep], landmarks, scored.astype(np.float32), bits), outcome
