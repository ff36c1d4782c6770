"""The wall around the Object Detection API: nothing else in the project imports object_detection or patches anything."""

from facedet.od_api import compat

compat.apply()
