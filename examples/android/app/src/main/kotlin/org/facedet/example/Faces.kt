package org.facedet.example

import kotlin.math.max
import kotlin.math.min

/** In fractions of the picture. */
data class Point(val x: Float, val y: Float)

/**
 * A face, in fractions of the picture. landmarks, the left of the picture first: of five, eyes, nose, mouth
 * corners; of six, eyes, nose tip, mouth centre, ears; they may lie outside of it. Null where the file has none.
 */
data class Face(
    val left: Float, val top: Float, val right: Float, val bottom: Float, val score: Float, val landmarks: List<Point>? = null,
)

/** Plain Kotlin, no Android: run on the JVM against the outputs of facedet.FaceDetector. */
object Faces {
    /**
     * Faces of any exported file, best first.
     *
     * outputs: by their names, as the file gives them (num_detections as a float).  place: of the picture in the input.
     */
    fun find(file: ModelFile, outputs: Map<String, FloatArray>, leastScore: Float, place: Placement): List<Face> {
        fun output(name: String) = requireNotNull(outputs[name]) { "the file gives ${outputs.keys}, no $name" }
        val points = Points(outputs[if (file.withNms) "detection_landmarks" else "raw_landmarks"], file.landmarks)
        val found = if (file.withNms) {
            val count = output("num_detections")[0].toInt() // rows past it hold no detection
            suppressed(output("detection_boxes"), output("detection_scores"), points, count, leastScore)
        } else {
            suppress(output("raw_boxes"), output("raw_scores"), points, leastScore, file.suppression)
        }
        return found.map { inPicture(it, place) }
    }

    /** boxes: [N * 4] ymin, xmin, ymax, xmax. */
    private fun suppressed(boxes: FloatArray, scores: FloatArray, points: Points, count: Int, leastScore: Float) =
        (0 until count).filter { scores[it] >= leastScore }.map {
            Face(boxes[4 * it + 1], boxes[4 * it], boxes[4 * it + 3], boxes[4 * it + 2], scores[it], points.of(it))
        }

    /** Greedy non-maximum suppression. boxes: [N * 4] ycenter, xcenter, height, width. */
    private fun suppress(
        boxes: FloatArray, scores: FloatArray, points: Points, leastScore: Float, by: Suppression,
    ): List<Face> {
        require(boxes.size == 4 * scores.size) { "${boxes.size} numbers for ${scores.size} boxes" }
        val least = max(leastScore, by.scoreThreshold)
        val kept = ArrayList<Face>()
        for (i in scores.indices.filter { scores[it] >= least }.sortedByDescending { scores[it] }) {
            val (y, x) = boxes[4 * i] to boxes[4 * i + 1]
            val (height, width) = boxes[4 * i + 2] / 2 to boxes[4 * i + 3] / 2
            val face = Face(x - width, y - height, x + width, y + height, scores[i], points.of(i))
            if (kept.all { overlap(it, face) <= by.iouThreshold }) kept.add(face)
            if (kept.size == by.maxDetections) break
        }
        return kept
    }

    /** landmarks: [N * 2 * count] y, x, in fractions of the input; null where the file has none. */
    private class Points(private val landmarks: FloatArray?, private val count: Int) {
        /** Of row i. */
        fun of(i: Int) = landmarks?.let { all -> List(count) { Point(all[2 * (count * i + it) + 1], all[2 * (count * i + it)]) } }
    }

    private fun inPicture(face: Face, place: Placement) = Face(
        inside(place.x(face.left)), inside(place.y(face.top)), inside(place.x(face.right)), inside(place.y(face.bottom)), face.score,
        face.landmarks?.map { Point(place.x(it.x), place.y(it.y)) },
    )

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
