"""A small data set in WIDER FACE's own layout, composed from photographs that may be shipped, for the demo and the tests.

The face is that of NASA's portrait of Eileen Collins (public domain), the backgrounds are photographs in the public domain
or under CC0; scikit-image carries them all. Boxes and landmarks are exact: each face is placed by a known transform.
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from facedet.data.source import NUM_LANDMARKS
from facedet.data.widerface import SUBSETS, WiderFaceError
from facedet.runtime import boxes

_BACKGROUNDS = ("coffee", "chelsea", "rocket", "hubble_deep_field", "retina", "brick", "grass", "gravel")
# scikit-image's photographs that show no face of a man or a statue and lie in its wheel; the backgrounds are among them
FACE_FREE = (*_BACKGROUNDS, "clock", "immunohistochemistry", "moon", "page", "stereo_motorcycle", "text")
_HEAD_XYXY = (150, 18, 306, 196)  # of the portrait: what is cut out
_FACE_XYXY = (181, 68, 271, 180)  # forehead to chin, cheek to cheek, as WIDER FACE draws boxes
_LANDMARKS = ((204.0, 101.6), (246.4, 103.6), (224.0, 128.0), (204.0, 140.4), (244.4, 141.2))
_MIRRORED = (1, 0, 2, 4, 3)
_LEAST_HEIGHT = {"easy": 50, "medium": 30, "hard": 10}
_SIZES = ((640, 480), (480, 640), (640, 427), (512, 512), (720, 480))


@dataclasses.dataclass
class _Face:
    """box xmin ymin xmax ymax and landmarks [5, 2], in pixels of the picture."""

    box: tuple[float, float, float, float]
    landmarks: np.ndarray


def make(output_dir: str, num_train: int = 160, num_val: int = 40, seed: int = 0) -> pathlib.Path:
    """Writes WIDER_{train,val}, wider_face_split, eval_gt and landmarks/train_label.txt below output_dir, the same on every run.

    Faces are 8 px high to most of the picture; one picture in ten holds none.
    """
    from skimage import data

    output = pathlib.Path(output_dir)
    portrait = Image.fromarray(data.astronaut())
    backgrounds = []
    for name in _BACKGROUNDS:
        backgrounds.append(Image.fromarray(getattr(data, name)()).convert("RGB"))
    generator = np.random.default_rng(seed)
    for split, count in (("train", num_train), ("val", num_val)):
        pictures = {}
        for number in range(count):
            event = f"{number % 2}--{('Portraits', 'Crowds')[number % 2]}"
            name = f"{event}/{event.replace('--', '_')}_sample_{split}_{number}.jpg"
            image, faces = _compose(portrait, backgrounds, generator, crowd=number % 2 == 1, empty=number % 10 == 9)
            path = output / f"WIDER_{split}" / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, quality=92)
            pictures[name] = faces
        _write_annotation(output, split, pictures)
        if split == "val":
            _write_lists(output / "eval_gt", pictures)
        else:
            _write_landmarks(output / "landmarks" / "train_label.txt", pictures)
    return output


def photographs() -> Iterator[tuple[str, np.ndarray]]:
    """FACE_FREE with each picture, RGB uint8 [H, W, 3]; of a pair the left. Nothing is downloaded. Raises WiderFaceError without scikit-image."""
    try:
        from skimage import data
    except ImportError as error:
        raise WiderFaceError(f"The photographs without faces are scikit-image's ({error}): pip install scikit-image.") from error
    for name in FACE_FREE:
        image = getattr(data, name)()
        yield name, np.asarray(Image.fromarray(image[0] if isinstance(image, tuple) else image).convert("RGB"))


def _compose(portrait, backgrounds, generator, crowd: bool, empty: bool):
    width, height = _SIZES[generator.integers(len(_SIZES))]
    picture = _background(backgrounds[generator.integers(len(backgrounds))], width, height, generator)
    faces: list[_Face] = []
    if empty:
        return picture, faces
    wanted = int(generator.integers(4, 16)) if crowd else int(generator.integers(1, 4))
    least, most = (8, 0.25 * height) if crowd else (40, 0.8 * height)
    for _ in range(8 * wanted):
        if len(faces) == wanted:
            break
        tall = math.exp(generator.uniform(math.log(least), math.log(most)))
        _paste(picture, portrait, faces, tall, generator)
    return picture, faces


def _background(photo, width, height, generator):
    scale = max(width / photo.width, height / photo.height) * generator.uniform(1.0, 1.6)
    photo = photo.resize((math.ceil(photo.width * scale), math.ceil(photo.height * scale)), Image.Resampling.BICUBIC)
    left, top = (int(generator.integers(0, extra + 1)) for extra in (photo.width - width, photo.height - height))
    photo = photo.crop((left, top, left + width, top + height))
    return ImageEnhance.Brightness(photo).enhance(generator.uniform(0.7, 1.2))


def _paste(picture, portrait, faces, tall, generator) -> None:
    """Puts one head whose face is `tall` px high where there is room, and notes its box and landmarks."""
    head = portrait.crop(_HEAD_XYXY)
    mask = Image.new("L", head.size, 0)
    ImageDraw.Draw(mask).ellipse((2, 2, head.width - 2, head.height + 20), fill=255)
    head.putalpha(mask.filter(ImageFilter.GaussianBlur(3)))
    points = np.asarray(_LANDMARKS) - _HEAD_XYXY[:2]
    center = (np.asarray(_FACE_XYXY[:2]) + _FACE_XYXY[2:]) / 2 - _HEAD_XYXY[:2]
    half = (np.asarray(_FACE_XYXY[2:]) - _FACE_XYXY[:2]) / 2
    if generator.random() < 0.5:
        head = head.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        points = (points * (-1, 1) + (head.width, 0))[list(_MIRRORED)]
        center = center * (-1, 1) + (head.width, 0)
    color = head.convert("RGB")
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        color = enhance(color).enhance(generator.uniform(0.7, 1.25))
    color.putalpha(head.getchannel("A"))

    scale = tall / (2 * half[1])
    stretch = generator.uniform(0.9, 1.1)
    size = (max(2, round(head.width * scale * stretch)), max(2, round(head.height * scale)))
    factor = np.asarray(size) / head.size
    points, center, half = points * factor, center * factor, half * factor
    color = color.resize(size, Image.Resampling.LANCZOS)
    degrees = generator.uniform(-20, 20)
    middle = np.asarray(size) / 2
    color = color.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    shift = np.asarray(color.size) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.asarray([[cos, sin], [-sin, cos]])  # counter-clockwise as seen, y downwards
    points, center = (points - middle) @ turn.T + shift, (center - middle) @ turn.T + shift
    half = np.sqrt(half**2 @ (turn**2).T)  # of the upright box around the turned ellipse

    least = np.ceil(half - center).astype(int)  # the head may leave the picture, the face does not
    most = np.floor(np.asarray(picture.size) - center - half).astype(int)
    if (most < least).any():
        return
    at = generator.integers(least, most + 1)
    box = np.concatenate([center - half + at, center + half + at])
    around = [(*(np.asarray(f.box[:2]) - 0.4 * tall), *(np.asarray(f.box[2:]) + 0.4 * tall)) for f in faces]
    if faces and boxes.intersection(box[None], np.asarray(around)).any():
        return
    picture.paste(color, tuple(at.tolist()), color)
    faces.append(_Face(tuple(box), points + at))


def _rounded(face: _Face) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(side) for side in face.box)
    return left, top, max(1, right - left), max(1, bottom - top)


def _write_annotation(output: pathlib.Path, split: str, pictures: dict) -> None:
    lines = []
    for name, faces in pictures.items():
        lines += [name, str(len(faces))]
        lines += ["{} {} {} {} 0 0 0 0 0 0".format(*_rounded(face)) for face in faces] or ["0 0 0 0 0 0 0 0 0 0"]
    directory = output / "wider_face_split"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"wider_face_{split}_bbx_gt.txt").write_text("\n".join(lines) + "\n")


def _write_landmarks(path: pathlib.Path, pictures: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, faces in pictures.items():
        lines.append(f"# {name}")
        for face in faces:
            known = face.box[3] - face.box[1] >= 12
            points = [f"{x:.3f} {y:.3f} 0.0" for x, y in face.landmarks] if known else ["-1.0 -1.0 -1.0"] * NUM_LANDMARKS
            lines.append(" ".join([*(str(v) for v in _rounded(face)), *points, "0.9" if known else "-1.0"]))
    path.write_text("\n".join(lines) + "\n")


def _write_lists(directory: pathlib.Path, pictures: dict) -> None:
    """The evaluation lists in the official files' form: MATLAB cells, faces counted from 1."""
    from scipy.io import savemat

    directory.mkdir(parents=True, exist_ok=True)
    events = sorted({name.split("/")[0] for name in pictures})

    def cells(values):
        array = np.empty((len(values), 1), object)
        for i, value in enumerate(values):
            array[i, 0] = value
        return array

    by_event = [[name for name in pictures if name.startswith(event + "/")] for event in events]
    boxes_of = {name: np.asarray([_rounded(f) for f in faces], np.float64).reshape(-1, 4) for name, faces in pictures.items()}
    faces = {
        "event_list": cells(events),
        "file_list": cells([cells([pathlib.Path(name).stem for name in names]) for names in by_event]),
        "face_bbx_list": cells([cells([boxes_of[name] for name in names]) for names in by_event]),
    }
    savemat(directory / "wider_face_val.mat", faces)
    for subset in SUBSETS:
        kept = cells(
            [cells([np.flatnonzero(boxes_of[n][:, 3] >= _LEAST_HEIGHT[subset])[:, None] + 1.0 for n in names]) for names in by_event]
        )
        savemat(directory / f"wider_{subset}_val.mat", {**faces, "gt_list": kept})
