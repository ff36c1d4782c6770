"""Each module of the OD API that facedet uses imports on this TensorFlow, and its protos hold what they say."""

import importlib
import os
import subprocess
import sys

import pytest
from conftest import ROOT, run

from facedet import od_api  # noqa: F401

MODULES = ["model_lib_v2", "inputs", "eval_util", "exporter_lib_v2", "export_tflite_graph_lib_tf2", "builders.model_builder", "builders.anchor_generator_builder",
           "builders.losses_builder", "builders.optimizer_builder", "builders.post_processing_builder", "builders.preprocessor_builder",
           "core.preprocessor", "core.target_assigner", "data_decoders.tf_example_decoder", "meta_architectures.ssd_meta_arch",
           "metrics.coco_evaluation", "models.ssd_mobilenet_v2_keras_feature_extractor", "utils.visualization_utils", "protos.pipeline_pb2",
           "anchor_generators.flexible_grid_anchor_generator", "box_coders.keypoint_box_coder"]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_imports(name):
    importlib.import_module(f"object_detection.{name}")


def test_protos_keep_defaults_and_nested_messages():
    from object_detection.protos import pipeline_pb2, ssd_pb2

    config = pipeline_pb2.TrainEvalPipelineConfig()
    assert config.train_config.batch_size == 32 and config.graph_rewriter.quantization.delay == 500000
    assert ssd_pb2.Ssd.MaskHead().mask_height == 15
    config.model.ssd.num_classes = 3
    assert type(config).FromString(config.SerializeToString()) == config


@pytest.mark.parametrize("module", ["od_api", "layers.blocks", "quantization.network"])
def test_keras_2_is_used_also_where_tensorflow_was_there_before(module):
    code = f"import tensorflow as tf, facedet.{module}; assert tf.keras.Model.__module__.startswith('tf_keras')"
    environment = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def test_keras_3_is_refused_in_words():
    said = run("-c", "import facedet.od_api", code=1, TF_USE_LEGACY_KERAS="0")
    assert "needs Keras 2" in said
