"""Mutations of every kind of file that the project reads, and of what its web server is asked."""

import concurrent.futures
import copy
import functools
import http.client
import http.server
import importlib.util
import io
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import sys
import threading
import zipfile

import numpy as np
import tflite_mutations
from hypothesis import strategies as st
from torture import Attack, Lost, Refused, Silent

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = next(ROOT.glob("exported_models/*narrow*224*/*_int8.tflite"))
NUMBERS = (b"0", b"-1", b"1e39", b"nan", b"inf", b"-9223372036854775808", b"4294967296", b"9" * 5000, b"0.5", b"1e-45")
TEXT = (
    *NUMBERS,
    b"",
    b"\xff",
    b"\0",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"../",
    b"/",
    b"x",
    b"#",
    b"<html>",
    b"[" * 3000,
    b'"',
    b"{",
    b"}",
    b"null",
)
BINARY = (
    b"\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\0" * 64,
    b"\x80",
    b"\x01\0\0\0",
    b"PK\x03\x04",
    b"PK\x01\x02",
    b"\xff\xd9",
    b"\xff\xd8",
)
_WORD = re.compile(rb"[\w.+-]+")
# where: a share of the file, often near its beginning or end, where the formats keep their structure
_WHERE = st.one_of(st.floats(0, 1), st.floats(0, 0.02), st.floats(0.98, 1))
_LENGTH = st.one_of(st.integers(1, 8), st.integers(1, 2000))


def mutations(tokens) -> st.SearchStrategy:
    """Lists of (what, where, length, token), for mutated(); the empty one too, which has to work."""
    what = st.sampled_from(("cut", "flip", "insert", "over", "delete", "repeat", *(("word",) * 4 if tokens is TEXT else ())))
    return st.lists(st.tuples(what, _WHERE, _LENGTH, st.sampled_from(tokens)), max_size=4)


def mutated(data: bytes, changes) -> bytes:
    for what, where, length, token in changes:
        at = int(where * len(data))
        if what == "cut":
            data = data[:at]
        elif what == "flip" and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([data[at] ^ (1 << length % 8)]) + data[at + 1 :]
        elif what == "insert":
            data = data[:at] + token + data[at:]
        elif what == "over":
            data = data[:at] + token + data[at + len(token) :]
        elif what == "delete":
            data = data[:at] + data[at + length :]
        elif what == "repeat":
            data = data[:at] + data[at : at + length] + data[at:]
        elif what == "word" and (words := list(_WORD.finditer(data))):
            word = words[min(int(where * len(words)), len(words) - 1)]
            data = data[: word.start()] + token + data[word.end() :]
    return data


_ODD = (None, True, -1, 0, 1.5, 1e39, float("nan"), float("inf"), 10**30, "", "x", "../x", "\0", [], {}, [[]], {"x": 1}, "remove")


def json_mutations() -> st.SearchStrategy:
    """As mutations(), of a JSON file: of its text, or of values in it."""
    values = st.lists(st.tuples(st.just("value"), st.floats(0, 1), st.just(0), st.sampled_from(_ODD)), min_size=1, max_size=2)
    return st.one_of(mutations(TEXT), values)


def mutated_json(data: bytes, changes) -> bytes:
    if not changes or changes[0][0] != "value":
        return mutated(data, changes)
    tree = {"": json.loads(data)}
    for _, where, _, odd in changes:
        places = list(_places(tree))
        holder, key = places[min(int(where * len(places)), len(places) - 1)]
        if odd == "remove" and holder is not tree:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(odd)  # the same list twice would make a circle
    return json.dumps(tree[""]).encode()


def _places(tree):
    """(dict or list, key) of all that it holds, at any depth."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def load_script(path: str):
    """A script of the project as a module."""
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def same_files(a: pathlib.Path, b: pathlib.Path) -> bool:
    """Whether two folders hold the same names with the same bytes."""
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) for folder in (a, b)]
    return names[0] == names[1] and all((a / name).read_bytes() == (b / name).read_bytes() for name in names[0])


def convert(data_dir: pathlib.Path, output_dir: pathlib.Path, **options) -> None:
    from facedet.data import conversion

    landmarks = data_dir / "landmarks" / "train_label.txt"
    settings = conversion.Options(num_workers=1, allow_missing_images=True, **options)
    conversion.convert(data_dir, output_dir, options=settings, landmarks_path=landmarks, say=lambda text: None)


def prepare(work: pathlib.Path) -> dict[str, Attack]:
    """The attacks by name; what they start from is made in `work`."""
    import tensorflow  # noqa: F401  # once, for all the forks

    sys.path.append(str(ROOT / "tests"))
    import landmark_file

    from facedet.data import sample

    with_lists, data, old = sample.make(str(work / "lists"), num_train=4, num_val=4), work / "sample", work / "old"
    shutil.copytree(with_lists, data, ignore=shutil.ignore_patterns("eval_gt"))  # reading those takes longer than all the rest
    zipped = work / "zipped"
    shutil.copytree(data, zipped, ignore=shutil.ignore_patterns("WIDER_train"))
    with zipfile.ZipFile(zipped / "WIDER_train.zip", "w") as archive:
        for path in sorted(data.glob("WIDER_train/**/*.jpg")):
            archive.write(path, path.relative_to(data))
    convert(data, old)
    (picture, *_) = sorted(data.glob("WIDER_train/**/*.jpg"))
    annotation = data / "wider_face_split" / "wider_face_train_bbx_gt.txt"
    lists = sorted(with_lists.glob("eval_gt/*.mat"))
    conversions = {
        "annotation": (TEXT, data, [annotation]),
        "landmarks": (TEXT, data, [data / "landmarks" / "train_label.txt"]),
        "JPEG": (BINARY, data, [picture]),
        "zip": (BINARY, zipped, [zipped / "WIDER_train.zip"]),
        ".mat": (BINARY, with_lists, lists),
    }
    found = {
        name: Attack(st.tuples(st.sampled_from(range(len(files))), mutations(tokens)), functools.partial(_conversion, source, files, old))
        for name, (tokens, source, files) in conversions.items()
    }
    found["config"] = Attack(st.tuples(st.sampled_from(sorted(ROOT.glob("configs/*.config"))), mutations(TEXT)), _config)
    found["record shard"] = Attack(mutations(BINARY), functools.partial(_shard, old))
    found["manifest.json"] = Attack(json_mutations(), functools.partial(_manifest, old))
    # made elsewhere: a child forked from a process in which TensorFlow has run may wait for its threads for ever
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        with_nms = elsewhere.submit(landmark_file.make).result()
        raw = elsewhere.submit(landmark_file.make, raw=True, precision="int8", padding=landmark_file.padding("end")).result()
    models = [
        MODEL.read_bytes(),
        with_nms,
        raw,
    ]
    some = st.sampled_from(range(len(models)))
    found["facedet.json"] = Attack(st.tuples(some, json_mutations()), functools.partial(_details, models))
    found[".tflite"] = Attack(st.tuples(some, mutations(BINARY)), functools.partial(_tflite, models))
    found[".tflite, its structure"] = Attack(st.tuples(some, st.integers(0, 2**32 - 1)), functools.partial(_tflite_structure, models))
    found["backup mark"] = Attack(json_mutations(), _mark)
    found["model card"] = Attack(json_mutations(), _card)
    pieces = st.sampled_from(("/", "..", "%2e%2e", "%2f", "%00", "models", "litertjs", "index.html", "detectors.json", "%ff", "?", "#", "//",
                              "[", "]", "http:", "test", "\\", ";", "%", "a" * 300, "é", " ", MODEL.parent.name, MODEL.name))  # fmt: skip
    found["web path"] = Attack(st.lists(pieces, max_size=8).map("".join), _web)
    return found


def _conversion(source: pathlib.Path, files, old: pathlib.Path, case, folder: pathlib.Path) -> None:
    """One file of the data set is mutated; an older set of records lies where the new one goes."""
    from facedet.data import records

    which, changes = case
    name = files[which].relative_to(source)
    data, output = folder / "data", folder / "out"
    shutil.copytree(source, data, copy_function=os.link)  # nothing is written through the links
    changed = mutated(files[which].read_bytes(), changes)
    (data / name).unlink()
    (data / name).write_bytes(changed)
    shutil.copytree(old, output)
    try:
        convert(data, output)
    except Exception:
        if not same_files(old, output):
            raise Lost("the older set of records") from None
        raise
    manifest = records.read_manifest(output)
    json.dumps(manifest, allow_nan=False)
    for split in manifest["splits"]:
        records.check_shards([str(path) for path in output.glob(f"widerface_{split}.tfrecord-*")])
    notes = [problem for split in manifest["splits"].values() for problem in split["problems"]]
    if name.suffix == ".jpg" and notes:
        raise Refused(notes[0]["message"])
    if name.suffix == ".jpg":
        _require_decoded(changed)


def _require_decoded(encoded: bytes) -> None:
    import tensorflow as tf

    try:
        tf.io.decode_jpeg(encoded, channels=3)
    except tf.errors.InvalidArgumentError as error:
        raise Silent(f"a picture was written that TensorFlow cannot decode: {error.message}") from error


def _config(case, folder) -> None:
    from facedet.recipe import pipeline_config

    source, changes = case
    (folder / "mutated.config").write_bytes(mutated(source.read_bytes(), changes))
    pipeline_config.read(str(folder / "mutated.config"))


def _shard(old: pathlib.Path, changes, folder: pathlib.Path) -> None:
    from facedet.data import records

    (source,) = old.glob("widerface_train.tfrecord-*")
    shutil.copytree(old, folder / "set")
    path = folder / "set" / source.name
    size = source.stat().st_size  # which check_shards() compares: only the content tells
    path.write_bytes(mutated(source.read_bytes(), changes)[:size].ljust(size, b"\0"))
    records.check_shards([str(path)])
    list(records.read_examples([str(path)]))
    if path.read_bytes() != source.read_bytes():
        raise Silent("a changed shard was read as if it were whole")


def _manifest(old: pathlib.Path, changes, folder: pathlib.Path) -> None:
    from facedet.data import records

    shutil.copytree(old, folder / "set")
    path = folder / "set" / records.MANIFEST
    path.write_bytes(mutated_json(path.read_bytes(), changes))
    split = records.check_shards([str(shard) for shard in path.parent.glob("widerface_train.tfrecord-*")])
    if not (
        split["max_faces_per_image"] >= 0 and sum(shard["examples"] for shard in split["shards"]) > 0 and split["faces"]["written"] >= 0
    ):
        raise Silent("a manifest without its numbers was taken")


def _detect(model: bytes, folder: pathlib.Path) -> None:
    from facedet import FaceDetector

    (folder / "mutated.tflite").write_bytes(model)
    faces = FaceDetector(folder / "mutated.tflite").detect(np.zeros((100, 140, 3), np.uint8))
    landmarks = [] if faces.landmarks is None else faces.landmarks
    if not all(np.isfinite(numbers).all() for numbers in (faces.boxes, faces.scores, landmarks)):
        raise Silent("boxes, scores or landmarks that are no numbers")


def _tflite(models: list[bytes], case, folder) -> None:
    which, changes = case
    _detect(mutated(models[which], changes), folder)


def _tflite_structure(models: list[bytes], case, folder) -> None:
    which, seed = case
    _detect(tflite_mutations.mutate(models[which], random.Random(seed))[1], folder)


def _details(models: list[bytes], case, folder) -> None:
    """The file's own facedet.json is mutated, its network whole."""
    from facedet.runtime.detector import DETAILS_FILE

    which, changes = case
    data = models[which]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
        begin = min(info.header_offset for info in archive.infolist())
    members[DETAILS_FILE] = mutated_json(members[DETAILS_FILE], changes)
    packed = io.BytesIO(data[:begin])
    with zipfile.ZipFile(packed, "a") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    _detect(packed.getvalue(), folder)


def make_checkpoint(model_dir: pathlib.Path, step: int) -> None:
    """The names that a training run leaves, with little in them."""
    (model_dir / "best").mkdir(parents=True, exist_ok=True)
    (model_dir / f"ckpt-{step}.index").write_bytes(b"index %d" % step)
    (model_dir / f"ckpt-{step}.data-00000-of-00001").write_bytes(b"weights %d" % step * 1000)
    (model_dir / "best" / "ckpt-1.index").write_bytes(b"best")
    (model_dir / "training.json").write_text(json.dumps({"steps": step}))
    (model_dir / "checkpoint").write_text(f'model_checkpoint_path: "ckpt-{step}"\nall_model_checkpoint_paths: "ckpt-{step}"\n')


def _mark(changes, folder: pathlib.Path) -> None:
    from facedet.training import backup

    make_checkpoint(folder / "model", 100)
    backup.save(folder / "model", folder / "drive")
    mark = folder / "drive" / "ckpt-100" / backup.MARK
    mark.write_bytes(mutated_json(mark.read_bytes(), changes))
    before, said = {path for path in folder.rglob("*")}, []
    step = backup.restore(folder / "drive", folder / "deep" / "other", said.append)
    written = {path for path in folder.rglob("*")} - before
    if any(not path.is_relative_to(folder / "deep") for path in written) or [p for p in (folder / "deep").glob("*") if p.name != "other"]:
        raise Lost("a file outside of model_dir was written")
    if step is None:
        raise Refused(said[0])
    files = [path for path in (folder / "deep" / "other").rglob("ckpt-*") if path.is_file()]
    if not files or any(
        path.read_bytes() != (folder / "model" / path.relative_to(folder / "deep" / "other")).read_bytes() for path in files
    ):
        raise Silent("what was restored differs")


def _card(changes, folder: pathlib.Path) -> None:
    card = (MODEL.parent / "model_card.json").read_bytes()
    for name, content in (("whole", card), ("mutated", mutated_json(card, changes))):
        (folder / name).mkdir()
        (folder / name / "model_card.json").write_bytes(content)
        (folder / name / MODEL.name).symlink_to(MODEL)
    found = load_script("scripts/serve_web.py").detectors(folder)
    json.dumps(found, allow_nan=False)
    if sum("models/whole/" in entry["url"] for entry in found) != 1:
        raise Silent("a whole card is missing beside a broken one")
    if len(found) == 1:
        raise Refused("left out")


def _web(path: str, folder: pathlib.Path) -> None:
    serve_web = load_script("scripts/serve_web.py")
    models = folder / "models"
    (models / MODEL.parent.name).mkdir(parents=True)
    (models / MODEL.parent.name / MODEL.name).write_bytes(b"model")
    (folder / "secret").write_bytes(b"secret")
    handler = functools.partial(serve_web.Handler, models_dir=models, names={"localhost"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.putrequest("GET", "/", skip_host=True)
        connection._buffer[0] = b"GET /" + path.encode() + b" HTTP/1.1"
        connection.putheader("Host", "localhost")
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        server.shutdown()
    if answer.status in (301, 400, 404):
        raise Refused(str(answer.status))
    allowed = [b"model", b"[]", *(p.read_bytes() for f in ("web", "web/test") for p in (ROOT / f).iterdir() if p.is_file())]
    if answer.status != 200 or (body not in allowed and "litertjs" not in path and "node_modules" not in path):
        raise Silent(f"{answer.status}, {body[:100]!r}")
