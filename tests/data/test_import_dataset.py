"""Pictures of one's own: every format gives the same record of the same face, and what cannot be used is named."""

import io
import json
import sys

import hypothesis
import numpy as np
import pytest
from annotated_pictures import picture
from conftest import ROOT
from hypothesis import strategies as st
from PIL import Image

from facedet.data import conversion, records, widerface
from facedet.data.conversion import Options
from facedet.data.own_pictures import OwnPictures

sys.path.append(str(ROOT / "tests" / "faults"))
from attacks import TEXT, json_mutations, load_script, mutated, mutated_json, mutations

# One face, left 10, top 20, 30 wide, 40 high, in a picture of 100 x 80; the points of another are absent.
BOX_YXYX = [20 / 80, 10 / 100, 60 / 80, 40 / 100]
POINTS = [[16, 30], [34, 30], [25, 40], [18, 50], [32, 51]]
FLAT = [value for point in POINTS for value in point]
FRACTIONS = " ".join(f"{x / 100:.6f} {y / 80:.6f}" for x, y in POINTS)
SEEN = " ".join(f"{x / 100:.6f} {y / 80:.6f} 2" for x, y in POINTS)
HEADER = "image,xmin,ymin,xmax,ymax,class,ignore," + ",".join(f"{a}{i}" for i in range(1, 6) for a in "xy")


def voc(*boxes, name="a.jpg", size="<size><width>100</width><height>80</height></size>", more="") -> str:
    corners = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{label}</name>{more}<bndbox>{''.join(f'<{k}>{v}</{k}>' for k, v in zip(corners, box, strict=False))}</bndbox></object>"
        for label, *box in boxes
    )
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def coco(*annotations, images=(("a.jpg", 100, 80),), categories=("face", "car")) -> str:
    return json.dumps({
        "images": [{"id": i, "file_name": name, "width": w, "height": h} for i, (name, w, h) in enumerate(images)],
        "annotations": [{"id": i, "image_id": 0, "category_id": 0, **told} for i, told in enumerate(annotations)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
    })  # fmt: skip


def table(*rows, header=HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


# {format: (file of annotation, one face)}
FACE = {
    "voc": ("a.xml", voc(("face", 11, 21, 40, 60))),
    "coco": ("set.json", coco({"bbox": [10, 20, 30, 40]})),
    "yolo": ("a.txt", "0 0.25 0.5 0.3 0.5\n"),
    "csv": ("set.csv", table("a.jpg,10,20,40,60")),
}


def write(directory, annotation: dict, pictures: dict):
    """Below directory: labels/ and images/."""
    for folder, files in (("labels", annotation), ("images", pictures)):
        (directory / folder).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            path = directory / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return directory


def convert(directory, format, source_options=None, **options):
    """(what the manifest says of the split, {picture: labels}, notes)"""
    source = OwnPictures(format, directory / "images", directory / "labels", **(source_options or {}))
    target = directory / "out"
    manifest = conversion.convert_sources([source], target, Options(num_workers=1, **options), say=lambda text: None)
    read = {name: labels for name, _, labels in records.read_examples(sorted(map(str, target.glob("*_train.tfrecord-*"))))}
    split = manifest["splits"]["train"]
    assert split["faces"]["stated"] == split["faces"]["written"] + sum(split["faces"]["ignored"].values()) + sum(
        split["faces"]["dropped"].values()
    )
    return split, read, source.notes


@pytest.mark.parametrize("format", FACE)
def test_a_face_is_the_same_record_to_the_pixel(tmp_path, format):
    name, content = FACE[format]
    split, read, notes = convert(write(tmp_path, {name: content}, {"a.jpg": picture()}), format)
    np.testing.assert_allclose(read["a.jpg"].boxes_yxyx_norm, [BOX_YXYX], atol=1e-6)
    np.testing.assert_allclose(read["a.jpg"].eval_boxes_xywh_px, [[10, 20, 30, 40]], atol=1e-4)
    assert read["a.jpg"].weights.tolist() == [1] and read["a.jpg"].landmarks_xy_norm is None and split["problems"] == []
    assert notes == (["Taken as faces: boxes of class '0'."] if format == "yolo" else [])


def test_csv_with_left_top_width_and_height_is_the_same(tmp_path):
    rows = table('"a.jpg", 10 ,20,30,40', header="filename,x,y,width,height")
    _, read, _ = convert(write(tmp_path, {"set.csv": rows}, {"a.jpg": picture()}), "csv")
    np.testing.assert_allclose(read["a.jpg"].boxes_yxyx_norm, [BOX_YXYX], atol=1e-6)
    rows = table("a.jpg,100,80,Face,10,20,40,60", header="filename,width,height,class,xmin,ymin,xmax,ymax")  # the OD API's own
    _, read, _ = convert(write(tmp_path, {"set.csv": rows}, {}), "csv")
    np.testing.assert_allclose(read["a.jpg"].boxes_yxyx_norm, [BOX_YXYX], atol=1e-6)


WITH_POINTS = {
    "coco": ("coco", "set.json", coco({"bbox": [10, 20, 30, 40], "keypoints": [v for x, y in POINTS for v in (x, y, 2)]},
                                      {"bbox": [60, 20, 30, 40], "keypoints": [0, 0, 0, *[9] * 12]}, {"bbox": [60, 20, 30, 40]})),
    "yolo": ("yolo", "a.txt", f"0 0.25 0.5 0.3 0.5 {FRACTIONS}\n0 0.75 0.5 0.3 0.5{' -1' * 10}\n0 0.75 0.5 0.3 0.5\n"),
    "yolo with visibility": ("yolo", "a.txt", f"0 0.25 0.5 0.3 0.5 {SEEN}\n0 0.75 0.5 0.3 0.5{' 0 0 0' * 5}\n0 0.75 0.5 0.3 0.5\n"),
    "csv": ("csv", "set.csv", table(f"a.jpg,10,20,40,60,,,{','.join(map(str, FLAT))}", "a.jpg,60,20,90,60,,,16,30,,,,,,,,", "a.jpg,60,20,90,60")),
}  # fmt: skip


@pytest.mark.parametrize("case", WITH_POINTS)
def test_five_landmarks_come_along_and_absent_ones_are_absent(tmp_path, case):
    format, name, content = WITH_POINTS[case]
    _, read, _ = convert(write(tmp_path, {name: content}, {"a.jpg": picture()}), format)
    found = read["a.jpg"].landmarks_xy_norm
    np.testing.assert_allclose(found[0] * (100, 80), POINTS, atol=1e-3)
    assert found.shape == (3, 5, 2) and np.isnan(found[1:]).all()


def test_left_and_right_of_the_person_are_exchanged_and_said(tmp_path):
    theirs = [v for x, y in np.asarray(POINTS)[[1, 0, 2, 4, 3]].tolist() for v in (x, y, 2)]
    annotation = coco({"bbox": [10, 20, 30, 40], "keypoints": theirs})
    _, read, notes = convert(write(tmp_path, {"set.json": annotation}, {"a.jpg": picture()}), "coco")
    np.testing.assert_allclose(read["a.jpg"].landmarks_xy_norm[0] * (100, 80), POINTS, atol=1e-3)
    assert "left and right are the person's" in notes[0]


@pytest.mark.parametrize(
    ("format", "name", "content"),
    [
        ("voc", "a.xml", voc(("face", 11, 21, 40, 60), more="<difficult>1</difficult>")),
        ("coco", "set.json", coco({"bbox": [10, 20, 30, 40], "iscrowd": 1, "segmentation": {"counts": "x"}})),
        ("csv", "set.csv", table("a.jpg,10,20,40,60,face,1")),
    ],
)
def test_what_is_marked_is_ignored_not_background(tmp_path, format, name, content):
    split, read, _ = convert(write(tmp_path, {name: content}, {"a.jpg": picture()}), format)
    np.testing.assert_allclose(read["a.jpg"].boxes_yxyx_norm, [BOX_YXYX], atol=1e-6)
    assert read["a.jpg"].weights.tolist() == [0] and split["faces"]["ignored"] == {"flagged_invalid": 1}


GOOD = {"voc": ("face", 11, 21, 40, 60), "coco": {"bbox": [10, 20, 30, 40]}, "yolo": "0 .25 .5 .3 .5", "csv": "a.jpg,10,20,40,60,face"}
MAKE = {"voc": voc, "coco": coco, "yolo": lambda *lines: "\n".join(lines), "csv": table}
# (format, a bad face beside a good one, its place, the manifest's word, what is said)
BAD = [
    ("voc", ("face", 40, 21, 11, 60), "a.xml: object 2", "no_area", "40, 21, 11, 60: the box has no area"),
    ("voc", ("face", 11, 21, 40), "a.xml: object 2", "row_malformed", "lacks <ymax>"),
    ("voc", ("face", 11, 21, "wide", 60), "a.xml: object 2", "row_malformed", "numbers are wanted"),
    ("voc", ("face", 0.1, 0.2, 0.4, 0.6), "a.xml: object 2", "row_out_of_range", "VOC's are pixels"),
    ("voc", ("face", 11, 21, 40, 99999), "a.xml: object 2", "row_out_of_range", "beyond 65,535 px"),
    ("coco", {"bbox": [10, 20, -3, 40]}, "annotations[1]", "no_area", "width -3, height 40 has no area (a.jpg has 100x80 px)"),
    ("coco", {"bbox": [110, 20, 30, 40]}, "annotations[1]", "outside_image", "lies outside of the picture"),
    ("coco", {"bbox": [0.1, 0.25, 0.3, 0.5]}, "annotations[1]", "row_out_of_range", "looks like fractions"),
    ("coco", {"bbox": [1, 2, 3]}, "annotations[1]", "row_malformed", "left, top, width and height are wanted"),
    ("coco", {"bbox": None}, "annotations[1]", "row_malformed", "got None"),
    ("coco", {"bbox": [10, 20, 30, "40px"]}, "annotations[1]", "row_malformed", "numbers are wanted"),
    ("coco", {"bbox": [10, 20, 30, 40], "category_id": 7}, "annotations[1]", "class_unknown", "category_id 7"),
    ("coco", {"bbox": [10, 20, 30, 40], "keypoints": [1e9, 2, 2] * 5}, "annotations[1]", "row_out_of_range", "the landmarks"),
    (
        "yolo",
        "0 25 40 30 40",
        "a.txt:2",
        "row_out_of_range",
        "fractions of the picture, 0 to 1, are wanted; pixels are taken by --format csv",
    ),
    ("yolo", "0 .25 .5 .3", "a.txt:2", "row_malformed", "4 numbers"),
    ("yolo", "0 .25 .5 .3 .5 .9", "a.txt:2", "row_malformed", "6 numbers"),
    ("yolo", "face .25 .5 .3 .5", "a.txt:2", "row_malformed", "numbers are wanted"),
    ("yolo", "0.5 .25 .5 .3 .5", "a.txt:2", "row_malformed", "class '0.5': a whole number"),
    ("yolo", "0 .25 .5 nan .5", "a.txt:2", "row_malformed", "numbers are wanted"),
    ("yolo", "0 .25 .5 0 .5", "a.txt:2", "no_area", "has no area"),
    ("yolo", "0 .25 .5 .3 .5 " + "16 30 " * 5, "a.txt:2", "row_out_of_range", "the landmarks"),
    ("csv", "a.jpg,40,20,10,60,face", "set.csv:3", "no_area", "has no area"),
    ("csv", "a.jpg,10,20,,60,face", "set.csv:3", "row_malformed", "xmin,ymin,xmax,ymax: numbers are wanted"),
    ("csv", "a.jpg,.1,.2,.4,.6,face", "set.csv:3", "row_out_of_range", "looks like fractions"),
    ("csv", "a.jpg,200,20,240,60,face", "set.csv:3", "outside_image", "lies outside"),
]


@pytest.mark.parametrize(("format", "bad", "place", "reason", "said"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_face_is_named_and_its_neighbour_is_written(tmp_path, format, bad, place, reason, said):
    content = MAKE[format](GOOD[format], bad)
    source = write(tmp_path, {FACE[format][0]: content}, {"a.jpg": picture()})
    split, read, _ = convert(source, format)
    np.testing.assert_allclose(read["a.jpg"].boxes_yxyx_norm, [BOX_YXYX], atol=1e-6)
    assert split["faces"]["dropped"] == {reason: 1}
    (problem,) = split["problems"]
    assert problem["where"].endswith(place) and said in problem["message"] and "a.jpg" in problem["message"]
    with pytest.raises(widerface.WiderFaceError, match="--strict"):
        convert(source, format, strict=True)


@pytest.mark.parametrize(("format", "name", "content", "said"), [
    ("voc", "a.xml", "<annotation><object>", r"a\.xml is no whole XML"),
    ("voc", "a.xml", "<html></html>", r"a\.xml: <annotation> is wanted"),
    ("voc", "a.xml", '<!DOCTYPE x [<!ENTITY a "aa">]>' + voc(), "DOCTYPE"),
    ("voc", "a.txt", "0", r"labels holds no \.xml file"),
    ("coco", "set.json", "{", r"set\.json is no whole JSON"),
    ("coco", "set.json", "[]", "images: a list is wanted"),
    ("coco", "set.json", coco().replace('"file_name"', '"name"'), r"images\[0\]\.file_name"),
    ("coco", "set.json", coco({"bbox": [10, 20, 30, 40], "image_id": 5}), r"annotations\[0\]\.image_id: 5 is the id of none of images"),
    ("coco", "set.json", coco({"bbox": [10, 20, 30, 40], "image_id": [0]}), r"annotations\[0\]\.image_id: a number is wanted"),
    ("coco", "set.json", coco(), "it has no box"),
    ("yolo", "b.txt", "0 .25 .5 .3 .5", "No text in .*labels is called as a picture in .*images: .*b.txt stands for"),
    ("yolo", "a.txt", "0 25 40 30 40\n0 26 40 30 40", r"none of its 2 boxes can be used\. The first, .*a\.txt:1: .*fractions"),
    ("yolo", "a.txt", b"\xff\xfe0", r"a\.txt:1: no UTF-8"),
    ("csv", "set.csv", "a.jpg,10,20,40,60\n", r"set\.csv:1: a header row with image,xmin"),
    ("csv", "set.csv", HEADER.replace(",", ";") + "\n", r"set\.csv:1: a header row"),
    ("csv", "set.csv", HEADER + "\n", "no row below its header"),
    ("csv", "set.csv", table(",10,20,40,60"), r"set\.csv:2: no picture is named"),
    ("csv", "set.csv", table('a.jpg,"10'), r"set\.csv:\d: no row of a CSV"),
    ("csv", "set.csv", table("a.jpg,10,20,40,60", "b.jpg,10,20,40,60"), r"1 of 2 .* missing from .*images.*b\.jpg.*set\.csv:3.*--allow_missing_images"),
])  # fmt: skip
def test_what_cannot_be_followed_is_named_and_nothing_is_written(tmp_path, format, name, content, said):
    source = write(tmp_path, {name: content}, {"a.jpg": picture()})
    with pytest.raises(widerface.WiderFaceError, match=said):
        convert(source, format)
    assert not (tmp_path / "out").exists()


def test_absent_folders_are_named(tmp_path):
    write(tmp_path, {"a.txt": "", "b.csv": "", "c.csv": ""}, {"readme.md": ""})
    with pytest.raises(widerface.WiderFaceError, match="nowhere is no folder: --images"):
        OwnPictures("yolo", tmp_path / "nowhere", tmp_path / "labels")
    with pytest.raises(widerface.WiderFaceError, match=r"images holds no picture \(.jpg"):
        OwnPictures("yolo", tmp_path / "images", tmp_path / "labels")
    write(tmp_path, {}, {"a.jpg": picture()})
    with pytest.raises(widerface.WiderFaceError, match="nowhere does not exist: --annotations"):
        OwnPictures("coco", tmp_path / "images", tmp_path / "nowhere").annotation()
    with pytest.raises(widerface.WiderFaceError, match=r"2 .csv files \(b.csv, c.csv\): name one"):
        OwnPictures("csv", tmp_path / "images", tmp_path / "labels").annotation()


def test_classes_that_are_faces_are_chosen_and_the_others_said(tmp_path):
    boxes = [("Face", 11, 21, 40, 60), ("car", 1, 1, 20, 20), ("head", 60, 1, 90, 20)]
    source = write(tmp_path, {"a.xml": voc(*boxes)}, {"a.jpg": picture()})
    split, _, notes = convert(source, "voc")
    assert (
        split["faces"]["stated"] == 1 and "boxes of class 'Face'" in notes[0] and "'car' 1 (first in" in notes[1] and "'head' 1" in notes[1]
    )
    split, _, notes = convert(source, "voc", {"class_names": ["head", "Face"]})
    assert split["faces"]["stated"] == 2 and "'car'" in notes[1] and "'head'" not in notes[1]
    with pytest.raises(widerface.WiderFaceError, match=r"No box is of class 'hed'; there are 'Face' 1 \(first in .*object 1.*--class_name"):
        convert(source, "voc", {"class_names": ["hed"]})
    write(tmp_path, {"a.xml": voc(*boxes[1:])}, {})
    with pytest.raises(widerface.WiderFaceError, match="No box is of class 'face'; there are 'car' 1 "):
        convert(source, "voc")


@pytest.mark.parametrize(
    ("name", "content"),
    [("classes.txt", "car\nface\n"), ("../data.yaml", "names: [car, face]\n"), ("data.yaml", "names:\n  0: car\n  1: face\n")],
)
def test_yolos_numbers_have_names_where_a_file_says_them(tmp_path, name, content):
    source = write(tmp_path, {"a.txt": "1 .25 .5 .3 .5\n0 .5 .5 .1 .1\n2 .5 .5 .1 .1\n", name: content}, {"a.jpg": picture()})
    split, read, notes = convert(source, "yolo")
    np.testing.assert_allclose(read["a.jpg"].boxes_yxyx_norm, [BOX_YXYX], atol=1e-6)
    assert "'car' 1 (first in" in notes[0]
    assert [problem["where"][-7:] for problem in split["problems"]] == ["a.txt:3"] and split["faces"]["dropped"] == {"class_unknown": 1}


@pytest.mark.parametrize("content", ["names: 3\n", "nc: 1\n", "names: [\n", "names: {x: face}\n", "- 1\n"])
def test_names_that_are_none_are_refused(tmp_path, content):
    source = write(tmp_path, {"a.txt": "0 .25 .5 .3 .5\n", "data.yaml": content}, {"a.jpg": picture()})
    with pytest.raises(widerface.WiderFaceError, match="data.yaml: names: a list of the classes is wanted"):
        convert(source, "yolo")


def test_pictures_are_found_in_folders_and_by_their_stem(tmp_path):
    pictures = {"one/a.jpg": picture(), "two/a.jpg": picture(), "two/b.PNG": encoded("PNG"), "c.jpg": picture()}
    face = "0 .25 .5 .3 .5"
    source = write(tmp_path, {"one/a.txt": face, "two/a.txt": face, "b.txt": face}, pictures)
    _, read, notes = convert(source, "yolo")
    assert set(read) == {"one/a.jpg", "two/a.jpg", "two/b.PNG"}
    assert "without annotation: 1, the first is c.jpg" in notes[-1] and "an empty .txt file" in notes[-1]
    write(tmp_path, {"a.txt": face}, {})
    with pytest.raises(widerface.WiderFaceError, match=r"a\.txt: one/a\.jpg and two/a\.jpg could both be meant"):
        convert(source, "yolo")
    write(
        tmp_path,
        {"x.xml": voc(("face", 11, 21, 40, 60), name="C:\\photos\\c.jpg"), "b.xml": voc(("face", 11, 21, 40, 60), name="b.tga")},
        {},
    )
    assert set(convert(source, "voc")[1]) == {"c.jpg", "two/b.PNG"}


@pytest.mark.parametrize(
    ("format", "annotation"),
    [
        ("voc", {"a.xml": FACE["voc"][1], "none.xml": voc(name="none.jpg")}),
        ("coco", {"set.json": coco({"bbox": [10, 20, 30, 40]}, images=[("a.jpg", 100, 80), ("none.jpg", 100, 80)])}),
        ("yolo", {"a.txt": FACE["yolo"][1], "none.txt": ""}),
        ("csv", {"set.csv": table("a.jpg,10,20,40,60", "none.jpg,,,,")}),
    ],
)
def test_a_picture_without_a_face_is_learned_from(tmp_path, format, annotation):
    split, read, _ = convert(write(tmp_path, annotation, {"a.jpg": picture(), "none.jpg": picture()}), format)
    assert split["images"] == {"written": 1, "written_without_face": 1} and len(read["none.jpg"].weights) == 0


def encoded(kind, size=(100, 80), mode="RGB", **options) -> bytes:
    gradient = np.add.outer(np.linspace(0, 120, size[1]), np.linspace(0, 120, size[0]))
    stream = io.BytesIO()
    array = (
        (gradient * 256).astype(np.uint16) if mode == "I;16" else np.stack([gradient, 200 - gradient / 2, gradient / 3], 2).astype(np.uint8)
    )
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def stored(directory, name) -> tuple[np.ndarray, bytes]:
    for found, data, _ in records.read_examples(sorted(map(str, (directory / "out").glob("*_train.tfrecord-*")))):
        if found == name:
            return np.asarray(Image.open(io.BytesIO(data)), np.float64), data
    raise KeyError(name)


def test_jpegs_are_kept_and_other_pictures_are_written_as_jpegs(tmp_path):
    pictures = {"a.jpg": picture(), "b.png": encoded("PNG"), "c.webp": encoded("WEBP", lossless=True), "d.png": encoded("PNG", mode="I;16"),
                "e.png": b"<html>quota", "f.png": encoded("PNG")[:400]}  # fmt: skip
    source = write(tmp_path, {f"{name[0]}.txt": "0 .25 .5 .3 .5" for name in pictures}, pictures)
    split, read, _ = convert(source, "yolo")
    assert set(read) == {"a.jpg", "b.png", "c.webp", "d.png"} and stored(tmp_path, "a.jpg")[1] == pictures["a.jpg"]
    colours = np.asarray(Image.open(io.BytesIO(pictures["b.png"])), np.float64)
    for name in ("b.png", "c.webp"):
        found, data = stored(tmp_path, name)
        assert data[:3] == b"\xff\xd8\xff" and np.abs(found - colours).mean() < 1.5 and np.abs(found - colours).max() < 12
        assert read[name].boxes_yxyx_norm.tolist() == read["a.jpg"].boxes_yxyx_norm.tolist()
    assert np.abs(stored(tmp_path, "d.png")[0][..., 0] - colours[..., 0]).max() < 12  # 16 bits are scaled, not whitened
    assert split["images"] == {"written": 4, "image_not_jpeg": 1, "image_unreadable": 1}
    assert "e.png is no picture but an HTML page" in str(split["problems"]) and "f.png cannot be read" in str(split["problems"])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_turned_picture_is_refused_or_set_upright(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: 80 x 100 px as it is stored, 100 x 80 as it is shown
    name = f"turned.{kind.lower()}"
    data = encoded(kind, (80, 100), exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    source = write(tmp_path, {"turned.txt": "0 .25 .5 .3 .5", "a.txt": "0 .25 .5 .3 .5"}, {name: data, "a.jpg": picture()})
    split, read, _ = convert(source, "yolo")
    assert split["images"] == {"written": 1, "image_exif_rotated": 1} and "--upright" in split["problems"][0]["message"]
    split, read, _ = convert(source, "yolo", {"upright": True})
    assert split["images"] == {"written": 2}
    np.testing.assert_allclose(read[name].boxes_yxyx_norm, [BOX_YXYX], atol=1e-6)
    found, _ = stored(tmp_path, name)
    wanted = np.rot90(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float64), -1)
    assert found.shape == (80, 100, 3) and np.abs(found - wanted).max() < 12


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("voc", voc(("face", 11, 21, 40, 60), size="<size><width>80</width><height>100</height></size>")),
        ("coco", coco({"bbox": [10, 20, 30, 40]}, images=[("a.jpg", 200, 160)])),
        ("csv", "filename,width,height,xmin,ymin,xmax,ymax\na.jpg,200,160,10,20,40,60\n"),
    ],
)
def test_a_picture_of_another_size_than_was_annotated_is_left_out(tmp_path, format, content):
    split, _, _ = convert(write(tmp_path, {FACE[format][0]: content}, {"a.jpg": picture()}), format)
    assert split["images"] == {"image_size_differs": 1} and split["faces"]["dropped"] == {"image_size_differs": 1}
    assert "a.jpg is 100x80 px, and its annotation was made on" in split["problems"][0]["message"]


def test_the_command_holds_a_fifth_out_prints_the_balance_and_takes_a_test_set_beside(tmp_path, capsys):
    names = [f"p{i}" for i in range(10)]
    labels = {f"{name}.txt": "0 .25 .5 .3 .5\n" for name in names}
    write(tmp_path, {**labels, "p0.txt": "0 .25 .5 .3 .5\n0 9 9 9 9\n"}, {f"{name}.jpg": picture() for name in names})
    paths = ["--images", tmp_path / "images", "--annotations", tmp_path / "labels", "--output_dir", tmp_path / "mine"]

    def command(*more) -> int:
        return load_script("dataset_tools/import_dataset.py").main(["--format", "yolo", *map(str, paths), "--num_workers", "1", *more])

    assert command() == 0
    said = capsys.readouterr().out
    assert "train: 8 pictures" in said and "holdout: 2 pictures" in said and "row_out_of_range" in said and "p0.txt:2" in said
    assert "boxes of class '0'" in said
    assert command("--split", "val") == 0
    manifest = json.loads((tmp_path / "mine" / records.MANIFEST).read_text())
    assert {name: sum(split["images"].values()) for name, split in manifest["splits"].items()} == {"train": 8, "holdout": 2, "val": 10}
    assert command("--class_name", "nose") == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: ") and "--class_name NAME" in said


FILES = {
    "voc": {"a.xml": voc(("face", 11, 21, 40, 60), ("car", 1, 2, 3, 4)), "b.xml": voc(("face", 1, 1, 9, 9), name="b.jpg")},
    "coco": {"set.json": coco({"bbox": [10, 20, 30, 40], "keypoints": [16, 30, 2] * 5, "iscrowd": 0}, {"bbox": [1, 2, 9, 9], "image_id": 1},
                              images=[("a.jpg", 100, 80), ("b.jpg", 100, 80)])},
    "yolo": {"a.txt": f"0 .25 .5 .3 .5 {SEEN}\n0 .2 .2 .1 .1\n", "b.txt": "1 .5 .5 .1 .1\n", "data.yaml": "names:\n  0: face\n  1: car\n"},
    "csv": {"set.csv": table(f"a.jpg,10,20,40,60,face,0,{','.join(map(str, FLAT))}", "b.jpg,1,2,30,40,face", '"a.jpg",1,2,30,40,car')},
}  # fmt: skip


@pytest.mark.parametrize("format", FILES)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=25, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
def test_damaged_annotation_is_refused_by_name_or_adds_up(tmp_path_factory, format, data):
    name = data.draw(st.sampled_from(sorted(FILES[format])))
    strategy, mutate = (json_mutations(), mutated_json) if format == "coco" else (mutations(TEXT), mutated)
    damaged = mutate(FILES[format][name].encode(), data.draw(strategy))
    directory = tmp_path_factory.mktemp(format)
    write(directory, {**FILES[format], name: damaged}, {"a.jpg": picture(), "b.jpg": picture()})
    try:
        _, read, notes = convert(directory, format, allow_missing_images=True)
    except widerface.WiderFaceError as error:
        told = str(error)
        assert str(directory) in told
    else:
        told = " ".join(notes)
        for labels in read.values():
            assert ((labels.boxes_yxyx_norm >= 0) & (labels.boxes_yxyx_norm <= 1)).all()
    told.encode()  # what a terminal is sent
    assert len(told) < 3000
