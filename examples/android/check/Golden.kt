package org.facedet.example

import java.io.DataInputStream
import java.io.File

/**
 * Runs Faces.fromRaw on what a raw file gave, for the test beside: args are the input and the output file.
 *
 * Input, big-endian: cases; for each N, least score, score threshold, IoU threshold, most detections, boxes [N * 4], scores [N].
 * Output: a line a face, 'case left top right bottom score'.
 */
fun main(args: Array<String>) {
    DataInputStream(File(args[0]).inputStream().buffered()).use { input ->
        File(args[1]).printWriter().use { output ->
            repeat(input.readInt()) { case ->
                val count = input.readInt()
                val leastScore = input.readFloat()
                val by = Suppression(input.readFloat(), input.readFloat(), input.readInt())
                val boxes = FloatArray(4 * count) { input.readFloat() }
                val scores = FloatArray(count) { input.readFloat() }
                for (face in Faces.fromRaw(boxes, scores, leastScore, by)) {
                    output.println("$case ${face.left} ${face.top} ${face.right} ${face.bottom} ${face.score}")
                }
            }
        }
    }
}
