@file:Suppress("UNUSED_PARAMETER", "unused")

package com.google.mediapipe.tasks.vision.objectdetector

import android.content.Context
import com.google.mediapipe.framework.image.MPImage
import com.google.mediapipe.tasks.core.BaseOptions

class BoundingBox(val left: Float, val top: Float, val right: Float, val bottom: Float)

class Category {
    fun score(): Float = TODO()
}

class Detection {
    fun boundingBox(): BoundingBox = TODO()

    fun categories(): List<Category> = TODO()
}

class ObjectDetectorResult {
    fun detections(): List<Detection> = TODO()
}

class ObjectDetector : AutoCloseable {
    fun detect(image: MPImage): ObjectDetectorResult = TODO()

    override fun close(): Unit = TODO()

    class ObjectDetectorOptions {
        class Builder {
            fun setBaseOptions(base: BaseOptions): Builder = TODO()

            fun setScoreThreshold(threshold: Float): Builder = TODO()

            fun build(): ObjectDetectorOptions = TODO()
        }

        companion object {
            fun builder(): Builder = TODO()
        }
    }

    companion object {
        fun createFromOptions(context: Context, options: ObjectDetectorOptions): ObjectDetector = TODO()
    }
}
