package org.facedet.example

import kotlin.math.max
import kotlin.math.min

/** A face, in fractions of the picture. */
data class Face(val left: Float, val top: Float, val right: Float, val bottom: Float, val score: Float)

/** What a detector's model card says of its post-processing. */
data class Suppression(val scoreThreshold: Float, val iouThreshold: Float, val maxDetections: Int)

/** Plain Kotlin, no Android: run on the JVM against the outputs of facedet.FaceDetector. */
object Faces {
    /**
     * Faces of a raw file, best first.
     *
     * boxes: [N * 4] ycenter, xcenter, height, width, as the file gives them.  scores: [N].
     */
    fun fromRaw(boxes: FloatArray, scores: FloatArray, leastScore: Float, by: Suppression): List<Face> {
        require(boxes.size == 4 * scores.size) { "${boxes.size} numbers for ${scores.size} boxes" }
        val least = max(leastScore, by.scoreThreshold)
        val kept = ArrayList<Face>()
        for (i in scores.indices.filter { scores[it] >= least }.sortedByDescending { scores[it] }) {
            val (y, x) = boxes[4 * i] to boxes[4 * i + 1]
            val (height, width) = boxes[4 * i + 2] / 2 to boxes[4 * i + 3] / 2
            val face = Face(x - width, y - height, x + width, y + height, scores[i])
            if (kept.all { overlap(it, face) <= by.iouThreshold }) kept.add(face)
            if (kept.size == by.maxDetections) break
        }
        return kept.map { Face(inside(it.left), inside(it.top), inside(it.right), inside(it.bottom), it.score) }
    }

    /** Intersection over union. */
    fun overlap(a: Face, b: Face): Float {
        val width = min(a.right, b.right) - max(a.left, b.left)
        val height = min(a.bottom, b.bottom) - max(a.top, b.top)
        if (width <= 0 || height <= 0) return 0f
        val shared = width * height
        return shared / ((a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - shared)
    }

    private fun inside(value: Float) = min(1f, max(0f, value))
}
