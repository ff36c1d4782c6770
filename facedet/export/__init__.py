"""From a checkpoint to .tflite files that say what they are: graphs, metadata, parity report, model card."""
