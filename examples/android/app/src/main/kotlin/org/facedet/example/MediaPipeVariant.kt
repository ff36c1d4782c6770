package org.facedet.example

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.objectdetector.ObjectDetector

/** Boxes by MediaPipe Tasks: the exported files carry the metadata that it asks for, and its ObjectDetector takes no landmarks. */
fun findByMediaPipe(context: Context, picture: Bitmap): List<Face> {
    val base = BaseOptions.builder().setModelAssetPath("int8_boxes.tflite").build()
    val options = ObjectDetector.ObjectDetectorOptions.builder().setBaseOptions(base).setScoreThreshold(0.5f).build()
    ObjectDetector.createFromOptions(context, options).use { detector ->
        return detector.detect(BitmapImageBuilder(picture).build()).detections().map {
            val (box, w, h) = Triple(it.boundingBox(), picture.width.toFloat(), picture.height.toFloat())
            Face(box.left / w, box.top / h, box.right / w, box.bottom / h, it.categories()[0].score())
        }
    }
}
