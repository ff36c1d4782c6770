"""What a pipeline config may say: each refusal names file and key, and each way out that a message gives works."""

import shutil

import pytest
from conftest import BOXES_CONFIG, CONFIGS, ROOT, config_text, run

from facedet.od_api import optimizers, protos
from facedet.recipe import adapt, checks, pipeline_config

import tensorflow as tf  # isort: skip

TEXT = BOXES_CONFIG.read_text()
EXTRACTOR = 'type: "ssd_mobilenet_v2_fpn_keras"'


def refused(*changes: tuple[str, str], text: str = TEXT) -> str:
    """The ConfigError of a config's text with each `old` as `new`."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    with pytest.raises(pipeline_config.ConfigError) as error:
        pipeline_config.parse(text, "my.config")
    assert str(error.value).startswith("my.config:")
    return str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("batch_size: 16", "batch_size: 0", "train_config.batch_size: 0"),
        ("min_area: 0.08", "min_area: 0", "data_augmentation_options[0].random_crop_image.min_area: 0"),
        ("min_area: 0.08", "min_area: 1.5", "data_augmentation_options[0].random_crop_image.min_area: 1.5 is above max_area"),
        ("max_area: 1.0", "max_area: nan", "random_crop_image.max_area: nan"),
        ("overlap_thresh: 0.4", "overlap_thresh: 4", "random_crop_image.overlap_thresh: 4"),
        ("random_horizontal_flip {}", "", "train_config.data_augmentation_options[1]: "),
        ("delay: 3000", "delay: 4000", "graph_rewriter.quantization.delay: 4000 is not below"),
        ("class_prediction_bias_init: -4.6", "class_prediction_bias_init: inf", "class_prediction_bias_init: inf"),
        ("y_scale: 10", "y_scale: -10", "model.ssd.box_coder.faster_rcnn_box_coder.y_scale: -10"),
        ("classification_loss { weighted_sigmoid_focal { alpha: 0.25 gamma: 2.0 } }", "", "model.ssd.loss: "),
        ("matched_threshold: 0.5", "matched_threshold: 0.2", "argmax_matcher.unmatched_threshold: 0.35 is above matched_threshold: 0.2"),
        ("iou_threshold: 0.5", "iou_threshold: 1.5", "batch_non_max_suppression.iou_threshold: 1.5"),
        ("learning_rate_base: 0.0015", "learning_rate_base: nan", "cosine_decay_learning_rate.learning_rate_base: nan"),
        ("base_sizes: [", "base_sizes: [-3.0, ", "anchor_grid[0].base_sizes[0]: -3"),
        ("base_sizes: [", "base_sizes: [3.0, ", "model.ssd.anchor_generator: "),
        ("y_scale: 10", "y_scale: 1e20", "faster_rcnn_box_coder.y_scale: 1e+20"),
        (EXTRACTOR, EXTRACTOR + " depth_multiplier: 1e3", "feature_extractor.depth_multiplier: 1000"),
        ("num_classes: 1", "num_classes: 0", "model.ssd.num_classes: 0"),
        ("height: 224 width: 224", "height: 224 width: 0", "fixed_shape_resizer.width: 0"),
        ("total_steps: 4000", "total_steps: 3000", "total_steps: 3000 is below train_config.num_steps: 4000"),
        ("warmup_steps: 200", "warmup_steps: 5000", "train_config.optimizer: "),
        ("min_level: 2", "min_level: -2", "fpn.min_level: -2"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused_with_file_and_key(old, new, key):
    assert key in refused((old, new))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("box_code_size: 4", "use_dropout: true", "convolutional_box_predictor.use_dropout: true"),
        ("box_code_size: 4", "num_layers_before_predictor: 2", "convolutional_box_predictor.num_layers_before_predictor: 2"),
        ("box_code_size: 4", "box_code_size: 5", "convolutional_box_predictor.box_code_size: 5"),
        ("iou_similarity {}", "ioa_similarity {}", "similarity_calculator.ioa_similarity"),
        ("iou_threshold: 0.5", "iou_threshold: 0.5 soft_nms_sigma: 0.5", "batch_non_max_suppression.soft_nms_sigma: 0.5"),
        ("score_converter: SIGMOID", "score_converter: SIGMOID logit_scale: 2", "post_processing.logit_scale: 2"),
        ("convolutional_box_predictor {", "weight_shared_convolutional_box_predictor {", "model.ssd.box_predictor"),
        (EXTRACTOR, EXTRACTOR + " pad_to_multiple: 32", "feature_extractor.pad_to_multiple: 32"),
        ("overlap_thresh: 0.4", "overlap_thresh: 0.4 clip_boxes: false", "random_crop_image.clip_boxes: false"),
    ],
)
def test_keys_that_nothing_honours_are_refused(old, new, key):
    assert key in refused((old, new))


def test_a_stock_config_may_say_what_changes_nothing():
    """use_dropout: false, soft_nms_sigma: 0 and the like stand in the OD API's own configs."""
    pipeline_config.read(str(ROOT / "tests" / "stock_ssd_mobilenet_v2.config"))
    pipeline_config.parse(TEXT.replace("iou_threshold: 0.5", "iou_threshold: 0.5 soft_nms_sigma: 0.0"))


def test_a_freeze_pattern_that_matches_nothing_is_refused_beside_one_that_does(quick_config, tmp_path):
    from facedet.training import trainer

    text = quick_config.read_text().replace("batch_size: 4", 'batch_size: 4 freeze_variables: ["Conv1", "FeatureExtractor/Conv"]')
    with pytest.raises(pipeline_config.ConfigError, match="freeze_variables: FeatureExtractor/Conv: matches no"):
        trainer.Trainer(pipeline_config.parse(text), str(tmp_path / "model"), say=lambda text: None)
    assert "freeze_variables: '(Conv'" in refused(("batch_size: 16", 'batch_size: 16 freeze_variables: "(Conv"'))


def test_a_label_map_that_is_not_there_is_refused_before_training(records_dir):
    config = pipeline_config.parse(config_text(records_dir).replace("label_maps/face_label_map.pbtxt", "label_maps/faces.pbtxt"))
    with pytest.raises(pipeline_config.ConfigError, match=r"train_input_reader\.label_map_path: label_maps/faces\.pbtxt is not there"):
        pipeline_config.check_data(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item { id: 1 name: 'person' }", "{1: 'person'}: {1: 'face'} is the one class"),
        ("item { id: 1 name: 'face' } item { id: 2 name: 'head' }", "2: 'head'"),
        ("item { id: 2 name: 'face' }", "{2: 'face'}"),
        ("face", "is no label map"),
    ],
)
def test_a_label_map_that_says_other_classes_is_refused(records_dir, tmp_path, text, said):
    (tmp_path / "map.pbtxt").write_text(text)
    recipe = pipeline_config.parse(config_text(records_dir).replace("label_maps/face_label_map.pbtxt", str(tmp_path / "map.pbtxt")))
    with pytest.raises(pipeline_config.ConfigError) as error:
        pipeline_config.check_data(recipe)
    assert "train_input_reader.label_map_path: " in str(error.value) and said in str(error.value)


def test_the_projects_label_map_is_accepted():
    checks.check_label_map(str(ROOT / "label_maps" / "face_label_map.pbtxt"), "train_input_reader.label_map_path")


def test_the_way_out_of_too_small_a_cap_works(records_dir, tmp_path):
    """Faces past --max_faces_per_image stay in the records as ignored ones: converting again would not help."""
    with pytest.raises(pipeline_config.ConfigError, match="max_number_of_boxes: 2") as error:
        pipeline_config.check_data(pipeline_config.parse(config_text(records_dir, max_number_of_boxes=2)))
    assert "--max_faces_per_image" not in str(error.value)
    wanted = int(str(error.value).split("set it to ")[1].split()[0])
    pipeline_config.check_data(pipeline_config.parse(config_text(records_dir, max_number_of_boxes=wanted)))


def rates(recipe, *steps):
    step = tf.Variable(0, dtype=tf.int64)
    _, rate = optimizers.build(recipe.training.optimizer, step)
    found = []
    for value in steps:
        step.assign(value)
        found.append(rate())
    return found


def test_more_steps_are_trained_at_the_schedules_rate():
    """--num_train_steps=18000 on a config of 4,000 is the same recipe over 18,000: nothing is trained at rate 0."""
    short, long = pipeline_config.read(str(BOXES_CONFIG)), pipeline_config.read(str(BOXES_CONFIG), num_steps=18000)
    assert rates(long, 900, 9000, 13500) == pytest.approx(rates(short, 200, 2000, 3000))
    assert rates(long, 17000)[0] > 0 and long.quantization.delay == 13500


COSINE = TEXT[TEXT.index("cosine_decay_learning_rate {") : TEXT.index("}", TEXT.index("cosine_decay_learning_rate {")) + 1]
MANUAL = """manual_step_learning_rate {
  initial_learning_rate: 0.01 schedule { step: 2000 learning_rate: 0.001 } schedule { step: 3000 learning_rate: 0.0001 } }"""
EXPONENTIAL = "exponential_decay_learning_rate { initial_learning_rate: 0.01 decay_steps: 400 decay_factor: 0.9 burnin_steps: 100 }"


@pytest.mark.parametrize("schedule", [MANUAL, EXPONENTIAL])
def test_other_schedules_move_with_the_steps_too(schedule):
    text = TEXT.replace(COSINE, schedule)
    config, longer, least = (pipeline_config.parse(text, num_steps=steps) for steps in (None, 8000, 4))
    assert rates(longer, 0, 3998, 4002, 6002) == pytest.approx(rates(config, 0, 1999, 2001, 3001))
    assert least.training.num_steps == 4


@pytest.mark.parametrize("schedule", [COSINE, MANUAL, EXPONENTIAL])
def test_the_rate_can_be_scaled_without_another_change(schedule, tmp_path):
    path = tmp_path / "my.config"
    path.write_text(TEXT.replace(COSINE, schedule))
    config, scaled = pipeline_config.read(str(path)), pipeline_config.read(str(path), learning_rate_scale=2.5)
    steps = (0, 150, 1999, 2001, 3001)
    assert rates(scaled, *steps) == pytest.approx([2.5 * rate for rate in rates(config, *steps)])
    assert scaled.training.num_steps == config.training.num_steps
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config: learning_rate_scale: 0: a number above 0"):
        pipeline_config.read(str(path), learning_rate_scale=0)


def test_without_num_steps_there_is_no_proportion(tmp_path):
    text = TEXT.replace("num_steps: 4000", "")
    assert pipeline_config.parse(text, num_steps=2000).quantization.delay == 1500  # total_steps states them
    with pytest.raises(pipeline_config.ConfigError, match=r"my\.config: train_config\.num_steps is not stated: what step and delay"):
        pipeline_config.parse(text.replace(COSINE, MANUAL), "my.config", num_steps=2000)
    (tmp_path / "my.config").write_text(text.replace(COSINE, MANUAL))
    command = ["scripts/adapt_config.py", "--pipeline_config_path", tmp_path / "my.config", "--output", tmp_path / "out.config"]
    said = run(*command, "--num_steps", "100", code=1)
    assert said.startswith("error: ") and "num_steps is not stated" in said and not (tmp_path / "out.config").exists()
    for wrong in ({"batch_size": -1}, {"num_steps": 0}, {"num_steps": 2**70}):
        with pytest.raises(pipeline_config.ConfigError, match=next(iter(wrong))):
            adapt.adapt(pipeline_config.message(str(BOXES_CONFIG)), **wrong)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_accepted_at_other_lengths(path):
    for steps in (None, 40, 100_000):
        pipeline_config.read(str(path), num_steps=steps)


def test_a_config_that_is_no_text_is_refused(tmp_path):
    shutil.copy(ROOT / "scripts" / "webcam.jpg", tmp_path / "picture.config")
    for path in (tmp_path / "picture.config", tmp_path):
        with pytest.raises(pipeline_config.ConfigError, match=str(path)):
            pipeline_config.read(str(path))


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ("mirror {} } step { blur { max_sigma: -1 }", r"step[1].blur.max_sigma: -1: 0 or more is wanted"),
        ("mirror { probability: nan }", "step[0].mirror.probability: nan: a finite number is wanted"),
        ("crop_around_faces { min_area: 0.6 max_area: 0.5 }", "crop_around_faces.min_area: 0.6 is above max_area: 0.5"),
        ("jpeg_quality { min_quality: 96 }", "jpeg_quality.min_quality: 96 is above max_quality: 95"),
        ("data_anchor_sampling { scales: [16, 0] }", "scales[1]: 0: a number above 0 is wanted"),
        ("rotate { max_degrees: 60 }", "max_degrees: 60: at most 45 is wanted"),
        ("", "step[0]: one of crop_around_faces, data_anchor_sampling"),
    ],
)
def test_a_step_of_augmentation_that_cannot_be_is_refused_by_its_place_and_field(steps, told):
    with pytest.raises(pipeline_config.ConfigError) as error:
        pipeline_config.parse(BOXES_CONFIG.read_text() + f"[facedet.augmentation] {{ step {{ {steps} }} }}", "my.config")
    assert str(error.value).startswith("my.config: [facedet.augmentation] ") and told in str(error.value)


def with_one_cycle(**cycle):
    """The main config with a cycle in place of its rate."""
    config = pipeline_config.message(str(BOXES_CONFIG))
    optimizer = config.train_config.optimizer
    getattr(optimizer, optimizer.WhichOneof("optimizer")).ClearField("learning_rate")
    for key, value in {"total_steps": config.train_config.num_steps, **cycle}.items():
        setattr(protos.training(config).one_cycle, key, value)
    return config


def test_a_cycle_moves_with_num_steps_and_the_rate_is_its_highest():
    config = with_one_cycle(total_steps=20_000)
    config.train_config.num_steps = 10_000
    config = adapt.adapt(config, num_steps=40, learning_rate=0.002)
    cycle = pipeline_config.from_message(config).training.one_cycle
    assert cycle.total_steps == 80
    assert cycle.max_learning_rate == pytest.approx(0.002) and cycle.start_learning_rate == pytest.approx(0.2 * 0.0003125)
    cycle = pipeline_config.from_message(adapt.adapt(config, num_steps=1, learning_rate=1e-5)).training.one_cycle
    assert cycle.total_steps == 2 and cycle.max_learning_rate == pytest.approx(1e-5) == cycle.start_learning_rate / 0.03125


def test_a_cycle_beside_what_it_contradicts_is_refused():
    config = with_one_cycle(total_steps=9)
    with pytest.raises(pipeline_config.ConfigError, match=r"one_cycle\.total_steps: 9 is below train_config\.num_steps"):
        pipeline_config.from_message(config)
    config = pipeline_config.message(str(BOXES_CONFIG))
    protos.training(config).one_cycle.total_steps = config.train_config.num_steps
    with pytest.raises(
        pipeline_config.ConfigError, match=r"optimizer\.adam_optimizer\.learning_rate: \[facedet\.training\] one_cycle stands"
    ):
        pipeline_config.from_message(config)
