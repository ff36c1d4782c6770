"""The page in headless Chromium, with a film of a face for a camera."""

import contextlib
import functools
import http.client
import http.server
import importlib.util
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

import cv2
import landmark_file
import numpy as np
import pytest
from conftest import ROOT, SHIPPED
from PIL import Image

from facedet import FaceDetector
from facedet.runtime.input_spec import InputSpec, resize

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def face():
    """RGB 640x480: a face in the left upper quarter."""
    from skimage import data

    picture = np.full((480, 640, 3), 70, np.uint8)
    picture[20:404, 30:414] = cv2.resize(data.astronaut(), (384, 384), interpolation=cv2.INTER_AREA)
    return picture


@contextlib.contextmanager
def serving(*options):
    """Its address."""
    subprocess.run(
        ["make", "web/node_modules/.package-lock.json"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    command = [sys.executable, "scripts/serve_web.py", "--port", "0", *map(str, options)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def server():
    with serving() as address:
        yield address


def up_to_the_last_integer(path, output):
    """Writes the int8 file without the float operators at its end, so that its outputs are the quantized network's."""
    from facedet.export.formats import flatbuffer

    model = flatbuffer.unpack(path.read_bytes())
    (graph,) = model.subgraphs
    dequantize = flatbuffer.schema.BuiltinOperator.DEQUANTIZE
    ends = [op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == dequantize]
    graph.operators = graph.operators[: graph.operators.index(ends[-1]) + 1]
    graph.outputs = [op.outputs[0] for op in ends]
    model.signatureDefs, model.metadata = [], []
    output.write_bytes(flatbuffer.pack(model))
    return output


@pytest.fixture(scope="module")
def integer_files(tmp_path_factory):
    work = tmp_path_factory.mktemp("integers")
    return [up_to_the_last_integer(path, work / path.name) for path in sorted(ROOT.glob("exported_models/*/*_int8.tflite"))]


def outputs_in_python(path, rgb):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], rgb[None])
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def input_of(path, face):
    side = 320 if "320x320" in path.name else 224
    return resize(face, side, side)


@pytest.fixture(scope="module")
def seen(server, face, integer_files, tmp_path_factory):
    work = tmp_path_factory.mktemp("web")
    film, picture, runs = work / "camera.y4m", work / "face.png", work / "runs.json"
    Image.fromarray(face).save(picture)
    frame = cv2.cvtColor(face, cv2.COLOR_RGB2YUV_I420).tobytes()
    film.write_bytes(b"YUV4MPEG2 W640 H480 F15:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + frame) * 30)
    files = [*SHIPPED.glob("*_int8.tflite"), *integer_files]
    runs.write_text(json.dumps([{"file": str(path), "rgb": input_of(path, face).reshape(-1).tolist()} for path in files]))
    command = ["node", "test/page.mjs", server, CHROMIUM, film, picture, runs]
    said = subprocess.run(list(map(str, command)), cwd=ROOT / "web", text=True, capture_output=True, timeout=300)
    assert said.returncode == 0, said.stderr[-3000:]
    return json.loads(said.stdout)


needs_browser = pytest.mark.skipif(
    "CI" not in os.environ and not (CHROMIUM and shutil.which("npm")), reason="chromium or npm is missing: apt-get install chromium npm"
)


def overlap(a, b) -> float:
    from facedet.runtime import boxes

    return boxes.iou(np.asarray([a], np.float32), np.asarray([b], np.float32))[0, 0]


@needs_browser
def test_the_box_is_on_the_face_in_every_detector(seen, face):
    assert len(seen["detectors"]) == len(list(ROOT.glob("exported_models/*/*.tflite"))) and seen["detectors"][:3] == [
        "224",
        "320",
        "224 fast",
    ]
    for label, found in seen["pictures"].items():
        path = ROOT / "exported_models" / seen["urls"][label].removeprefix("models/")
        expected = FaceDetector(path).detect(face)
        assert len(found) == len(expected) == 1, label
        # the browser scales the picture otherwise than Pillow
        assert overlap(found[0]["box"], expected.boxes[0]) > 0.9 and abs(found[0]["score"] - expected.scores[0]) < 0.1, label


@needs_browser
def test_the_int8_network_gives_pythons_outputs_bit_by_bit(seen, face, integer_files):
    assert integer_files
    for path in integer_files:
        expected = outputs_in_python(path, input_of(path, face))
        in_page = [np.asarray(values, np.float32) for values in seen["outputs"][str(path)]]
        assert len(in_page) == len(expected) > 0
        for ours, pythons in zip(in_page, expected, strict=True):
            assert len(np.unique(pythons)) > 5  # something was computed
            np.testing.assert_array_equal(ours.reshape(pythons.shape), pythons)


@needs_browser
def test_boxes_and_scores_of_int8_are_pythons(seen, face):
    """The sigmoid and the decoding after the integers are float: each processor's own, the last bit may differ."""
    (path,) = SHIPPED.glob("*_int8.tflite")
    boxes, scores, _ = FaceDetector(path, score_threshold=0.0).detect_resized(resize(face, 224, 224))
    in_page = [np.asarray(values, np.float32) for values in seen["outputs"][str(path)]]
    count = int(in_page[3][0])
    assert count == len(scores) > 0
    np.testing.assert_allclose(in_page[2][:count], scores, rtol=3e-7)
    np.testing.assert_allclose(in_page[0].reshape(-1, 4)[:count], boxes, atol=3e-7)


@needs_browser
def test_the_camera_by_keyboard(seen, face):
    (path,) = SHIPPED.glob("*_int8.tflite")
    (expected,) = FaceDetector(path).detect(face).boxes
    camera = seen["camera"]
    assert len(camera["faces"]) == 1 and overlap(camera["faces"][0]["box"], expected) > 0.85
    assert camera["green"] and camera["status"] == "1 face" and (camera["pressed"], camera["stopped"]) == ("true", "false")


@needs_browser
def test_failures_are_sentences(seen):
    assert "cannot be used" in seen["broken"] and seen["broken"].endswith("Choose another detector.")
    assert seen["refused"].startswith("No camera: ") and seen["refused"].endswith("You can open a picture instead.")
    assert seen["noPicture"] == "text.png is no picture that this browser can read."


@needs_browser
def test_nothing_leaves_the_page_and_it_fits_a_phone(seen):
    assert seen["outside"] == [] and seen["overflow"] <= 0


@needs_browser
def test_nothing_is_logged_as_an_error_that_is_none(seen, features):
    assert seen["errorsBefore"] == [] and features["errors"] == []


@needs_browser
def test_mediapipes_object_detector_finds_the_same(server, face, tmp_path):
    """tasks-vision in the browser scales pictures by its own means: a pixel or two of the input."""
    Image.fromarray(face).save(tmp_path / "face.png")
    models = sorted(SHIPPED.glob("*.tflite"))
    command = ["node", "test/mediapipe.mjs", server, CHROMIUM, tmp_path / "face.png", *models]
    said = subprocess.run(list(map(str, command)), cwd=ROOT / "web", text=True, capture_output=True, timeout=300)
    assert said.returncode == 0, said.stderr[-3000:]
    told = json.loads(said.stdout)
    assert told["outside"] == [] and len(told["found"]) == len(models)
    for model, found in told["found"].items():
        expected = FaceDetector(model).detect(face)
        assert len(found) == len(expected) == 1 and found[0]["label"] == "face", model
        limit = 2 * max(face.shape[:2]) / 224
        assert np.abs(np.subtract(found[0]["box"], expected.boxes[0])).max() <= limit and abs(found[0]["score"] - expected.scores[0]) < 0.05


@needs_browser
def test_of_two_choices_the_last_is_in_use(seen):
    told = seen["twoChoices"]
    assert told["label"] == told["wanted"] and told["faces"] == 1 and told["misused"] == [] and told["status"] == "1 face"
    assert told["caption"].startswith(f"{told['wanted']} · 1 face · ")


RED = (255, 0, 0)  # what the network of landmark_file looks for
LANDMARK_FILES = {  # kind: options of landmark_file.make()
    "float32_raw": {"raw": True, "padding": landmark_file.padding("end")},
    "int8_raw": {"raw": True, "precision": "int8", "padding": landmark_file.padding("centre")},
    "float32": {},
    "int8": {"precision": "int8", "padding": landmark_file.padding("end")},
    "float32_six": {"points": 6, "padding": landmark_file.padding("centre")},
    "int8_raw_six": {"raw": True, "points": 6, "precision": "int8"},
    "float16": {"padding": landmark_file.padding("centre", RED)},
    "float16_raw": {"raw": True, "points": 0, "padding": landmark_file.padding("centre")},
}


@pytest.fixture(scope="module")
def landmarks_seen(tmp_path_factory):
    """The files' folder, {kind: {picture: what the page found} or {refused: why}}, {path: picture}; three more files do not fit their details."""
    work = tmp_path_factory.mktemp("landmarks")
    folder = work / "models" / "red"
    folder.mkdir(parents=True)
    data = {kind: landmark_file.make(**options) for kind, options in LANDMARK_FILES.items()}
    data["bare"] = data["int8"][: data["int8"].index(b"PK\x03\x04")]
    data["seven"] = landmark_file.make(landmarks=7)
    data["none"] = landmark_file.make(landmarks=0)
    for kind, content in data.items():
        (folder / f"red_{kind}.tflite").write_bytes(content)
    shape = {"height": landmark_file.HEIGHT, "width": landmark_file.WIDTH}
    files = [{"file": f"red_{kind}.tflite", "kind": kind, "bytes": 1} for kind in data]
    (folder / "model_card.json").write_text(json.dumps({"name": "red", "parameters": 1, "input": shape, "files": files}))
    cells, rows, columns = [(1, 2), (4, 9)], landmark_file.ROWS, landmark_file.COLUMNS
    forms = {"square": (2, 2, rows, rows), "wide": (2, 2, rows // 2, columns), "pulled": (3, 2)}
    pictures = {str(work / f"{name}.png"): landmark_file.picture(cells, *form) for name, form in forms.items()}
    for path, picture in pictures.items():
        Image.fromarray(picture).save(path)
    with serving("--models_dir", work / "models") as address:
        command = ["node", "test/landmarks.mjs", address, CHROMIUM, work / "landmarks.png", *pictures]
        said = subprocess.run(list(map(str, command)), cwd=ROOT / "web", text=True, capture_output=True, timeout=300)
    assert said.returncode == 0, said.stderr[-3000:]
    size = f"{landmark_file.WIDTH}x{landmark_file.HEIGHT}"
    kind_of = {" ".join([size, "red", *kind.split("_")]).replace(" int8", ""): kind for kind in data}
    return folder, {kind_of[label]: seen for label, seen in json.loads(said.stdout).items()}, pictures


@needs_browser
@pytest.mark.parametrize("kind", sorted(LANDMARK_FILES.keys() - {"float16"}))
def test_boxes_and_landmarks_of_padded_and_oblong_inputs(landmarks_seen, kind):
    folder, seen, pictures = landmarks_seen
    detector = FaceDetector(folder / f"red_{kind}.tflite", 0.05)
    fitting = ["square", "wide"] if "padding" in LANDMARK_FILES[kind] else ["pulled"]  # cells lie on cells: no two are equally red
    for path, picture in pictures.items():
        if pathlib.Path(path).stem not in fitting:
            continue
        expected, told = detector.detect(picture), seen[kind][path]
        assert len(told["faces"]) == len(expected) >= 2 and told["status"] == f"{len(expected)} faces"
        np.testing.assert_allclose([face["box"] for face in told["faces"]], expected.boxes, atol=1e-3)
        np.testing.assert_allclose([face["score"] for face in told["faces"]], expected.scores, atol=0.03)
        if detector.has_landmarks:
            np.testing.assert_allclose([face["landmarks"] for face in told["faces"]], expected.landmarks, atol=1e-3)
            assert told["yellow"] == told["inside"] > 5
        else:
            assert all(face["landmarks"] is None for face in told["faces"]) and told["yellow"] == 0


@needs_browser
def test_padding_has_the_colour_of_the_file(landmarks_seen):
    """Filled with red it is full of what the network looks for, up to the most that the file gives."""
    _, seen, pictures = landmarks_seen
    for path in pictures:
        if pathlib.Path(path).stem in ("square", "wide"):
            assert len(seen["float16"][path]["faces"]) == landmark_file.MOST
            assert min(face["score"] for face in seen["float16"][path]["faces"]) > 0.5


@needs_browser
def test_files_whose_details_do_not_fit_are_refused_in_a_sentence(landmarks_seen):
    _, seen, _ = landmarks_seen
    told = {kind: seen[kind]["refused"] for kind in ("seven", "bare", "none")}
    assert all("cannot be used: " in text and text.endswith("Choose another detector.") for text in told.values())
    assert "landmarks in its facedet.json is 7: export the file anew" in told["seven"]
    assert "holds no facedet.json" in told["bare"] and "detection_classes" in told["none"]


@needs_browser
def test_the_page_places_pictures_as_input_spec_does():
    """Every side to 70 px in small inputs: halves, and sides that would vanish, are among them."""
    inputs = [(h, w, place) for h, w in ((12, 16), (16, 12), (16, 16), (7, 9), (240, 320)) for place in (None, "centre", "end")]
    sides = [(height, width) for height in range(1, 71) for width in range(1, 71)]
    script = """
    const { Placement } = await import('./placement.js');
    const { inputs, sides } = JSON.parse(await new Response(process.stdin).text());
    console.log(JSON.stringify(inputs.map(([height, width, place]) => sides.map((side) => {
      const p = Placement.fit({ height, width }, place && { place }, ...side);
      return [p.height, p.width, p.top, p.left];
    }))));"""
    command, given = ["node", "--input-type=module", "-e", script], json.dumps({"inputs": inputs, "sides": sides})
    said = subprocess.run(command, input=given, cwd=ROOT / "web", text=True, capture_output=True, check=True, timeout=60)
    for (height, width, place), placed in zip(inputs, json.loads(said.stdout), strict=True):
        spec = InputSpec(height, width, **({"resize": "pad", "pad_place": place} if place else {}))
        assert [tuple(place) for place in placed] == [sum(spec.fit(*size), ()) for size in sides]


@pytest.fixture(scope="module")
def features(server, face, tmp_path_factory):
    work = tmp_path_factory.mktemp("features")
    small = np.full((1200, 1600, 3), 70, np.uint8)
    small[540:660, 740:860] = cv2.resize(face[20:404, 30:414], (120, 120), interpolation=cv2.INTER_AREA)
    Image.fromarray(face).save(work / "face.png")
    Image.fromarray(small).save(work / "small.png")
    command = ["node", "test/features.mjs", server, CHROMIUM, work, work / "face.png", work / "small.png", work / "none.y4m"]
    said = subprocess.run(list(map(str, command)), cwd=ROOT / "web", text=True, capture_output=True, timeout=300)
    assert said.returncode == 0, said.stderr[-3000:]
    return {**json.loads(said.stdout), "folder": work}


def default_detector():
    (path,) = SHIPPED.glob("*_int8.tflite")
    return FaceDetector(path)


@needs_browser
def test_pictures_have_thumbnails_and_the_last_of_two_choices_is_shown(features):
    assert features["strip"] == [["small.png", "true"], ["face.png", "false"]]
    assert features["second"]["current"] == features["lastPicture"] == "face.png" and len(features["second"]["faces"]) == 1


@needs_browser
def test_a_part_zoomed_to_is_searched_anew(features):
    """Boxes stay in pixels of the whole picture."""
    assert features["whole"]["faces"] == [] and features["whole"]["status"] == "0 faces"
    (found,) = features["zoomed"]["faces"]
    assert features["zoomed"]["status"] == "1 face in this part"
    left, top, right, bottom = found["box"]
    assert 740 <= left < right <= 860 and 540 <= top < bottom <= 660


@needs_browser
def test_two_detectors_side_by_side_and_their_json(features, face):
    ours, other = features["compared"]
    left, right = features["sideBySide"]
    assert left["right"] <= right["left"] and left["top"] == right["top"] and ours["label"] != other["label"]
    assert [caption.split(" · ")[:2] for caption in features["captions"]] == [[ours["label"], "1 face"], [other["label"], "1 face"]]
    told = json.loads((features["folder"] / "face_faces.json").read_text())
    assert (told["picture"], told["width"], told["height"]) == ("face.png", 640, 480)
    assert [(each["detector"], each["faces"]) for each in told["detectors"]] == [(each["label"], each["faces"]) for each in (ours, other)]
    assert overlap(told["detectors"][0]["faces"][0]["box"], default_detector().detect(face).boxes[0]) > 0.9


@needs_browser
def test_a_blurred_face_is_found_no_more(features, face):
    saved = np.asarray(Image.open(features["folder"] / "face_faces.png").convert("RGB"))
    assert saved.shape == face.shape and len(default_detector().detect(face)) == 1 and len(default_detector().detect(saved)) == 0
    left, top, right, bottom = default_detector().detect(face).boxes[0].astype(int)
    height, width = bottom - top, right - left
    outside = np.ones(face.shape[:2], bool)
    outside[max(top - height, 0) : bottom + height, max(left - width, 0) : right + width] = False
    np.testing.assert_array_equal(saved[outside], face[outside])


@needs_browser
def test_the_page_works_without_its_server(features):
    assert not features["offline"]["network"] and len(features["offline"]["faces"]) == 1


@needs_browser
def test_raw_float_files_run_on_the_gpu_else_on_the_processor(features):
    processor, gpu, lost = features["noGpu"], features["gpu"], features["gpuLost"]
    assert not processor["adapter"] and processor["caption"].endswith(" · processor") and lost["caption"].endswith(" · processor")
    assert gpu["caption"].endswith(" · GPU" if gpu["adapter"] else " · processor")
    for found in (gpu["faces"], lost["faces"]):
        assert len(found) == len(processor["faces"]) == 1 and overlap(found[0]["box"], processor["faces"][0]["box"]) > 0.95


@needs_browser
def test_all_that_is_operated_has_a_name_for_screen_readers(features):
    assert features["unlabelled"] == []


def test_https_with_a_self_made_certificate(tmp_path):
    """A client that trusts it gets the page, and one that does not, or is silent, keeps nobody waiting."""
    import ssl

    process = subprocess.Popen(
        [sys.executable, "scripts/serve_web.py", "--port", "0", "--https", "--host", "127.0.0.1"], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    address = process.stdout.readline().strip()
    assert address.startswith("https://127.0.0.1:") and "same network" in process.stdout.readline()
    port = int(address.rsplit(":", 1)[1])
    pem = ROOT / "web" / ".certificate" / f"{load_server().lan_address()}.pem"
    assert pem.stat().st_mode & 0o077 == 0
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        with pytest.raises(ssl.SSLCertVerificationError):
            http.client.HTTPSConnection("127.0.0.1", port, timeout=10).request("GET", "/")
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=ssl.create_default_context(cafile=str(pem)))
        connection.request("GET", "/manifest.webmanifest")
        answer = connection.getresponse()
        manifest = json.loads(answer.read())
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/manifest+json"
    assert all((ROOT / "web" / icon["src"]).is_file() for icon in manifest["icons"])
    process.terminate()
    _, said = process.communicate()
    assert said == ""


def load_server():
    spec = importlib.util.spec_from_file_location("serve_web", ROOT / "scripts" / "serve_web.py")
    serve_web = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve_web)
    return serve_web


@pytest.fixture(scope="module")
def bare_server(tmp_path_factory):
    """Without a browser, on cards of which all but one are broken, with a shorter timeout; its port."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(SHIPPED, models / SHIPPED.name, ignore=shutil.ignore_patterns("checkpoint"))
    good = json.loads((SHIPPED / "model_card.json").read_text())
    outside = [{**good["files"][0], "file": "../" + SHIPPED.name + "/" + good["files"][0]["file"]}]
    broken = ["", "[]", "{}", "null", '{"files": 3}', "[" * 9999, json.dumps({**good, "parameters": float("nan")}),
              json.dumps({**good, "parameters": "many"}), json.dumps({**good, "parameters": 7e77}).replace("7e+77", "1e999"), json.dumps({**good, "files": outside}), "\xff"]  # fmt: skip
    for i, text in enumerate(broken):
        (models / f"broken{i}").mkdir()
        (models / f"broken{i}" / "model_card.json").write_bytes(text.encode("latin-1"))
    serve_web = load_server()
    handler = type("Quick", (serve_web.Handler,), {"timeout": serve_web.Handler.timeout and 1})
    handler = functools.partial(handler, models_dir=models, names={"localhost", "127.0.0.1"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port, path, method="GET", **headers) -> tuple[int, bytes, http.client.HTTPMessage]:
    """One request as it stands, no path tidied; ends with an exception where the server hangs up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, "/", skip_host="Host" in headers)
    connection._buffer[0] = f"{method} {path} HTTP/1.1".encode("latin-1")  # putrequest refuses the odd ones
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_a_broken_card_leaves_the_others(bare_server):
    status, body, _ = ask(bare_server, "/detectors.json")
    assert status == 200 and len(json.loads(body)) == len(list(SHIPPED.glob("*.tflite")))
    for entry in json.loads(body):
        assert ask(bare_server, "/" + entry["url"], "HEAD")[0] == 200


def test_short_names_tell_the_files_apart(tmp_path):
    """Size, width, what else a name says, precision; of two cards that say the same, the folder."""
    serve_web = load_server()
    for folder, name in (("a", "ssd_mobilenet_v2_quantized_224x224_widerface"), ("b", "ssd_mobilenet_v2_quantized_224x224_widerface"),
                         ("c", "ssd_mobilenet_v2_narrow_quantized_224x224_widerface"), ("d", "blazeface_320x240_widerface")):  # fmt: skip
        (tmp_path / folder).mkdir()
        width, height = (320, 240) if folder == "d" else (224, 224)
        files = [{"file": f"{kind}.tflite", "kind": kind, "bytes": 1} for kind in ("int8", "float16_raw")]
        for file in files:
            (tmp_path / folder / file["file"]).touch()
        card = {
            "name": name,
            "parameters": 1,
            "input": {"height": height, "width": width},
            "files": files + [{"file": "x.onnx", "kind": "int8", "bytes": 1}],
        }
        (tmp_path / folder / "x.onnx").touch()
        (tmp_path / folder / "model_card.json").write_text(json.dumps(card))
    labels = [entry["label"] for entry in serve_web.detectors(tmp_path)]
    assert {"224 fast", "224 fast float16 raw", "320x240 blazeface", "320x240 blazeface float16 raw"} < set(labels)
    assert len(labels) == len(set(labels)) == 8


@pytest.mark.parametrize(
    "path",
    ["/%00", "/models/%00", "/models/", "/models", f"/models/{SHIPPED.name}", f"/models/{SHIPPED.name}/", "/test", "/test/", "//[x", "/%ff%fe",
     "/models/../README.md", "/models/%2e%2e/README.md", "/litertjs/..%2f..%2fpackage.json", "/../README.md", "/%2e%2e/scripts/serve_web.py",
     "/models//etc/passwd", "/" + "a" * 5000, "/" + "%2e%2e/" * 500 + "etc/passwd", "/index.html/", "/models/%5b%00%5d?x#y"],
)  # fmt: skip
def test_odd_paths_and_folders_are_not_found(bare_server, path):
    assert ask(bare_server, path)[0] == 404


def test_head_is_get_without_the_body(bare_server):
    for path in ("/", "/index.html", "/detectors.json"):
        status, body, headers = ask(bare_server, path)
        assert (status, len(body)) == (200, int(headers["Content-Length"]))
        status, body, own = ask(bare_server, path, "HEAD")
        assert (status, body, own["Content-Length"], own["Content-Type"]) == (200, b"", headers["Content-Length"], headers["Content-Type"])


def test_only_its_own_name_is_answered(bare_server):
    assert ask(bare_server, "/", Host="localhost:1234")[0] == ask(bare_server, "/", Host="127.0.0.1")[0] == 200
    for host in ("evil.example", f"evil.example:{bare_server}", "localhost.evil.example", ""):
        assert ask(bare_server, "/detectors.json", Host=host)[0] == 421, host


def test_a_client_that_says_nothing_is_left(bare_server):
    with socket.create_connection(("127.0.0.1", bare_server), timeout=10) as silent:
        silent.sendall(b"GET / HT")
        assert silent.recv(1) == b""
