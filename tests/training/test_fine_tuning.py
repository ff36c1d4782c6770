"""The shipped detector, trained further on ten pictures at the rate that configs/README.md names, still finds what it found."""

import pytest
from conftest import MAIN_CONFIG, SHARED, SHIPPED

from facedet.data import conversion, sample, widerface_text
from facedet.recipe import adapt, pipeline_config
from facedet.training.trainer import Schedule, Trainer


@pytest.fixture(scope="module")
def records_of_ten(tmp_path_factory):
    """Ten train pictures, and val: real ones where they are at hand, else the sample's."""
    real, lists = SHARED / "data" / "widerface_sample", SHARED / "data" / "widerface" / "eval_gt"
    data = tmp_path_factory.mktemp("ten")
    if not real.is_dir():
        data, lists = sample.make(str(data), num_train=10, num_val=12), None
    else:
        (data / "wider_face_split").mkdir()
        for split, every in (("train", 16), ("val", 1)):  # 160 train pictures
            (data / f"WIDER_{split}").symlink_to(real / f"WIDER_{split}")
            name = f"wider_face_split/wider_face_{split}_bbx_gt.txt"
            entries = widerface_text.split_annotation((real / name).read_text(), name)
            lines = [line for e in list(entries)[::every] for line in (e.name, str(e.count), *(row for _, row in e.rows))]
            (data / name).write_text("\n".join(lines) + "\n")
    records = tmp_path_factory.mktemp("records of ten")
    conversion.convert(data, records, eval_gt_dir=lists, options=conversion.Options(num_workers=1), say=lambda text: None)
    return records


def test_fine_tuning_on_ten_pictures_forgets_nothing(records_of_ten, tmp_path):
    config = pipeline_config.message(str(MAIN_CONFIG))
    adapt.adapt(config, num_steps=24, batch_size=8, records_dir=str(records_of_ten), learning_rate=0.00003)
    config.train_config.fine_tune_checkpoint, config.train_config.fine_tune_checkpoint_type = str(SHIPPED / "checkpoint"), "full"
    said = []
    trainer = Trainer(pipeline_config.from_message(config), str(tmp_path / "model"), say=said.append)
    schedule = Schedule(num_steps=24, save_every=0, evaluate_every=0)
    before = trainer.evaluate(schedule)
    kernel = trainer.learner.weights["smooth_2.kernel"].numpy()
    after = trainer.train(schedule)
    assert "step 24 (eval, as int8)" in said[-1] and (trainer.learner.weights["smooth_2.kernel"].numpy() != kernel).any()
    for subset in ("easy", "medium", "hard"):
        assert before[f"WiderFace/{subset}"] > 0.3
        assert after[f"WiderFace/{subset}"] > before[f"WiderFace/{subset}"] - 0.04, (before, after)
