"""The allow-list of keys against the schema itself: each key is of one kind, and one that is not listed is refused by its name."""

import dataclasses

import pytest
from conftest import BOXES_CONFIG, CONFIGS, ROOT

from facedet.errors import ConfigError
from facedet.od_api import protos
from facedet.recipe import checks, pipeline_config, schema

CONFIG = protos.TrainEvalPipelineConfig.DESCRIPTOR
EXTENSIONS = sorted(CONFIG.file.pool.FindAllExtensions(CONFIG), key=lambda field: field.number)


def named(field) -> str:
    return f"[{field.full_name}]" if field.is_extension else field.name


def walk(descriptor=CONFIG, parent="", inside=(), path=()):
    """(parent's name, field, the fields that lead to it) of everything that a config can say."""
    for field in [*descriptor.fields, *(EXTENSIONS if descriptor is CONFIG else [])]:
        yield parent, field, (*path, field)
        if field.message_type and field.message_type.full_name not in inside:
            yield from walk(field.message_type, named(field), (*inside, field.message_type.full_name), (*path, field))


KEYS = list(walk())
LISTED = {
    "honoured": [(parent, name) for parent, names in schema.HONOURED.items() for name in names.split()],
    "only": [tuple(key.rsplit(".", 1)) for key in schema.HONOURED_ONLY_AS],
    "harmless": [tuple(key.rsplit(".", 1)) for keys in schema.HARMLESS.values() for key in keys.split()],
}


def test_each_key_is_of_one_kind_and_there_is_no_other():
    """A key that the schema does not have would never be looked up; one that is listed twice would be of two kinds."""
    listed = [key for keys in LISTED.values() for key in keys]
    assert sorted(key for key in set(listed) if listed.count(key) > 1) == []
    there = {(parent, named(field)) for parent, field, _ in KEYS}
    assert set(listed) - there == set()
    for kind, keys in LISTED.items():
        assert {key for key in keys if checks.kind(*key) != kind} == set()
    ranged = {*schema.ABOVE_ZERO, *schema.AT_MOST, *schema.AT_LEAST, *schema.ANY_SIGN}
    assert ranged - {".".join(key) for key in LISTED["honoured"]} == set()
    assert {key for key in schema.INSTEAD if tuple(key.rsplit(".", 1)) not in there or checks.kind(*key.rsplit(".", 1))} == set()


def stated(path) -> tuple:
    """A config with one key set, and how an error writes that key. Numbers are set to what no key needs to refuse."""
    config = protos.TrainEvalPipelineConfig()
    message, written, end = config, "", ""
    for field in path:
        written += end + named(field) + ("[0]" if field.is_repeated else "")
        end = " " if field.is_extension else "."
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["a" if field.message_type.fields_by_name["key"].type == field.TYPE_STRING else 1]
            return config, written
        if field.message_type is None:
            value = (
                field.enum_type.values[-1].number if field.enum_type else {field.TYPE_BOOL: True, field.TYPE_STRING: "a"}.get(field.type, 1)
            )
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif field.is_extension:
            message = message.Extensions[field]
        else:
            message = getattr(message, field.name)
            message = message.add() if field.is_repeated else message
        if field.message_type:
            message.SetInParent()
    return config, written


def last_message(config, path):
    """The message that holds the key that a path leads to, the last one where there are several."""
    for field in path[:-1]:
        config = config.Extensions[field] if field.is_extension else getattr(config, field.name)
        config = config[-1] if field.is_repeated else config
    return config


def different(field, now):
    """Another value for a field."""
    if field.enum_type:
        return next(value.number for value in field.enum_type.values if value.number != now)
    return not now if isinstance(now, bool) else "other" if isinstance(now, str) else now + 1


def allowed(path) -> bool:
    parents = ["", *map(named, path)]
    return all(checks.kind(parent, named(field)) for parent, field in zip(parents, path, strict=False))


def test_every_key_that_is_not_listed_is_refused_by_its_name():
    refused = [path for _, _, path in KEYS if allowed(path[:-1]) and not allowed(path)]
    assert len(refused) > 100
    for path in refused:
        config, written = stated(path)
        with pytest.raises(ConfigError) as error:
            checks.check(config, "my.config")
        assert str(error.value).startswith(f"my.config: {written}"), (written, str(error.value))
        assert "nothing here honours it" in str(error.value)


def test_every_key_honoured_only_as_one_value_is_refused_with_another():
    paths = [path for parent, field, path in KEYS if checks.kind(parent, named(field)) == "only" and allowed(path)]
    assert {f"{named(path[-2])}.{named(path[-1])}" for path in paths} == set(schema.HONOURED_ONLY_AS)
    for path in paths:
        values, why = schema.HONOURED_ONLY_AS[f"{named(path[-2])}.{named(path[-1])}"]
        config, written = stated(path)
        message = last_message(config, path)
        for other in others(path[-1], values):
            if path[-1].is_repeated:
                getattr(message, path[-1].name)[:] = [other]
            else:
                setattr(message, path[-1].name, other)
            with pytest.raises(ConfigError) as error:
                checks.check(config, "my.config")
            assert str(error.value).startswith(f"my.config: {written}: ") and why in str(error.value), (written, str(error.value))


def others(field, values) -> list:
    """Values of a field that are none of these."""
    if field.enum_type:
        return [value.number for value in field.enum_type.values if value.name not in values]
    return [different(field, values[-1])]


# Honoured by a check: another key has to say the same.
SAID_TWICE = {("eval_config", "use_moving_averages"), ("batch_non_max_suppression", "max_detections_per_class")}


def test_every_honoured_key_reaches_the_recipe(monkeypatch):
    """With another value it gives another Recipe, or is refused: a key that nothing reads would change nothing."""
    monkeypatch.setattr(checks, "check", lambda config, name: None)
    idle = []
    for parent, field, path in KEYS:
        if field.message_type or checks.kind(parent, named(field)) != "honoured" or not allowed(path) or (parent, field.name) in SAID_TWICE:
            continue
        base = protos.parse(BOXES_CONFIG.read_text())
        for reader in ("eval_input_reader", "train_input_reader"):
            base.ClearField(reader)
        base.MergeFrom(stated(path[:-1])[0])
        changed = protos.TrainEvalPipelineConfig()
        changed.CopyFrom(base)
        message = last_message(changed, path)
        if field.is_repeated:
            getattr(message, field.name).append("other" if field.type == field.TYPE_STRING else 3)
        else:
            now = getattr(message, field.name)
            setattr(message, field.name, different(field, now))
        try:
            recipes = [dataclasses.replace(pipeline_config.from_message(config), text="") for config in (base, changed)]
        except ConfigError:
            continue
        if recipes[0] == recipes[1]:
            idle.append(f"{parent}.{field.name}")
    assert idle == []


@pytest.mark.parametrize("path", [*CONFIGS, ROOT / "tests" / "stock_ssd_mobilenet_v2.config"], ids=lambda path: path.stem)
def test_the_projects_configs_say_only_what_is_honoured(path):
    checks.check(protos.parse(path.read_text()), path.name)


def test_harmless_keys_are_accepted_whatever_they_say():
    paths = [path for parent, field, path in KEYS if checks.kind(parent, named(field)) == "harmless" and allowed(path)]
    assert len(paths) == len(LISTED["harmless"])
    for path in paths:
        config = protos.parse(BOXES_CONFIG.read_text())
        config.model.ssd.box_predictor.convolutional_box_predictor.use_dropout = False
        extra, _ = stated(path)
        config.MergeFrom(extra)
        del config.eval_input_reader[1:]
        if path[0].name == "eval_input_reader":
            config.eval_input_reader[0].MergeFrom(extra.eval_input_reader[0])
        checks.check(config, "my.config")


COLOUR = "[facedet.augmentation] { step { rotate { max_degrees: 30 } } step { mirror {} } }"
LANDMARKS = ("faster_rcnn_box_coder { y_scale: 10 x_scale: 10 height_scale: 5 width_scale: 5 }", "keypoint_box_coder { num_keypoints: 5 }")
HEAD_WITHOUT_BATCH_NORM = tuple(
    "initializer { random_normal_initializer { stddev: 0.01 } }" + norm
    for norm in ("\n          batch_norm { decay: 0.97 epsilon: 0.00001 }", "")
)
WEIGHED = ("smallest_face: 4.5", "landmark_weight: 0.2")


@pytest.mark.parametrize(
    ("changes", "added", "said"),
    [
        ([WEIGHED], "", "[facedet.training] landmark_weight: 0.2: .*keypoint_box_coder"),
        ([("force_match_for_each_row: true", ""), ("smallest_face: 4.5", "least_forced_overlap: 0.2")], "", "least_forced_overlap: 0.2"),
        ([], '[facedet.input] { pad_place: "end" }', "[facedet.input] pad_place: end"),
        ([], "[facedet.input] { pad_value: [0, 0, 0] }", "[facedet.input] pad_value"),
        ([], '[facedet.input] { resize: "pad" pad_value: [0, 256, 0] }', "[facedet.input] pad_value[1]: 256"),
        ([], '[facedet.box_coder] { kind: "other" }', "[facedet.box_coder] kind: other"),
        ([], "[facedet.augmentation] { step {} }", "[facedet.augmentation] step[0]: one of"),
        ([], "[facedet.augmentation] { step { expand { max_ratio: 0.5 } } }", "step[0].expand.max_ratio: 0.5"),
        ([], "[facedet.augmentation] { step { rotate { max_degrees: 90 } } }", "step[0].rotate.max_degrees: 90"),
        ([], "[facedet.augmentation] { step { mirror { probability: 2 } } }", "step[0].mirror.probability: 2"),
        ([], "[facedet.augmentation] { step { jpeg_quality { min_quality: 96 } } }", "jpeg_quality.min_quality: 96 is above max_quality"),
        ([("max_total_detections: 300", "max_total_detections: 400")], "", "max_detections_per_class: 300, max_total_detections: 400"),
        ([("encode_background_as_zeros: true", "")], "", "model.ssd.encode_background_as_zeros"),
        ([("use_moving_averages: true", "use_moving_averages: false")], "", "eval_config.use_moving_averages: false"),
        ([("fpn {", "num_layers: 4 fpn {")], "", "feature_extractor.num_layers: 4"),
        ([("box_code_size: 4", "dropout_keep_probability: 0.5")], "", "convolutional_box_predictor.dropout_keep_probability: 0.5"),
        ([("box_code_size: 4", "use_dropout: false dropout_keep_probability: 0.5")], COLOUR, None),
        ([LANDMARKS, WEIGHED], "", None),
        ([(LANDMARKS[0], "keypoint_box_coder { num_keypoints: 17 }")], "", "keypoint_box_coder.num_keypoints: 17"),
        ([(LANDMARKS[0], "keypoint_box_coder {}")], "", "keypoint_box_coder.num_keypoints: 5 is wanted"),
        ([(LANDMARKS[0], "")], "", "model.ssd.box_coder: faster_rcnn_box_coder or keypoint_box_coder is wanted"),
        ([("batch_norm { decay: 0.97 epsilon: 0.00001 }", "")], "", "feature_extractor.conv_hyperparams: batch_norm is wanted"),
        ([("box_code_size: 4", "use_depthwise: true"), HEAD_WITHOUT_BATCH_NORM], "", None),
        ([("eval_input_reader {", "eval_input_reader {} eval_input_reader {")], "", "eval_input_reader[1]: one is wanted"),
    ],
)  # fmt: skip
def test_what_holds_between_keys(changes, added, said):
    text = BOXES_CONFIG.read_text() + added
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    if said is None:
        checks.check(protos.parse(text), "my.config")
        return
    with pytest.raises(ConfigError) as error:
        checks.check(protos.parse(text), "my.config")
    before, _, after = said.partition(".*")
    assert str(error.value).startswith("my.config: ") and before in str(error.value) and after in str(error.value), error.value


def test_steps_that_lose_landmarks_are_refused_where_landmarks_are_learned():
    text = BOXES_CONFIG.read_text().replace("random_horizontal_flip {}", "random_self_concat_image {}")
    checks.check(protos.parse(text), "my.config")
    with pytest.raises(ConfigError, match=r"data_augmentation_options\[1\]\.random_self_concat_image: .*landmarks"):
        checks.check(protos.parse(text.replace(*LANDMARKS)), "my.config")
