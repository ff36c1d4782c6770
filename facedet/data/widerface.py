"""WIDER FACE as it is downloaded: annotation, pictures and evaluation lists, from folders or from the official zips read in place.

Pure Python and numpy. The layout, below one directory:
    WIDER_train/images/<event>/<picture>.jpg     or  WIDER_train.zip
    WIDER_val/images/<event>/<picture>.jpg       or  WIDER_val.zip
    wider_face_split/wider_face_<split>_bbx_gt.txt  or  wider_face_split.zip
"""

import os
import pathlib
import zipfile

import numpy as np

from facedet.data import mat_file
from facedet.data.official_files import (
    MOST_IMAGE_BYTES,
    WiderFaceError,
    check_size,
    open_zip,
    read_file,
    read_member,
    read_picture,
    text,
)
from facedet.data.source import MOST_PX
from facedet.data.widerface_text import ATTRIBUTES, Entry, split_annotation


class WiderFace:
    """One split of WIDER FACE below `data_dir`, in folders or zips. Safe to pickle: zips are opened where they are read.

    attributes: names of those that its records keep.
    """

    attributes = ATTRIBUTES

    def __init__(self, data_dir: str | os.PathLike, split: str):
        self.data_dir, self.split = pathlib.Path(data_dir), split
        self.images_dir = self.data_dir / f"WIDER_{split}" / "images"
        self._zip_path = None if self.images_dir.is_dir() else self.data_dir / f"WIDER_{split}.zip"
        self._zip: zipfile.ZipFile | None = None
        if self._zip_path is not None and not self._zip_path.is_file():
            raise WiderFaceError(
                f"Neither {self.images_dir} nor {self._zip_path} exists: --data_dir has to hold WIDER FACE's official folders or zips."
            )

    def __getstate__(self):
        return {**self.__dict__, "_zip": None}

    @property
    def images_source(self) -> str:
        """Where the pictures come from, for messages."""
        return str(self._zip_path or self.images_dir)

    def annotation(self) -> list[Entry]:
        """Every picture of the official list, in its order."""
        name = f"wider_face_split/wider_face_{self.split}_bbx_gt.txt"
        path, zip_path = self.data_dir / name, self.data_dir / "wider_face_split.zip"
        if path.is_file():
            content, where = text(read_file(path), str(path)), str(path)
        elif zip_path.is_file():
            with open_zip(zip_path) as archive:
                if name not in archive.namelist():
                    raise WiderFaceError(f"{zip_path} holds no {name}: is it the official wider_face_split.zip?")
                where = f"{zip_path}/{name}"
                content = text(read_member(archive, name), where)
        else:
            raise WiderFaceError(f"Neither {path} nor {zip_path} exists: download 'Face annotations' from the WIDER FACE page.")
        return list(split_annotation(content, where))

    def sizes(self) -> dict[str, int]:
        """{name: bytes} of the pictures that are there."""
        if self._zip_path is not None:
            prefix = f"WIDER_{self.split}/images/"
            infos = self._archive().infolist()
            return {i.filename.removeprefix(prefix): i.file_size for i in infos if i.filename.startswith(prefix) and not i.is_dir()}
        found = {}
        with os.scandir(self.images_dir) as events:
            for event in events:
                if event.is_dir():
                    with os.scandir(event.path) as files:
                        found.update({f"{event.name}/{file.name}": file.stat().st_size for file in files if os.path.isfile(file.path)})
        return found

    def read(self, name: str) -> bytes:
        """The bytes of a picture.

        Raises FileNotFoundError where it is absent, another OSError where it is no file of a picture's size, and
        WiderFaceError where the zip is damaged.
        """
        if self._zip_path is None:
            return read_picture(f"{self.images_dir}/{name}")
        member = f"WIDER_{self.split}/images/{name}"
        try:
            check_size(self._archive().getinfo(member).file_size)
            return read_member(self._archive(), member, MOST_IMAGE_BYTES)
        except KeyError as error:
            raise FileNotFoundError(name) from error

    def _archive(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = open_zip(self._zip_path)
        return self._zip


SUBSETS = ("easy", "medium", "hard")
EVAL_LISTS = ("wider_face_val.mat", *(f"wider_{subset}_val.mat" for subset in SUBSETS))


_EVAL_TOOLS = "The lists are in eval_tools.zip (folder ground_truth) of the WIDER FACE page; name their folder with --eval_gt_dir."


def load_subsets(eval_gt_dir: str | os.PathLike) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The official evaluation lists, wider_face_val.mat and wider_{easy,medium,hard}_val.mat.

    Returns {'<event>/<picture>.jpg': (boxes_xywh_px float64 [M, 4], member bool [M, 3] in the order of SUBSETS)} in the
    order of the files. Raises WiderFaceError where one is missing or holds something else.
    """
    directory = pathlib.Path(eval_gt_dir)
    files = [directory / name for name in EVAL_LISTS]
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        raise WiderFaceError(f"Missing: {', '.join(absent)}. {_EVAL_TOOLS}")
    try:
        faces, *kept = mat_file.read(files, ("event_list", "file_list", "face_bbx_list", "gt_list"))
    except mat_file.MatFileError as error:
        raise WiderFaceError(f"{error}. {_EVAL_TOOLS}") from error
    subsets = {}
    path = files[0]
    try:
        for i, event in enumerate(faces["event_list"]):
            for j, picture in enumerate(faces["file_list"][i]):
                path, name = files[0], f"{event}/{picture}.jpg"
                boxes = np.asarray(faces["face_bbx_list"][i][j], np.float64).reshape(-1, 4)
                if not (np.abs(boxes) <= MOST_PX).all():
                    raise ValueError(f"a box beyond {MOST_PX:,} px in {name}")
                member = np.zeros((len(boxes), len(SUBSETS)), bool)
                for column, subset in enumerate(kept):
                    path = files[1 + column]
                    numbers = np.asarray(subset["gt_list"][i][j], np.float64).ravel()
                    if not np.isin(numbers, np.arange(1, len(boxes) + 1)).all():
                        raise ValueError(f"faces other than 1 to {len(boxes)} in {name}")
                    member[numbers.astype(int) - 1, column] = True
                subsets[name] = (boxes, member)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise WiderFaceError(f"{path} is no official evaluation list ({type(error).__name__}: {error}). {_EVAL_TOOLS}") from error
    return subsets


def find_eval_gt(data_dir: str | os.PathLike) -> pathlib.Path | None:
    """The folder of the official evaluation lists below `data_dir`, or None."""
    for name in ("eval_gt", "eval_tools/ground_truth", "ground_truth", "wider_face_split"):
        if (pathlib.Path(data_dir) / name / "wider_hard_val.mat").is_file():
            return pathlib.Path(data_dir) / name
    return None
