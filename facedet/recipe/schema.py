"""Which keys of a pipeline config are honoured, with which values: an allow-list over the OD API's schema and facedet's options.

A key is written as "parent.key", by the names that a config has, wherever the parent stands. Each is of one kind: HONOURED;
HONOURED_ONLY_AS these values, the only ones that can be; HARMLESS, of no effect here and on no result anywhere. Every other
one is refused. Numbers of honoured keys have their ranges at the end.
"""

_CROP = "min_object_covered min_aspect_ratio max_aspect_ratio min_area max_area overlap_thresh clip_boxes random_coef"
_SCALES = "y_scale x_scale height_scale width_scale"

# {parent: keys}; "" is the config itself.
HONOURED = {
    "": "model train_config train_input_reader eval_config eval_input_reader graph_rewriter [facedet.training] [facedet.backbone] "
    "[facedet.input] [facedet.augmentation] [facedet.detector] [facedet.box_coder] [facedet.loss]",
    "model": "ssd",
    "ssd": "image_resizer feature_extractor box_coder matcher similarity_calculator encode_background_as_zeros negative_class_weight "
    "box_predictor anchor_generator post_processing normalize_loss_by_num_matches normalize_loc_loss_by_codesize loss freeze_batchnorm "
    "add_background_class",
    "image_resizer": "fixed_shape_resizer",
    "fixed_shape_resizer": "height width",
    "feature_extractor": "type depth_multiplier min_depth conv_hyperparams use_explicit_padding use_depthwise fpn num_layers",
    "fpn": "min_level max_level additional_layer_depth",
    "conv_hyperparams": "regularizer initializer batch_norm regularize_depthwise",
    "regularizer": "l1_regularizer l2_regularizer",
    "l1_regularizer": "weight",
    "l2_regularizer": "weight",
    "initializer": "truncated_normal_initializer variance_scaling_initializer random_normal_initializer",
    "truncated_normal_initializer": "mean stddev",
    "random_normal_initializer": "mean stddev",
    "variance_scaling_initializer": "factor uniform mode",
    "batch_norm": "decay epsilon",
    "box_coder": "faster_rcnn_box_coder keypoint_box_coder",
    "faster_rcnn_box_coder": _SCALES,
    "keypoint_box_coder": _SCALES,
    "matcher": "argmax_matcher",
    "argmax_matcher": "matched_threshold unmatched_threshold ignore_thresholds force_match_for_each_row",
    "similarity_calculator": "iou_similarity",
    "box_predictor": "convolutional_box_predictor",
    "convolutional_box_predictor": "conv_hyperparams kernel_size class_prediction_bias_init use_depthwise",
    "anchor_generator": "ssd_anchor_generator multiscale_anchor_generator flexible_grid_anchor_generator",
    "ssd_anchor_generator": "num_layers min_scale max_scale scales aspect_ratios interpolated_scale_aspect_ratio "
    "reduce_boxes_in_lowest_layer base_anchor_height base_anchor_width height_stride width_stride height_offset width_offset",
    "multiscale_anchor_generator": "min_level max_level anchor_scale aspect_ratios scales_per_octave",
    "flexible_grid_anchor_generator": "anchor_grid",
    "anchor_grid": "base_sizes aspect_ratios height_stride width_stride height_offset width_offset",
    "post_processing": "batch_non_max_suppression score_converter",
    "batch_non_max_suppression": "score_threshold iou_threshold max_detections_per_class max_total_detections",
    "loss": "localization_loss classification_loss hard_example_miner classification_weight localization_weight",
    "localization_loss": "weighted_l2 weighted_smooth_l1 weighted_iou weighted_giou",
    "weighted_smooth_l1": "delta",
    "classification_loss": "weighted_sigmoid weighted_softmax bootstrapped_sigmoid weighted_sigmoid_focal penalty_reduced_logistic_focal_loss",
    "weighted_softmax": "logit_scale",
    "bootstrapped_sigmoid": "alpha hard_bootstrap",
    "weighted_sigmoid_focal": "alpha gamma",
    "penalty_reduced_logistic_focal_loss": "alpha beta",
    "hard_example_miner": "num_hard_examples iou_threshold loss_type max_negatives_per_positive min_negatives_per_image",
    "train_config": "batch_size data_augmentation_options optimizer gradient_clipping_by_norm fine_tune_checkpoint num_steps "
    "update_trainable_variables freeze_variables add_regularization_loss max_number_of_boxes",
    "optimizer": "rms_prop_optimizer momentum_optimizer adam_optimizer use_moving_average moving_average_decay",
    "rms_prop_optimizer": "learning_rate momentum_optimizer_value decay epsilon",
    "momentum_optimizer": "learning_rate momentum_optimizer_value",
    "adam_optimizer": "learning_rate epsilon",
    "learning_rate": "constant_learning_rate exponential_decay_learning_rate manual_step_learning_rate cosine_decay_learning_rate",
    "constant_learning_rate": "learning_rate",
    "exponential_decay_learning_rate": "initial_learning_rate decay_steps decay_factor staircase burnin_learning_rate burnin_steps "
    "min_learning_rate",
    "manual_step_learning_rate": "initial_learning_rate schedule warmup",
    "schedule": "step learning_rate",
    "cosine_decay_learning_rate": "learning_rate_base total_steps warmup_learning_rate warmup_steps hold_base_rate_steps",
    "train_input_reader": "label_map_path tf_record_input_reader",
    "eval_input_reader": "label_map_path tf_record_input_reader",
    "tf_record_input_reader": "input_path",
    "eval_config": "use_moving_averages",
    "graph_rewriter": "quantization",
    "quantization": "delay",
    # The OD API's steps on training pictures. Left out: those that leave the values 0..255, three channels or the one class.
    "data_augmentation_options": "random_horizontal_flip random_pixel_value_scale random_image_scale random_rgb_to_gray "
    "random_adjust_brightness random_adjust_contrast random_adjust_hue random_adjust_saturation random_distort_color random_jitter_boxes "
    "random_crop_image random_pad_image random_crop_pad_image random_crop_to_aspect_ratio random_black_patches ssd_random_crop "
    "ssd_random_crop_pad ssd_random_crop_fixed_aspect_ratio ssd_random_crop_pad_fixed_aspect_ratio random_vertical_flip random_rotation90 "
    "random_absolute_pad_image random_self_concat_image random_jpeg_quality random_downscale_to_target_pixels random_patch_gaussian "
    "random_square_crop_by_scale random_scale_crop_and_pad_to_square adjust_gamma",
    "random_horizontal_flip": "probability",
    "random_pixel_value_scale": "minval maxval",
    "random_image_scale": "min_scale_ratio max_scale_ratio",
    "random_rgb_to_gray": "probability",
    "random_adjust_brightness": "max_delta",
    "random_adjust_contrast": "min_delta max_delta",
    "random_adjust_hue": "max_delta",
    "random_adjust_saturation": "min_delta max_delta",
    "random_distort_color": "color_ordering",
    "random_jitter_boxes": "ratio jitter_mode",
    "random_crop_image": _CROP.replace("clip_boxes ", ""),
    "random_pad_image": "min_image_height min_image_width max_image_height max_image_width pad_color",
    "random_crop_pad_image": f"{_CROP} min_padded_size_ratio max_padded_size_ratio pad_color",
    "random_crop_to_aspect_ratio": "aspect_ratio overlap_thresh clip_boxes",
    "random_black_patches": "max_black_patches probability size_to_image_ratio",
    "ssd_random_crop": "operations",
    "ssd_random_crop_pad": "operations",
    "ssd_random_crop_fixed_aspect_ratio": "operations aspect_ratio",
    "ssd_random_crop_pad_fixed_aspect_ratio": "operations aspect_ratio min_padded_size_ratio max_padded_size_ratio",
    "operations": f"{_CROP} min_padded_size_ratio max_padded_size_ratio pad_color_r pad_color_g pad_color_b",
    "random_vertical_flip": "probability",
    "random_rotation90": "probability",
    "random_absolute_pad_image": "max_height_padding max_width_padding pad_color",
    "random_self_concat_image": "concat_vertical_probability concat_horizontal_probability",
    "random_jpeg_quality": "random_coef min_jpeg_quality max_jpeg_quality",
    "random_downscale_to_target_pixels": "random_coef min_target_pixels max_target_pixels",
    "random_patch_gaussian": "random_coef min_patch_size max_patch_size min_gaussian_stddev max_gaussian_stddev",
    "random_square_crop_by_scale": "max_border scale_min scale_max num_scales",
    "random_scale_crop_and_pad_to_square": "output_size scale_min scale_max",
    "adjust_gamma": "gamma gain",
    "[facedet.training]": "anchors_per_face smallest_face least_forced_overlap landmark_weight one_cycle smallest_landmark_face teacher",
    "teacher": "checkpoint config classification_weight localization_weight temperature least_score",
    "one_cycle": "start_learning_rate max_learning_rate end_learning_rate total_steps warmup_share max_momentum min_momentum",
    "[facedet.detector]": "filtered_background max_out_background max_out_face dropout grid_size landmark_blocks",
    "[facedet.backbone]": "stem_channels expansions blocks",
    "[facedet.input]": "colour_order mean scale resize pad_place pad_value",
    "[facedet.augmentation]": "step",
    "[facedet.loss]": "least_overlap full_overlap",
    "step": "crop_around_faces data_anchor_sampling expand rotate photometric_distortion blur noise jpeg_quality mirror",
    "crop_around_faces": "probability min_area max_area min_aspect_ratio max_aspect_ratio least_visible",
    "data_anchor_sampling": "probability scales",
    "expand": "probability max_ratio",
    "rotate": "probability max_degrees",
    "photometric_distortion": "probability max_brightness max_contrast max_saturation max_hue",
    "blur": "probability max_sigma",
    "noise": "probability max_deviation",
    "jpeg_quality": "probability min_quality max_quality",
    "mirror": "probability",
}

_NOT_HERE = "facedet's networks have none"
_ONE_CLASS = "there is one class, the face"
_HARD = "facedet's suppression is the plain hard one"
# {key: (the values that can be honoured, why no other)}; of a repeated key, of each of its values.
HONOURED_ONLY_AS = {
    "ssd.num_classes": ((1,), _ONE_CLASS),
    "ssd.explicit_background_class": ((False,), "add_background_class: true gives the background a column"),
    "ssd.use_confidences_as_targets": ((False,), _ONE_CLASS),
    "ssd.implicit_example_weight": ((1.0,), "use_confidences_as_targets alone would need it"),
    "ssd.return_raw_detections_during_predict": ((False,), "the raw .tflite files give them"),
    "fixed_shape_resizer.resize_method": (("BILINEAR",), "FaceDetector resizes in no other way"),
    "fixed_shape_resizer.convert_to_grayscale": ((False,), "an input has three channels"),
    "feature_extractor.override_base_feature_extractor_hyperparams": ((True,), "conv_hyperparams are those of every layer"),
    "feature_extractor.pad_to_multiple": ((1,), _NOT_HERE),
    "feature_extractor.replace_preprocessor_with_placeholder": ((False,), "[facedet.input] says how pictures are normalized"),
    "conv_hyperparams.op": (("CONV",), _NOT_HERE),
    "conv_hyperparams.activation": (("RELU", "RELU_6"), "others cannot be quantized"),
    "conv_hyperparams.force_use_bias": ((False,), "batch norm has one"),
    "batch_norm.center": ((True,), "quantization folds batch norms with both"),
    "batch_norm.scale": ((True,), "quantization folds batch norms with both"),
    "batch_norm.train": ((True,), "model.ssd.freeze_batchnorm freezes them"),
    "keypoint_box_coder.num_keypoints": ((5, 6), "a face has five landmarks, or MediaPipe's six"),
    "argmax_matcher.negatives_lower_than_unmatched": ((True,), "what overlaps least is the background"),
    "convolutional_box_predictor.num_layers_before_predictor": ((0,), _NOT_HERE),
    "convolutional_box_predictor.use_dropout": ((False,), _NOT_HERE),
    "convolutional_box_predictor.box_code_size": ((4,), "a box has 4 numbers"),
    "convolutional_box_predictor.apply_sigmoid_to_scores": ((False,), "score_converter: SIGMOID does it"),
    "multiscale_anchor_generator.normalize_coordinates": ((True,), "anchors are fractions of the input"),
    "flexible_grid_anchor_generator.normalize_coordinates": ((True,), "anchors are fractions of the input"),
    "batch_non_max_suppression.use_static_shapes": ((False,), "facedet's suppression pads nothing"),
    "batch_non_max_suppression.use_class_agnostic_nms": ((False,), _ONE_CLASS),
    "batch_non_max_suppression.max_classes_per_detection": ((1,), _ONE_CLASS),
    "batch_non_max_suppression.soft_nms_sigma": ((0.0,), _HARD),
    "batch_non_max_suppression.use_partitioned_nms": ((False,), _HARD),
    "batch_non_max_suppression.use_combined_nms": ((False,), _HARD),
    "batch_non_max_suppression.change_coordinate_frame": ((True,), "boxes are fractions of the picture"),
    "post_processing.logit_scale": ((1.0,), "files take logits as they are"),
    "loss.expected_loss_weights": (("NONE",), "hard_example_miner and focal losses choose among the negatives"),
    "train_config.fine_tune_checkpoint_type": (("", "classification", "detection", "full", "fine_tune"), "no other is known"),
    "train_config.fine_tune_checkpoint_version": (("V2",), "facedet reads TensorFlow 2's checkpoints"),
    "train_config.from_detection_checkpoint": ((False,), 'write fine_tune_checkpoint_type: "full"'),
    "train_config.load_all_detection_checkpoint_vars": ((False,), 'write fine_tune_checkpoint_type: "full"'),
    "train_config.bias_grad_multiplier": ((0.0,), "all weights learn at one rate"),
    "train_config.merge_multiple_label_boxes": ((False,), _ONE_CLASS),
    "train_config.use_multiclass_scores": ((False,), _ONE_CLASS),
    "train_config.use_bfloat16": ((False,), "model_main.py --precision mixed_bfloat16 trains so"),
    "train_config.summarize_gradients": ((False,), "facedet writes no gradients"),
    "random_crop_image.clip_boxes": ((True,), "a box ends where the picture does"),
    "train_input_reader.shuffle": ((True,), "training pictures come in random order"),
    "train_input_reader.num_epochs": ((0,), "train_config.num_steps ends training"),
    "train_input_reader.sample_1_of_n_examples": ((1,), "every picture is learned from"),
    "train_input_reader.drop_remainder": ((True,), "every batch is full"),
    "train_input_reader.input_type": (("TF_EXAMPLE",), "records hold pictures"),
    "eval_input_reader.num_epochs": ((1,), "each picture is scored once"),
    "eval_input_reader.sample_1_of_n_examples": ((1,), "model_main.py --sample_1_of_n_eval_examples leaves pictures out"),
    "eval_input_reader.input_type": (("TF_EXAMPLE",), "records hold pictures"),
    "eval_config.metrics_set": (("coco_detection_metrics",), "they and WIDER FACE's are what is measured"),
    "eval_config.eval_instance_masks": ((False,), "faces have no masks"),
    "eval_config.ignore_groundtruth": ((False,), "there would be nothing to measure"),
    "quantization.weight_bits": ((8,), "TFLite's kernels take 8 bits only"),
    "quantization.activation_bits": ((8,), "TFLite's kernels take 8 bits only"),
    "quantization.symmetric": ((False,), "TFLite's activations are asymmetric"),
    "[facedet.loss].classification": (
        ("", "balanced_cross_entropy", "quality_focal", "varifocal"), "model.ssd.loss says the others"),
    "[facedet.loss].localization": (("", "log_iou"), "model.ssd.loss says the others"),
    "[facedet.loss].landmarks": (("", "wing"), "none is smooth L1"),
    "[facedet.detector].depth": ((18, 34, 50, 101, 152), "these are the ResNets that there are"),
    "[facedet.box_coder].kind": (("", "linear"), "model.ssd.box_coder says the others"),
}  # fmt: skip

_LOADING = " ".join(
    f"{reader}.{key}"
    for reader in ("train_input_reader", "eval_input_reader")
    for key in ("num_readers", "num_parallel_batches", "num_prefetch_batches", "queue_capacity", "prefetch_size", "num_parallel_map_calls")
)
# {why: keys}
HARMLESS = {
    "how fast the OD API's own loop loads; facedet asks the machine": f"{_LOADING} train_config.batch_queue_capacity "
    "train_config.num_batch_queue_threads train_config.prefetch_queue_capacity",
    "all pictures are scored, in whatever order and however many at once": "eval_input_reader.shuffle eval_config.batch_size",
    "of TensorFlow 1's several machines; TensorFlow 2's loop of the OD API does not read them either": "train_config.sync_replicas "
    "train_config.startup_delay_steps train_config.replicas_to_aggregate",
    "how the OD API's loop lays out tensors and variables; faces and weights are the same": "train_config.unpad_groundtruth_tensors "
    "train_config.run_fine_tune_checkpoint_dummy_computation argmax_matcher.use_matmul_gather",
    "Keras updates batch norms in place always": "ssd.inplace_batchnorm_update",
    "they bound layers before the predictor, of which there are none": "convolutional_box_predictor.min_depth "
    "convolutional_box_predictor.max_depth",
    "of a dropout that has to be written as use_dropout: false beside it": "convolutional_box_predictor.dropout_keep_probability",
    "which of the OD API's functions suppresses; each gives the same boxes": "batch_non_max_suppression.use_hard_nms "
    "batch_non_max_suppression.use_cpu_nms",
}

# What stands in the place of a refused key, where there is something.
INSTEAD = {
    "model.faster_rcnn": "only ssd is supported", "model.center_net": "only ssd is supported",
    "model.experimental_model": "only ssd is supported",
    "image_resizer.keep_aspect_ratio_resizer": 'use fixed_shape_resizer and [facedet.input] { resize: "pad" }',
    "image_resizer.identity_resizer": "use fixed_shape_resizer", "image_resizer.conditional_shape_resizer": "use fixed_shape_resizer",
    "image_resizer.pad_to_multiple_resizer": "use fixed_shape_resizer",
    "feature_extractor.bifpn": "use fpn", "conv_hyperparams.sync_batch_norm": "use batch_norm",
    "conv_hyperparams.group_norm": "use batch_norm", "matcher.bipartite_matcher": "use argmax_matcher",
    "similarity_calculator.ioa_similarity": "use iou_similarity", "similarity_calculator.neg_sq_dist_similarity": "use iou_similarity",
    "similarity_calculator.thresholded_iou_similarity": "use iou_similarity",
    "box_coder.mean_stddev_box_coder": "use faster_rcnn_box_coder", "box_coder.square_box_coder": "use faster_rcnn_box_coder",
    "box_predictor.weight_shared_convolutional_box_predictor": "use convolutional_box_predictor",
    "anchor_generator.grid_anchor_generator": "use flexible_grid_anchor_generator",
    "loss.random_example_sampler": "use hard_example_miner", "localization_loss.l1_localization_loss": "use weighted_smooth_l1",
    "data_augmentation_options.rgb_to_gray": "use random_rgb_to_gray { probability: 1 }",
    "data_augmentation_options.normalize_image": "[facedet.input] normalizes",
    "data_augmentation_options.subtract_channel_mean": "[facedet.input] mean does it",
    "eval_config.num_examples": "model_main.py --sample_1_of_n_eval_examples leaves pictures out",
}  # fmt: skip

# Of these one has to be chosen: {path of the message: (oneof, the choices)}.
CHOSEN = {
    "model": ("model", "ssd"),
    "model.ssd.image_resizer": ("image_resizer_oneof", "fixed_shape_resizer"),
    "model.ssd.box_coder": ("box_coder_oneof", "faster_rcnn_box_coder or keypoint_box_coder"),
    "model.ssd.matcher": ("matcher_oneof", "argmax_matcher"),
    "model.ssd.box_predictor": ("box_predictor_oneof", "convolutional_box_predictor"),
    "model.ssd.feature_extractor.conv_hyperparams": ("normalizer_oneof", "batch_norm"),
    "model.ssd.feature_extractor.conv_hyperparams.initializer": ("initializer_oneof", HONOURED["initializer"].replace(" ", ", ")),
    "model.ssd.box_predictor.convolutional_box_predictor.conv_hyperparams.initializer":
        ("initializer_oneof", HONOURED["initializer"].replace(" ", ", ")),
}  # fmt: skip

LARGEST = 1e6  # no fraction, rate, scale or size is beyond it
# Numbers that have to be above 0.
ABOVE_ZERO = frozenset((
    "train_config.batch_size", "fixed_shape_resizer.height", "fixed_shape_resizer.width",
    "feature_extractor.depth_multiplier", "feature_extractor.min_depth", "feature_extractor.num_layers", "fpn.additional_layer_depth",
    "batch_norm.epsilon", "variance_scaling_initializer.factor", "convolutional_box_predictor.kernel_size",
    *(f"{coder}.{key}" for coder in ("faster_rcnn_box_coder", "keypoint_box_coder") for key in _SCALES.split()),
    "anchor_grid.base_sizes", "anchor_grid.aspect_ratios", "anchor_grid.height_stride", "anchor_grid.width_stride",
    "ssd_anchor_generator.num_layers", "ssd_anchor_generator.min_scale", "ssd_anchor_generator.max_scale",
    "ssd_anchor_generator.scales", "ssd_anchor_generator.aspect_ratios", "multiscale_anchor_generator.anchor_scale",
    "multiscale_anchor_generator.aspect_ratios", "multiscale_anchor_generator.scales_per_octave",
    "batch_non_max_suppression.max_detections_per_class", "batch_non_max_suppression.max_total_detections",
    "random_crop_image.min_aspect_ratio", "random_crop_image.min_area", "cosine_decay_learning_rate.learning_rate_base",
    "exponential_decay_learning_rate.decay_steps", "cosine_decay_learning_rate.total_steps", "schedule.step",
    "train_config.max_number_of_boxes", "[facedet.training].anchors_per_face", "[facedet.backbone].stem_channels",
    "[facedet.backbone].expansions", "[facedet.backbone].blocks", "crop_around_faces.min_area", "crop_around_faces.min_aspect_ratio",
    "data_anchor_sampling.scales", "jpeg_quality.min_quality", "one_cycle.total_steps", "one_cycle.max_learning_rate",
    "[facedet.detector].max_out_background", "[facedet.detector].max_out_face", "[facedet.loss].full_overlap",
    "teacher.temperature",
))  # fmt: skip
# Numbers that may be at most this.
AT_MOST = {
    **{f"{parent}.probability": 1 for parent, keys in HONOURED.items() if "probability" in keys.split()},
    **{f"{parent}.random_coef": 1 for parent, keys in HONOURED.items() if "random_coef" in keys.split()},
    "batch_non_max_suppression.iou_threshold": 1, "batch_non_max_suppression.score_threshold": 1, "argmax_matcher.matched_threshold": 1,
    "random_crop_image.min_object_covered": 1, "random_crop_image.max_area": 1, "random_crop_image.overlap_thresh": 1,
    "batch_norm.decay": 1, "optimizer.moving_average_decay": 1, "weighted_sigmoid_focal.alpha": 1,
    "train_config.batch_size": 4096, "fixed_shape_resizer.height": 4096, "fixed_shape_resizer.width": 4096,
    "feature_extractor.depth_multiplier": 8, "fpn.additional_layer_depth": 4096, "convolutional_box_predictor.kernel_size": 15,
    "[facedet.training].anchors_per_face": 100, "[facedet.training].least_forced_overlap": 1, "[facedet.input].pad_value": 255,
    "crop_around_faces.max_area": 1, "crop_around_faces.least_visible": 1, "rotate.max_degrees": 45, "expand.max_ratio": 8,
    "photometric_distortion.max_brightness": 1, "photometric_distortion.max_contrast": 1, "photometric_distortion.max_saturation": 1,
    "photometric_distortion.max_hue": 0.5, "blur.max_sigma": 20, "noise.max_deviation": 255, "jpeg_quality.max_quality": 100,
    "fpn.min_level": 10, "fpn.max_level": 10, "multiscale_anchor_generator.min_level": 10, "multiscale_anchor_generator.max_level": 10,
    "multiscale_anchor_generator.scales_per_octave": 16, "ssd_anchor_generator.num_layers": 16, "feature_extractor.num_layers": 16,
    "data_anchor_sampling.scales": 4096, "one_cycle.warmup_share": 1, "one_cycle.max_momentum": 1, "one_cycle.min_momentum": 1,
    "[facedet.detector].filtered_background": 1, "[facedet.detector].max_out_background": 16, "[facedet.detector].max_out_face": 16,
    "[facedet.detector].dropout": 0.95, "[facedet.detector].grid_size": 512, "[facedet.detector].landmark_blocks": 8,
    "[facedet.loss].least_overlap": 0.99, "[facedet.loss].full_overlap": 1, "teacher.temperature": 100, "teacher.least_score": 1,
}  # fmt: skip
AT_LEAST = {"expand.max_ratio": 1}
# All other numbers are 0 at least, but these.
ANY_SIGN = frozenset((
    "convolutional_box_predictor.class_prediction_bias_init", "truncated_normal_initializer.mean", "random_normal_initializer.mean",
    "anchor_grid.height_offset", "anchor_grid.width_offset", "ssd_anchor_generator.height_offset", "ssd_anchor_generator.width_offset",
    "random_adjust_contrast.min_delta", "random_adjust_saturation.min_delta", "[facedet.input].mean", "[facedet.input].scale",
))  # fmt: skip
# Of two keys of one message the first may not be greater.
IN_ORDER = (
    ("unmatched_threshold", "matched_threshold"), ("min_area", "max_area"), ("min_aspect_ratio", "max_aspect_ratio"),
    ("min_scale", "max_scale"), ("min_level", "max_level"), ("min_delta", "max_delta"), ("minval", "maxval"), ("scale_min", "scale_max"),
    ("min_scale_ratio", "max_scale_ratio"), ("min_jpeg_quality", "max_jpeg_quality"), ("min_quality", "max_quality"),
    ("min_target_pixels", "max_target_pixels"), ("min_patch_size", "max_patch_size"),
    ("min_gaussian_stddev", "max_gaussian_stddev"),
)  # fmt: skip
