"""The protocol against a second, plain writing of it (loops, one threshold after another) and against the peers' evaluator."""

import sys

import numpy as np
import pytest
from conftest import SHARED

from facedet.data import widerface
from facedet.evaluation import dataset, protocol, report

SUBSETS = widerface.SUBSETS


def made_up(seed, pictures=12):
    """Faces, subsets and detections: hits, near misses, doubles, false ones, empty pictures."""
    generator = np.random.default_rng(seed)
    truth, found = {}, {}
    for i in range(pictures):
        count = int(generator.integers(0, 9))
        faces = np.concatenate([generator.uniform(0, 300, (count, 2)), generator.uniform(5, 80, (count, 2))], 1).round()
        easy = generator.random(count) < 0.4
        member = np.stack([easy, easy | (generator.random(count) < 0.3), easy | (generator.random(count) < 0.8)], 1)
        truth[f"e/{i}.jpg"] = protocol.GroundTruth(faces, member)
        if i % 5 == 4:
            continue
        seen = faces[generator.random(count) < 0.8]
        near = np.concatenate([seen, seen[: len(seen) // 2]]) + generator.normal(0, 4, (len(seen) + len(seen) // 2, 4))
        false = np.concatenate([generator.uniform(0, 300, (3, 2)), generator.uniform(5, 80, (3, 2))], 1)
        every = np.concatenate([near, false])
        every[:, 2:] = np.maximum(every[:, 2:], 1)
        corners = np.concatenate([every[:, :2], every[:, :2] + every[:, 2:]], 1)
        found[f"e/{i}.jpg"] = protocol.Detections(corners, generator.random(len(corners)).round(2))
    return found, truth


def by_loops(found, truth, subset):
    """Average precision written down straight from the protocol's words."""
    every = np.concatenate([d.scores for d in found.values()])
    least, greatest = min(1.0, every.min()), max(0.0, every.max())
    faces = sum(int(t.member[:, subset].sum()) for t in truth.values())
    recalls, precisions = [], []
    for step in range(1, 1001):
        threshold, right, shown = 1 - step / 1000, 0, 0
        for name, d in found.items():
            t, taken = truth[name], set()
            for i in np.argsort(-d.scores, kind="stable"):
                if (d.scores[i] - least) / (greatest - least) < threshold:
                    continue
                best, face = 0.0, -1
                x0, y0, x1, y1 = d.boxes_xyxy_px[i]
                for j, (x, y, w, h) in enumerate(t.boxes_xywh_px):
                    iw, ih = min(x1, x + w) - max(x0, x) + 1, min(y1, y + h) - max(y0, y) + 1
                    if iw > 0 and ih > 0:
                        overlap = iw * ih / ((x1 - x0 + 1) * (y1 - y0 + 1) + (w + 1) * (h + 1) - iw * ih)
                        if overlap > best:
                            best, face = overlap, j
                if best < 0.5:
                    shown += 1
                elif t.member[face, subset]:
                    shown += 1
                    right += face not in taken
                    taken.add(face)
        recalls.append(right / faces)
        precisions.append(right / shown if shown else 0.0)
    area, before = 0.0, 0.0
    for i in range(1000):
        if recalls[i] != before:
            area += (recalls[i] - before) * max(precisions[i:])
            before = recalls[i]
    return area


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_protocol_in_plain_loops(seed):
    found, truth = made_up(seed)
    results = protocol.evaluate(found, truth)
    for i, subset in enumerate(SUBSETS):
        assert results[subset].average_precision == pytest.approx(by_loops(found, truth, i), abs=1e-9)
        assert 0.05 < results[subset].average_precision < 0.95


@pytest.mark.skipif(not (SHARED / "peers").is_dir(), reason="the peers' evaluator is not here: the plain loops are the only twin")
def test_equals_the_peers_evaluator():
    """On made-up detections, and on jittered real annotation."""
    sys.path.insert(0, str(SHARED / "peers"))
    from peers import widerface as peers

    real = widerface.load_subsets(SHARED / "data" / "widerface" / "eval_gt")
    generator = np.random.default_rng(3)
    names = sorted(real)[::17]
    truth = {name: protocol.GroundTruth(*real[name]) for name in names}
    found = {}
    for name in names:
        faces = real[name][0]
        moved = faces + generator.normal(0, 0.12, faces.shape) * np.maximum(faces[:, 2:].max(1, keepdims=True), 1)
        corners = np.concatenate([moved[:, :2], moved[:, :2] + np.maximum(moved[:, 2:], 1)], 1)
        found[name] = protocol.Detections(corners, generator.random(len(corners)))
    for detections, lists in ((found, truth), *(made_up(seed) for seed in range(4))):
        theirs, counts = peers.evaluate(
            {name: np.column_stack([d.boxes_xyxy_px, d.scores]) for name, d in detections.items()},
            {name: (t.boxes_xywh_px, {s: t.member[:, i] for i, s in enumerate(SUBSETS)}) for name, t in lists.items()},
        )
        ours = protocol.evaluate(detections, lists)
        for subset in SUBSETS:
            assert ours[subset].average_precision == pytest.approx(theirs[subset], abs=1e-4)
            assert ours[subset].faces == counts[subset]


def test_perfect_and_absent_detections():
    _, truth = made_up(5)
    perfect = {}
    for name, t in truth.items():
        corners = np.concatenate([t.boxes_xywh_px[:, :2], t.boxes_xywh_px[:, :2] + t.boxes_xywh_px[:, 2:]], 1)
        perfect[name] = protocol.Detections(corners, np.linspace(0.1, 1, len(corners)))
    assert protocol.evaluate(perfect, truth)["hard"].average_precision > 0.98
    assert protocol.evaluate({}, truth)["hard"].average_precision == 0
    rows = protocol.recall_by_height(perfect, truth)
    assert sum(row["found"] for row in rows) == sum(row["faces"] for row in rows) > 0
    assert [report.height_range(row) for row in rows][::10] == ["0 - 10", "256 and more"]


def test_official_text_form_and_curves(tmp_path):
    found = {"7--Cheering/7_a.jpg": protocol.Detections(np.asarray([[1.0, 2, 11, 22], [5, 5, 6, 7]]), np.asarray([0.25, 0.75]))}
    dataset.write_predictions(found, str(tmp_path))
    lines = (tmp_path / "7--Cheering" / "7_a.txt").read_text().splitlines()
    assert lines == ["7_a", "2", "5.000 5.000 1.000 2.000 0.75000", "1.000 2.000 10.000 20.000 0.25000"]
    detections, truth = made_up(1)
    report.plot_curves({"made up": protocol.evaluate(detections, truth)}, tmp_path / "curves.png", "test")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    (tmp_path / "WIDER_val" / "images" / "e").mkdir(parents=True)
    (tmp_path / "WIDER_val" / "images" / "e" / "a.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(widerface.WiderFaceError, match="e/a.jpg cannot be read .*official zip"):
        dataset.read_picture(widerface.WiderFace(tmp_path, "val"), "e/a.jpg")
