package org.facedet.example

import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/**
 * The part of the input that a picture fills, in pixels: what InputSpec.fit and Placement are in facedet/runtime/input_spec.py.
 */
data class Placement(val top: Int, val left: Int, val height: Int, val width: Int, val inputHeight: Int, val inputWidth: Int) {
    /** A fraction of the input's width -> of the picture's. */
    fun x(ofInput: Float) = (ofInput - left.toFloat() / inputWidth) / (width.toFloat() / inputWidth)

    /** A fraction of the input's height -> of the picture's. */
    fun y(ofInput: Float) = (ofInput - top.toFloat() / inputHeight) / (height.toFloat() / inputHeight)

    companion object {
        /** height, width: of the picture. Without padding it is stretched. */
        fun fit(inputHeight: Int, inputWidth: Int, padding: Padding?, height: Int, width: Int): Placement {
            if (padding == null) return Placement(0, 0, inputHeight, inputWidth, inputHeight, inputWidth)
            val ratio = min(inputHeight / height.toDouble(), inputWidth / width.toDouble())
            // round takes halves to the even neighbour, as Python's does; roundToInt takes them up
            val h = min(inputHeight, max(1, round(height * ratio).toInt()))
            val w = min(inputWidth, max(1, round(width * ratio).toInt()))
            if (padding.atEnd) return Placement(0, 0, h, w, inputHeight, inputWidth)
            return Placement((inputHeight - h) / 2, (inputWidth - w) / 2, h, w, inputHeight, inputWidth)
        }
    }
}
